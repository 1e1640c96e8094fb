"""Looking beyond the approximation: MCMC, predictive draws, left-out groups, comparison in words."""
