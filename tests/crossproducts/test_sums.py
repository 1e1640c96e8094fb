"""Groups of equal design are pooled."""

import numpy as np

from pmlmm.crossproducts.sums import pool


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
