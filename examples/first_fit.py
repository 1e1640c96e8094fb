"""
First fit
=========

Learn the priors of a mixed model, read them, and look at the posterior.
"""

import arviz as az
import matplotlib.pyplot as plt
import numpy as np

import pmlmm

data = pmlmm.datasets.load("sleepstudy")
fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", data).fit()

print(fit)

# %%
# The posterior is an ArviZ DataTree.
print(az.summary(fit.posterior, var_names=["beta", "sigma", "Sigma_Subject"]))

# %%
# Each subject's own line (blue) beside the one that least squares draws through that subject alone (dashed): the slopes
# differ, and the extreme ones are drawn towards the common one.
fitted = fit.predict()["mean"]
figure, axes = plt.subplots(2, 4, sharex=True, sharey=True, figsize=(9, 4.5), layout="constrained")
for ax, subject in zip(axes.flat, (309, 310, 330, 331, 332, 335, 337, 371), strict=True):
    own = (data["Subject"] == subject).to_numpy()
    days, reaction = data.loc[own, "Days"], data.loc[own, "Reaction"]
    ax.plot(days, reaction, "o", color="#7d7d7d", markersize=4)
    ax.plot(days, np.polyval(np.polyfit(days, reaction, 1), days), "--", color="#7d7d7d")
    ax.plot(days, fitted[own], color="#0a84c9")
    ax.set_title(f"subject {subject}", fontsize="medium")
figure.supxlabel("days of sleep deprivation")
figure.supylabel("reaction time (ms)")

# %%
# How sure is the weight b of the prior target? The evidence alone rises towards 1, by less than a nat from .5 on.
print(fit.profile("b[Subject]", points=7)[["value", "log_evidence", "log_evidence_psis", "log_hyperprior"]])
