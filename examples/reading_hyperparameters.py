"""
Choosing and reading b, lambda and A
====================================

How much each hyperparameter is known, what fixing it changes, and what the targets of other structures make of it.
"""

import pmlmm

data = pmlmm.datasets.load("sleepstudy")
formula = "Reaction ~ Days + (Days | Subject)"
fit = pmlmm.Model(formula, data).fit()
print(fit.hyperparameters.to_string())

# %%
# The evidence over b, with everything else at its best, rises all the way to b = 1, by less than a nat from .5 on:
# these data hardly object to a covariance that equals its target. The maximum inside is the hyperprior's doing.
fit.plot_evidence("b[Subject]", points=9)

# %%
# Where A is fixed too, b moves the covariance from the data's to the target's: here 10 ms and 2 ms a day.
for b in (0.2, 0.5, 0.9):
    fixed = pmlmm.Model(formula, data, {"Subject": pmlmm.InverseWishart(b=b, A=[[100, 0], [0, 4]])}).fit()
    sds = fixed.mean["Sigma_Subject"].to_numpy().diagonal() ** 0.5
    print(f"b = {b}: sds {sds[0]:.1f} ms, {sds[1]:.1f} ms a day; evidence {fixed.log_evidence:.2f}")

# %%
# The structure of A: an intercept in ms and a slope in ms a day do not share a scale, and the evidence says so.
for structure in ("diagonal", "identity"):
    other = pmlmm.Model(formula, data, {"Subject": pmlmm.InverseWishart(A=structure)}).fit()
    print(f"A {structure}: evidence {other.log_evidence:.2f}")
