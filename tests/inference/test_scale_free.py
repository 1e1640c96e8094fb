"""Scale-free coordinates: there and back, their volume, and what they are for two effects."""

import numpy as np
import pytest

from pmlmm.inference.scale_free import ScaleFree
from pmlmm.kernels import coordinates

SIZES = (2, 1, 3)


@pytest.fixture
def points():
    """log sigma, three covariances, and a log lambda behind them."""
    return np.random.default_rng(0).normal(size=(5, 1 + 3 + 1 + 6 + 1))


def test_there_and_back(points, differences):
    change = ScaleFree(SIZES)
    np.testing.assert_allclose(change.here(change.there(points)), points, rtol=1e-12)
    np.testing.assert_array_equal(change.there(points)[:, -1], points[:, -1])
    for y in points:
        numeric = np.stack([differences(lambda v, k=k: change.there(v)[k], y) for k in range(len(y))])
        np.testing.assert_allclose(change.jacobian(y), numeric, atol=1e-7)
        assert change.log_jacobian(y) == pytest.approx(np.linalg.slogdet(change.jacobian(y))[1], rel=1e-12)


@pytest.mark.parametrize("sds", [(1.0, 1.0), (30.0, 1e-4)])
def test_two_effects_have_minus_the_z_of_their_correlation(sds):
    rho = 0.6
    Sigma = np.outer(sds, sds) * np.array([[1.0, rho], [rho, 1.0]])
    x = coordinates.from_natural(np.concatenate([[1.0], coordinates.vech(Sigma)]), (2,))
    assert ScaleFree((2,)).here(x)[2] == pytest.approx(-np.arctanh(rho))


def test_without_random_effects():
    change, y = ScaleFree(()), np.array([0.3, -1.0])
    np.testing.assert_array_equal(change.there(y), y)
    assert change.log_jacobian(y) == 0.0
