"""
Crossed factors
===============

Every sample of penicillin was measured on every plate: two grouping factors, neither inside the other.
"""

import matplotlib.pyplot as plt

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
figure, axes = plt.subplots(1, 2, sharey=True, width_ratios=[4, 1], layout="constrained")
for ax, factor in zip(axes, ("plate", "sample"), strict=True):
    effect = fit.mean[f"gamma_{factor}"]
    ax.plot(effect[factor].astype(str), effect.to_numpy().ravel(), "o")
    ax.axhline(0.0, color="#7d7d7d", linewidth=1)
    ax.set(xlabel=factor, title=f"sd {float(fit.mean[f'Sigma_{factor}'].squeeze()) ** 0.5:.2f} mm")
axes[0].set_ylabel("effect on the diameter (mm)")
