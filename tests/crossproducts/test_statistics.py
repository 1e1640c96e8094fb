import numpy as np
import pytest

from pmlmm.crossproducts.standardize import standardization
from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.crossproducts.sums import pool
from pmlmm.design.design import build_design
from pmlmm.priors.prior_set import resolve


def test_cross_products_by_group(sleepstudy):
    design = build_design("Reaction ~ Days + (Days | Subject)", sleepstudy.sample(frac=0.7, random_state=1))
    standard = standardization(design.X, np.array([False, True]), np.array([False, True]), 0, 250.0)
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


def test_without_intercept_columns_are_scaled_but_not_centred(sleepstudy):
    design = build_design("Reaction ~ 0 + Days + (1 | Subject)", sleepstudy)
    standard = standardization(design.X, np.array([True]), np.array([True]), None, 0.0)
    assert standard.center.tolist() == [0.0]
    assert standard.scale[0] == pytest.approx(design.X[:, 0].std())


def test_pooling_keeps_every_quadratic_sum():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(3, 5, 2))
    design = rng.integers(0, 3, 40)
    S = np.einsum("ijk,ijl->ikl", base[design], base[design])
    S *= 1 + 1e-15 * rng.normal(size=(40, 1, 1))  # rounding must not tell designs apart
    c = rng.normal(size=(40, 2, 3))
    designs, weights, starts, cross = pool(S, c)
    assert len(designs) == 3
    assert weights.sum() == 40
    assert len(cross) <= 3 * 6
    for d, S_d in enumerate(designs):
        own = np.all(np.isclose(S, S_d), axis=(1, 2))
        assert weights[d] == own.sum()
        pooled = cross[starts[d] : starts[d + 1]].reshape(-1, 6)
        np.testing.assert_allclose(pooled.T @ pooled, c[own].reshape(-1, 6).T @ c[own].reshape(-1, 6))


def test_distinct_designs_are_left_alone():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(10, 3, 2))
    S, c = np.swapaxes(root, 1, 2) @ root, rng.normal(size=(10, 2, 4))
    designs, weights, starts, cross = pool(S, c)
    assert designs is S
    assert cross is c
    assert weights.tolist() == [1.0] * 10
    assert starts.tolist() == list(range(11))
