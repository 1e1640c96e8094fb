"""Modes and Laplace evidence against EM, quadrature, and cases where everything is known."""

import numpy as np
import pytest
from scipy import integrate

import pmlmm
from pmlmm.errors import ConvergenceError
from pmlmm.inference import newton
from pmlmm.inference.em import em
from pmlmm.inference.empirical_bayes import maximize_evidence
from pmlmm.inference.expanded_search import climb
from pmlmm.kernels import coordinates
from pmlmm.kernels.derivatives import Derivatives

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.mark.parametrize("approximation", ["marginal", "joint"])
@pytest.mark.parametrize("formula", [FORMULA, "Reaction ~ Days + (Days || Subject)"])
def test_em_and_newton_reach_the_same_natural_mode(bench, sleepstudy, approximation, formula):
    b = bench(pmlmm.Model(formula, sleepstudy), approximation, "natural")
    mode = b.mode()
    natural = coordinates.to_natural(b.start, b.laplace.sizes)
    by_em, steps = em(
        natural,
        b.space.fixed,
        b.model.priors.sigma,
        b.laplace.data,
        profile=approximation == "joint",
        steps=5000,
        tolerance=1e-13,
    )
    assert steps < 5000
    np.testing.assert_allclose(by_em, mode.natural, rtol=1e-6, atol=1e-6 * mode.natural.max())


def test_one_em_step_is_the_talks_update(bench, sleepstudy):
    """Sigma <- b A + (1 - b) mean_i E[gamma_i gamma_i'], the moments from dense conditional normals."""
    b = bench(pmlmm.Model(FORMULA, sleepstudy, standardize=False), "marginal", "natural")
    design, hyper = b.model.design, b.space.fixed.covariances[0]
    u = np.array([30.0, 500.0, 10.0, 40.0])
    stepped, _ = em(u, b.space.fixed, b.model.priors.sigma, b.laplace.data, profile=False, steps=1)
    m, n, term = 18, len(design.y), design.terms[0]
    Z = np.zeros((n, 2 * m))
    for i in range(n):
        Z[i, 2 * term.grouping.codes[i] : 2 * term.grouping.codes[i] + 2] = term.Z[i]
    Sigma = coordinates.unvech(u[1:], 2)
    prior = np.kron(np.eye(m), Sigma)
    noise = u[0] ** 2 * (np.eye(n) + (design.X * np.exp(-b.space.fixed.log_lambda)) @ design.X.T)
    V = noise + Z @ prior @ Z.T
    gain = prior @ Z.T @ np.linalg.inv(V)
    mean = (gain @ (design.y - b.model.priors.intercept_mean)).reshape(m, 2)
    cov = prior - gain @ Z @ prior
    moment = mean.T @ mean + sum(cov[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] for i in range(m))
    weight = hyper.b(m)
    expected = weight * hyper.A + (1 - weight) * moment / m
    np.testing.assert_allclose(coordinates.unvech(stepped[1:], 2), expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("approximation", "kind"),
    [
        ("marginal", "unconstrained"),
        ("marginal", "natural"),
        ("joint", "natural"),
        ("joint", "unconstrained"),
    ],
)
def test_evidence_gradient_matches_differences(bench, sleepstudy, differences, approximation, kind):
    model = pmlmm.Model(FORMULA, sleepstudy.iloc[:90])
    b = bench(model, approximation, kind, pmlmm.Hyperprior())
    function = b.evidence()
    phi = b.space.start + np.array([0.3, -0.4, 0.2, -0.3])
    gradient = function(phi)[1]
    numeric = differences(lambda x: function(x)[0], phi, 1e-4)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=2e-5)


def test_expansion_touches_the_likelihood_at_its_centre(bench, differences, sleepstudy):
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


@pytest.mark.parametrize("formula", [FORMULA, "Reaction ~ Days + (1 | Subject)"])
def test_climbing_by_expansions_ends_where_the_search_does(bench, sleepstudy, formula):
    b = bench(pmlmm.Model(formula, sleepstudy), hyperprior=pmlmm.Hyperprior())
    exact = b.evidence()
    expected, _ = maximize_evidence(exact, b.space, b.space.start, "evidence", tolerance=1e-5)
    evidence = b.evidence()
    phi, records, settled = climb(evidence, b.space.start, 1e-5, None)
    assert settled
    np.testing.assert_allclose(evidence.last_x, b.mode(phi).x, atol=1e-5)
    # the slope of the volume may be off by .005 nats per unit of x, and flat directions have a curvature near .8
    np.testing.assert_allclose(phi, expected, atol=0.01)
    totals = [exact.mode(at).log_evidence + b.space.log_hyperprior(at)[0] for at in (phi, expected)]
    assert totals[0] == pytest.approx(totals[1], abs=5e-5)
    assert len(records) < 10


def quadrature(b, hyper):
    """Mode, and log of the integral over (log sigma, x) by the trapezoidal rule, for q = 1.

    On an analytic density that has died off at the ends the rule converges geometrically.
    """
    mode = b.laplace.find_mode(b.start, hyper)
    sd = 1 / np.sqrt(np.diag(mode.precision))
    grid = np.linspace(-10, 10, 45)
    values = [
        b.laplace.evaluate(mode.x + np.array([first, second]) * sd, hyper)[0].value for first in grid for second in grid
    ]
    total = np.sum(np.exp(np.array(values) - mode.log_posterior)) * (grid[1] - grid[0]) ** 2
    return mode, mode.log_posterior + np.log(total * sd[0] * sd[1])


