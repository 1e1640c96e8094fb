"""
When lmer refuses
=================

More random effects than rows: 10 individuals seen 10 times and 25 seen once, cubic curves.

lmer refuses the second model (125 rows, 140 random effects) and returns a singular covariance for the first.
"""

import numpy as np

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
axes = fit.plot_trajectories(groups=range(10, 16), extend=True)
times = np.linspace(-1.0, 1.0, 61)
for ax, individual in zip(axes, range(10, 16), strict=True):
    true = np.vander(times, 4, increasing=True) @ (truth.beta + truth.gamma[individual])
    ax.plot(times, true, color="#d55e00", linestyle=":", linewidth=2)
axes[0].figure.supxlabel("time (half-ranges from the middle); the dotted curves are the true ones")
axes[0].figure.supylabel("y (units of the residual sd)")
