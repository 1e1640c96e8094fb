"""Modes and Laplace evidence against EM, quadrature, and cases where everything is known."""

import numpy as np
import pytest
from scipy import integrate

import pmlmm
from pmlmm.errors import ConvergenceError
from tests.bench import bench, quadrature

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_expansion_touches_the_likelihood_at_its_centre(differences, sleepstudy):
    """Value, gradient and Hessian agree there; elsewhere its own derivatives are consistent."""
    b = bench(pmlmm.Model(FORMULA, sleepstudy))
    mode, hyper = b.mode(), b.space.fixed.packed
    expanded = b.laplace.expanded(mode, hyper)
    for exact, parabola in zip(b.laplace.evaluate(mode.x, hyper), expanded.evaluate(mode.x, hyper), strict=True):
        for left, right in zip(exact, parabola, strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-7, atol=1e-7)
    away = mode.x + 0.3
    at = expanded.evaluate(away, hyper)[0]
    d = len(away)
    gradient = differences(lambda x: expanded.evaluate(x, hyper)[0].value, away)
    hessian = differences(lambda x: expanded.evaluate(x, hyper)[0].gradient[:d], away)
    np.testing.assert_allclose(at.gradient[:d], gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(at.hessian[:d, :d], hessian, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_random_intercept_evidence_against_quadrature(sleepstudy):
    b = bench(pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy))
    for phi in (b.space.start, b.space.start + np.array([-1.5, 0.5])):
        mode, exact = quadrature(b, b.space.theta(phi).packed)
        assert mode.log_evidence == pytest.approx(exact, abs=0.02)


def test_ridge_regression_evidence_is_one_dimensional(sleepstudy):
    """Without random terms only log sigma is left to Laplace."""
    b = bench(pmlmm.Model("Reaction ~ Days", sleepstudy))
    hyper, mode = b.space.fixed.packed, b.mode()

    def density(s):
        return np.exp(b.laplace.evaluate(np.array([s]), hyper)[0].value - mode.log_posterior)

    total, _ = integrate.quad(density, mode.x[0] - 1, mode.x[0] + 1, epsabs=1e-10)
    assert mode.log_evidence == pytest.approx(mode.log_posterior + np.log(total), abs=0.02)


def test_not_positive_definite_is_an_error(sleepstudy):
    b = bench(pmlmm.Model(FORMULA, sleepstudy), "marginal", "natural")
    far = b.start + np.array([1.5, 0.0, 0.0, 0.0])
    with pytest.raises(ConvergenceError, match="not positive definite in natural coordinates"):
        b.laplace.log_volume(far, b.space.fixed.packed)
