"""From the compiled log-posterior to a tuned fit: mode, evidence, empirical Bayes, importance sampling."""
