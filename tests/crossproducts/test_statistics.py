import numpy as np

from pmlmm.crossproducts.standardize import standardization
from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.design.design import build_design
from pmlmm.priors.prior_set import resolve


def test_cross_products_by_group(sleepstudy):
    design = build_design("Reaction ~ Days + (Days | Subject)", sleepstudy.sample(frac=0.7, random_state=1))
    standard = standardization(
        design.X, np.array([1.0, design.X[:, 1].std()]), np.array([False, True]), 0, np.array([250.0, 0.0])
    )
    statistics = build_statistics(design, resolve(design, None, True), standard)
    sums, term = statistics.marginal, design.terms[0]
    days = design.X[:, 1]
    W = np.column_stack([np.ones(len(days)), (days - days.mean()) / days.std(), design.y - 250.0])
    np.testing.assert_allclose(sums.crossproducts.first.gram, W.T @ W)
    for i in (0, 7):
        rows = term.grouping.codes == i
        np.testing.assert_allclose(sums.S[i], term.Z[rows].T @ term.Z[rows])
        np.testing.assert_allclose(sums.c[i], term.Z[rows].T @ W[rows])
    np.testing.assert_allclose(np.diag(statistics.columns.moments[0]), np.mean(term.Z**2, axis=0))
    beta = np.array([3.0, -2.0])
    fitted = 250.0 + W[:, :2] @ beta
    np.testing.assert_allclose(design.X @ (standard.transform @ beta + standard.shift), fitted)
