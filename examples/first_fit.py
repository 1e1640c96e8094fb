"""
First fit
=========

Learn the priors of a mixed model, read them, and look at the posterior.
"""

import arviz as az

import pmlmm

data = pmlmm.datasets.load("sleepstudy")
fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", data).fit()

print(fit)

# %%
# The posterior is an ArviZ DataTree.
print(az.summary(fit.posterior, var_names=["beta", "sigma", "Sigma_Subject"]))

# %%
# Each subject's own line with its 95% interval, beside that of the average subject (dashed).
axes = fit.plot_trajectories()
axes[0].figure.supxlabel("days of sleep deprivation")
axes[0].figure.supylabel("reaction time (ms)")

# %%
# The same lines as points: the slopes differ, and the model draws the extreme ones towards the average.
fit.plot_shrinkage()

# %%
# How sure is the weight b of the prior target? The evidence alone rises towards 1, by less than a nat from .5 on.
fit.plot_evidence("b[Subject]", points=9)
