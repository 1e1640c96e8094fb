"""
Crossed factors
===============

Every sample of penicillin was measured on every plate: two grouping factors, neither inside the other.
"""

import pmlmm

data = pmlmm.datasets.load("penicillin")
model = pmlmm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", data)
print(model.structure)
fit = model.fit()
print(fit)

# %%
# With one effect in each term there is no correlation to learn, and six samples say little about how variances are
# distributed: the column ``state`` says how much of b is the hyperprior's. The estimates hardly depend on it.

# %%
# What each sample and each plate adds, in mm.
fit.plot_random_effects()
