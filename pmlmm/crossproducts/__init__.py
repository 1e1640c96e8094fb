"""The data are touched once: standardised columns, what is eliminated how, and the sums that takes."""
