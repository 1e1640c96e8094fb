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
print()
print(az.summary(fit.posterior, var_names=["beta", "sigma", "Sigma_Subject"]))
print()
print("Evidence over the weight b of the prior target:")
print(fit.profile("b[Subject]", points=7)[["value", "log_evidence", "log_evidence_psis", "log_hyperprior"]])
