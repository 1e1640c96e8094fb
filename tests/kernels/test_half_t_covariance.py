"""The half-t covariance density against its construction and quadrature; the contract of all priors has the rest."""

import numpy as np
import pytest
from scipy import integrate, stats

from pmlmm.kernels import half_t_covariance as half_t
from pmlmm.kernels.coordinates import vech
from pmlmm.priors.half_t import HalfTDensity
from pmlmm.priors.inverse_wishart import InverseWishartDensity


def log_density(Sigma, log_s):
    return half_t.log_density(np.concatenate([vech(Sigma), log_s])).value


@pytest.mark.parametrize("scale", [0.7, 3.0])
def test_one_standard_deviation_is_half_t(scale):
    for sd in (0.1, 1.3, 20.0):
        expected = np.log(2.0) + stats.t(half_t.NU, scale=scale).logpdf(sd)
        found = log_density(np.array([[sd**2]]), np.log([scale])) + np.log(2.0 * sd)  # density of sd, not of sd^2
        assert found == pytest.approx(expected, rel=1e-12)


def of_sds(first, second, rho, scales):
    """Density of two standard deviations and their correlation; the Jacobian is 4 first^2 second^2."""
    Sigma = np.array([[first**2, rho * first * second], [rho * first * second, second**2]])
    return 4.0 * first**2 * second**2 * np.exp(log_density(Sigma, np.log(scales)))


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.3, 2.0])
def test_two_standard_deviations_are_half_t_each(sd):
    """The constant, and the marginal: the other sd (on the log scale) and the correlation are integrated out."""
    scales = (0.8, 2.5)

    def density(angle, log_other):
        return of_sds(sd, np.exp(log_other), np.sin(angle), scales) * np.exp(log_other) * np.cos(angle)

    total, _ = integrate.dblquad(density, -25.0, 25.0, -np.pi / 2, np.pi / 2, epsrel=1e-6)
    assert total == pytest.approx(2.0 * stats.t(half_t.NU, scale=scales[0]).pdf(sd), rel=1e-5)


@pytest.mark.slow
def test_correlations_are_uniform():
    def at(rho):
        inner = integrate.dblquad(
            lambda a, b: of_sds(np.exp(a), np.exp(b), rho, (1.0, 1.0)) * np.exp(a + b), -15, 15, -15, 15, epsrel=1e-4
        )
        return inner[0]

    for rho in (0.0, -0.9):
        assert at(rho) == pytest.approx(0.5, rel=1e-3)


@pytest.mark.slow
def test_draws_are_of_the_density():
    """Normalised at q = 3 (the mean of another density over this one is 1), and half-t in each sd."""
    rng, log_s = np.random.default_rng(4), np.log([0.5, 1.0, 3.0])
    density = HalfTDensity(log_s)
    Sigma = np.array([density.draw(rng) for _ in range(20_000)])
    for k, scale in enumerate(np.exp(log_s)):
        sds = np.sqrt(Sigma[:, k, k])
        assert stats.kstest(sds, _half_t(scale)).pvalue > 0.01
    precision, log_det = np.linalg.inv(Sigma), np.linalg.slogdet(Sigma)[1]
    other = InverseWishartDensity(4.0, np.diag(np.exp(2.0 * log_s)) / 2.0).log_densities(precision, log_det)
    ratios = np.exp(other - density.log_densities(precision, log_det))
    error = ratios.std() / np.sqrt(len(ratios))
    assert abs(ratios.mean() - 1.0) < 4.0 * error < 0.1


def _half_t(scale):
    return lambda x: 2.0 * stats.t(half_t.NU, scale=scale).cdf(x) - 1.0


def test_outside_of_its_support():
    w = np.array([1.0, 2.0, 1.0, 0.0, 0.0])
    assert half_t.log_density(w).value == half_t.value_and_gradient(w)[0] == -np.inf
    assert np.isnan(half_t.value_and_gradient(w)[1]).all()
