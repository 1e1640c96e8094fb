"""The prior densities against SciPy and finite differences."""

import numpy as np
import pytest
from scipy import stats

from pmlmm.kernels import inverse_wishart
from pmlmm.kernels.coordinates import vech


def random_covariance(rng, q):
    root = rng.normal(size=(q, q + 2))
    return root @ root.T


@pytest.mark.parametrize("q", [1, 2, 4])
def test_inverse_wishart(differences, q):
    rng = np.random.default_rng(q)
    Sigma, Phi, eta = random_covariance(rng, q), random_covariance(rng, q), q + 2.3
    w = np.concatenate([vech(Sigma), [eta], vech(Phi)])
    at = inverse_wishart.log_density(w, q)
    assert at.value == pytest.approx(stats.invwishart(eta, Phi).logpdf(Sigma), rel=1e-12)
    gradient = differences(lambda x: inverse_wishart.log_density(x, q).value, w, 1e-6)
    hessian = differences(lambda x: inverse_wishart.log_density(x, q).gradient, w, 1e-6)
    np.testing.assert_allclose(at.gradient, gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(at.hessian, hessian, rtol=1e-5, atol=1e-5)


def test_inverse_wishart_outside_its_support():
    good = np.array([1.0, 0.0, 1.0, 4.0, 1.0, 0.0, 1.0])
    assert np.isfinite(inverse_wishart.log_density(good, 2).value)
    for index, value in ((1, 2.0), (3, 1.0), (5, 2.0)):  # Sigma, eta <= q - 1, Phi
        bad = good.copy()
        bad[index] = value
        assert inverse_wishart.log_density(bad, 2).value == -np.inf
