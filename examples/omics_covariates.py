"""
Covariates by the thousand
==========================

120 rows of 20 patients and 1,000 genes, ten of which matter. The genes and the patients' covariance are shrunk at
once, both by as much as the data ask for.
"""

import numpy as np

import pmlmm

data, truth = pmlmm.simulate.longitudinal([6] * 20, q=2, covariates=0, effects="polynomial", sigma=0.5, seed=1)
rng = np.random.default_rng(1)
genes = rng.normal(size=(len(data), 1_000))
effects = np.zeros(1_000)
effects[:10] = 0.7
data["y"] += genes @ effects
fit = pmlmm.Model("y ~ t + (t | ind)", data, penalized={"genes": genes}).fit()
print(fit.hyperparameters.to_string())

# %%
# A ridge does not select: with 120 rows for 1,000 genes each of the ten keeps a part of its effect only, and the rest
# is spread over the others. That part still stands out: those are columns 0 to 9.
fit.plot_coefficients("genes", top=20)
estimate = fit.mean["beta_genes"].to_numpy()
print(f"mean estimate of the ten: {estimate[:10].mean():.3f} (truth 0.7)")
print(f"root mean square of the others: {np.sqrt(np.mean(estimate[10:] ** 2)):.3f}")
