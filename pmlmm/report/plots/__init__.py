"""Pictures of a fit, one file for each; Matplotlib is an extra."""
