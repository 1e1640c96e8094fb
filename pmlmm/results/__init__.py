"""What a fit gives back: labelled estimates, hyperparameters, posterior draws, summaries."""
