"""
Laplace against NUTS
====================

The fast posterior of the tuned model beside NUTS on the same model, with a verdict in words and a picture.
"""

import pmlmm

data = pmlmm.datasets.load("sleepstudy")
fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", data).fit(integrate=False)  # given learned hyperparameters
mcmc = fit.sample(500, progress=False)
report = pmlmm.compare(fit, mcmc)
print(report)

# %%
# The picture: densities by Laplace, importance sampling and NUTS.
figure = report.plot()
