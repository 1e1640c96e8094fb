"""
When lmer refuses
=================

More random effects than rows: 10 individuals seen 10 times and 25 seen once, cubic curves.

lmer refuses the second model (125 rows, 140 random effects) and returns a singular covariance for the first.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import pmlmm

FORMULA = "y ~ t + t2 + t3 + (t + t2 + t3 | ind)"
SEED = 3
Sigma = pmlmm.simulate.draw_covariance(10, np.eye(4), seed=SEED)

for rows in ([10] * 10, [10] * 10 + [1] * 25):
    data, truth = pmlmm.simulate.polynomial_curves(rows, Sigma=Sigma, beta=[0, -0.5, 0.8, 0.2], seed=SEED)
    fit = pmlmm.Model(FORMULA, data).fit()
    estimate = fit.mean["Sigma_ind"].to_numpy()
    print(f"{len(data)} rows, {4 * len(rows)} random effects")
    print(f"  b = {fit.hyperparameters.loc['b[ind]', 'value']:.2f}, k-hat = {fit.k_hat:.2f}")
    print(f"  condition number of Sigma: {np.linalg.cond(estimate):.1f} (truth {np.linalg.cond(Sigma):.1f})")
    print(
        "  sd of the effects:",
        np.round(np.sqrt(np.diag(estimate)), 2),
        "truth:",
        np.round(np.sqrt(np.diag(Sigma)), 2),
    )

# %%
# What the last fit makes of six of the individuals who were seen once: the one row moves a curve through its whole
# length, as far as the covariance learned from all says.
times = np.linspace(-1.0, 1.0, 61)
grid = pd.DataFrame({"t": times, "t2": times**2, "t3": times**3})
common = fit.predict(grid, groups="none")["mean"]
figure, axes = plt.subplots(2, 3, sharex=True, sharey=True, figsize=(9, 5), layout="constrained")
for ax, individual in zip(axes.flat, range(10, 16), strict=True):
    own = data[data["ind"] == individual]
    true = np.vander(times, 4, increasing=True) @ (truth.beta + truth.gamma[individual])
    ax.plot(times, true, color="#b0b0b0", linewidth=3, label="truth")
    ax.plot(times, common, "--", color="#7d7d7d", label="common curve")
    ax.plot(times, fit.predict(grid.assign(ind=individual))["mean"], color="#0a84c9", label="pmlmm")
    ax.plot(own["t"], own["y"], "o", color="#d55e00", label="the one row")
    ax.set_title(f"individual {individual}", fontsize="medium")
figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
figure.supxlabel("time (half-ranges from the middle)")
figure.supylabel("y (units of the residual sd)")