def test_random_intercept_evidence_against_quadrature(bench, sleepstudy):
    b = bench(pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy))
    for phi in (b.space.start, b.space.start + np.array([0.5, -1.5, 0.5])):
        mode, exact = quadrature(b, b.space.theta(phi).packed)
        assert mode.log_evidence == pytest.approx(exact, abs=0.02)


def test_ridge_regression_evidence_is_one_dimensional(bench, sleepstudy):
    """Without random terms only log sigma is left to Laplace."""
    b = bench(pmlmm.Model("Reaction ~ Days", sleepstudy))
    hyper, mode = b.space.fixed.packed, b.mode()

    def density(s):
        return np.exp(b.laplace.evaluate(np.array([s]), hyper)[0].value - mode.log_posterior)

    total, _ = integrate.quad(density, mode.x[0] - 1, mode.x[0] + 1, epsabs=1e-10)
    assert mode.log_evidence == pytest.approx(mode.log_posterior + np.log(total), abs=0.02)


def test_newton_on_a_gaussian_takes_one_step():
    precision = np.array([[4.0, 1.0], [1.0, 2.0]])
    centre = np.array([1.0, -3.0])

    def function(x):
        return Derivatives(-0.5 * (x - centre) @ precision @ (x - centre), -precision @ (x - centre), -precision)

    found = newton.maximize(function, np.array([50.0, 70.0]))
    np.testing.assert_allclose(found.x, centre, atol=1e-10)
    assert found.steps <= 2


def test_newton_leaves_a_saddle():
    """f = x^2 - x^4 - y^2 has a saddle at 0: from near it the climb must end at a maximum."""

    def function(v):
        x, y = v
        return Derivatives(x**2 - x**4 - y**2, np.array([2 * x - 4 * x**3, -2 * y]), np.diag([2 - 12 * x**2, -2.0]))

    found = newton.maximize(function, np.array([1e-4, 2.0]))
    np.testing.assert_allclose(np.abs(found.x), [np.sqrt(0.5), 0.0], atol=1e-6)


def test_newton_says_when_there_is_no_mode():
    def ramp(x):
        return Derivatives(float(x[0]), np.ones(1), np.zeros((1, 1)))

    with pytest.raises(ConvergenceError, match="not reached in"):
        newton.maximize(ramp, np.zeros(1))
    with pytest.raises(ConvergenceError, match="not finite at the start"):
        newton.maximize(lambda x: Derivatives(-np.inf, x, np.eye(1)), np.zeros(1))


def test_not_positive_definite_is_an_error(bench, sleepstudy):
    b = bench(pmlmm.Model(FORMULA, sleepstudy), "marginal", "natural")
    far = b.start + np.array([1.5, 0.0, 0.0, 0.0])
    with pytest.raises(ConvergenceError, match="not positive definite in natural coordinates"):
        b.laplace.log_volume(far, b.space.fixed.packed)


def grouped(noise, shift=0.0):
    """12 groups of 6 rows with intercepts and slopes of their own around 2 + 3 t."""
    rng = np.random.default_rng(0)
    b, g, t = rng.normal(size=(12, 2)), np.repeat(np.arange(12), 6), np.tile(np.arange(6.0), 12)
    y = 2 + 3 * t + b[g, 0] + b[g, 1] * t + noise * rng.normal(size=72)
    return {"y": y, "t": t + shift, "g": g}


@pytest.mark.parametrize("noise", [0.3, 0.1, 0.01])
def test_the_better_of_two_maxima_in_lambda_is_found(noise):
    """With little noise lambda near 1 leaves the common slope to the groups: 11 nats below the weak penalty."""
    fit = pmlmm.Model("y ~ t + (t | g)", grouped(noise)).fit()
    assert float(fit.mean["beta"].sel(coefficient="t")) == pytest.approx(3.07, abs=0.05)
    assert fit.hyperparameters.loc["lambda[common]", "value"] < 0.02


def test_raw_times_find_the_mode_with_the_needed_correlation(sleepstudy):
    """Days counted from 2000 years before: intercepts and slopes are correlated at -1, and the slopes remain."""
    fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy.assign(Days=sleepstudy["Days"] + 2000)).fit()
    assert np.sqrt(float(fit.mean["Sigma_Subject"][1, 1])) == pytest.approx(5.98, abs=0.3)
    assert float(fit.mean["sigma"]) == pytest.approx(25.8, abs=0.5)


def test_exact_fits_are_refused_in_words():
    data = grouped(0.1)
    with pytest.raises(pmlmm.errors.DataError, match="fit 'y' exactly"):
        pmlmm.Model("y ~ t + (1 | g)", data | {"y": 2 + 3 * data["t"]}).fit()
    with pytest.raises(ConvergenceError):
        pmlmm.Model("y ~ t + (1 | g)", data | {"y": data["g"].astype(float)}).fit()


def test_nearly_collinear_random_effects_still_start():
    """Times around 5 with a spread of 0.03, squared: (Z'Z)^-1 is too rough a start, its diagonal is not."""
    rng = np.random.default_rng(1)
    g, t = np.repeat(np.arange(12), 5), 5 + 0.03 * rng.normal(size=60)
    fit = pmlmm.Model("y ~ t + (t + I(t**2) | g)", {"y": rng.normal(size=12)[g] + rng.normal(size=60), "t": t, "g": g})
    assert np.isfinite(fit.fit(draws=200).log_evidence)


def test_unidentified_sigma_is_an_error_in_words(sleepstudy, monkeypatch):
    """The limit is put below what sleepstudy reaches; it lies at a factor of e^2."""
    monkeypatch.setattr("pmlmm.inference.learn._LARGEST_SD", 0.01)
    with pytest.raises(ConvergenceError, match="180 rows for 36 random effects and 2 fixed effects"):
        pmlmm.Model(FORMULA, sleepstudy).fit()
