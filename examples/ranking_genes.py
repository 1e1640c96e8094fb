"""
Ranking genes
=============

Sixty patients, four visits, 400 genes: which genes matter, how well new patients are predicted, and the fit kept in a
file. One line a step.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector
from sklearn.model_selection import GroupKFold, cross_val_score

import pmlmm
from pmlmm.sklearn import MixedRegressor

rng = np.random.default_rng(11)
genes = pd.DataFrame(rng.normal(size=(240, 400))).rename(columns="gene_{}".format)
data = pd.DataFrame({"patient": np.repeat(np.arange(60), 4), "visit": np.tile(np.arange(4.0), 60)})
signal = 0.6 * genes.iloc[:, :10].sum(axis=1)
data["y"] = 0.5 * data["visit"] + signal + rng.normal(size=60)[data["patient"]] + 0.5 * rng.normal(size=240)

# %%
# The genes are a block with a ridge of its own, whose strength is learned beside the patients' variance.
fit = pmlmm.Model("y ~ visit + (1 | patient)", data, penalized={"genes": genes}).fit()
print(fit)

# %%
# The ranking, by posterior mean over posterior sd. Genes 0 to 9 have an effect of 0.6 in truth; a ridge spreads it over
# the others, so the estimates are too small and the order is what to read.
print(fit.coefficients("genes", sort=True).head(10).round(3).to_string())

# %%
# The same as a picture.
fit.plot_coefficients("genes", top=15)

# %%
# Grouped cross-validation with scikit-learn: all rows of a patient are left out together.
model = MixedRegressor("~ visit + (1 | patient)", penalized={"genes": make_column_selector(pattern="^gene_")})
table = pd.concat([data, genes], axis=1)
scores = cross_val_score(model, table, data["y"], groups=data["patient"], cv=GroupKFold(5))
print(f"R2 of new patients: {scores.mean():.2f}, from {scores.min():.2f} to {scores.max():.2f}")

# %%
# Saved, and loaded again wherever pmlmm is installed.
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "genes.nc"
    fit.save(file)
    again = pmlmm.load(file)
print(again.predict(data.head(3), penalized={"genes": genes.head(3)}).round(2).to_string())
