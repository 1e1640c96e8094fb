"""
Growth curves
=============

Heights of forty children, each measured three to six times: variance components, intraclass correlation, R2, and every
child's own curve. One line a step.
"""

import numpy as np
import pandas as pd

import pmlmm

rng = np.random.default_rng(7)
number = rng.integers(3, 7, 40)
child = np.repeat(np.arange(40), number)
data = pd.DataFrame(
    {"child": child, "sex": np.where(child % 2, "girl", "boy"), "age": rng.uniform(6, 12, len(child)).round(1)}
)
own = rng.multivariate_normal([0, 0], [[25, 1.2], [1.2, 0.36]], 40)[child]  # at age 9: sds 5 cm and .6 cm a year
data["height"] = 133 + own[:, 0] + (5.8 + own[:, 1]) * (data["age"] - 9) - 1.0 * (data["sex"] == "girl")
data["height"] = (data["height"] + rng.normal(0, 0.8, len(data))).round(1)

# %%
# Ages are far from zero. The prior of the children's covariance is stated at the mean age then, as the summary says.
fit = pmlmm.Model("height ~ age + sex + (age | child)", data).fit()
print(fit)

# %%
# Standard deviations and correlations of the children's effects, as a table. Effects are those of the formula, so the
# intercepts are at age 0, where nobody was measured: they correlate with the slopes, as both come from ages 6 to 12.
print(fit.covariances().round(2).to_string(index=False))

# %%
# Variance components: with slopes, the variance between children is its mean over the rows (Johnson 2014).
print(fit.variance_components().round(2).to_string())

# %%
# The intraclass correlation, and how much fixed effects alone (marginal) and together with random ones (conditional)
# explain.
print(fit.icc().round(3).to_string())
print(fit.r2().round(3).to_string())

# %%
# Every child's own curve with its interval, beside that of the average child.
fit.plot_trajectories("age", groups=12)

# %%
# What partial pooling does: arrows go from each child's own least squares line to its estimate.
fit.plot_shrinkage()

# %%
# The height of child 3 at ages 12 to 15, and of a child whom nobody has measured yet.
ages = pd.DataFrame({"child": 3, "sex": "girl", "age": [12.0, 13.0, 14.0, 15.0]})
print(fit.predict(ages, kind="response").round(1).to_string())
print(fit.predict(ages.assign(child="unknown"), kind="response", groups="new").round(1).to_string())
