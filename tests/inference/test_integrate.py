"""Hyperparameters integrated out, against quadrature and where there is nothing to integrate."""

import numpy as np
import pytest
from scipy.integrate import dblquad, quad

import pmlmm
from pmlmm.errors import OptionError
from pmlmm.inference.conditional import Conditional
from pmlmm.inference.integrate import Centre, adapt, draw_nodes, find_centre

FORMULA = "Reaction ~ Days + (Days | Subject)"


def kernel(z, widths, k, nu=5.0):
    """Density of one point from the formula, for :func:`draw_nodes`."""
    from scipy.stats import multivariate_t

    return multivariate_t(np.zeros(k), np.eye(k), df=nu).pdf(z / widths) / np.prod(widths)


@pytest.mark.slow
def test_node_densities_are_those_of_a_split_student():
    centre = Centre(np.array([1.0, -2.0]), np.eye(2), np.array([0.5, 1.0]), np.array([1.5, 2.0]))
    nodes, log_density = draw_nodes(centre, 1024, 0)
    share = 2.0 / (centre.below + centre.above)

    def density(b, a):
        z = np.array([a, b]) - centre.phi
        widths = np.where(z < 0, centre.below, centre.above)
        return float(kernel(z, widths, 2) * np.prod(widths * share))

    assert dblquad(density, -40, 40, -60, 60, epsabs=1e-4)[0] == pytest.approx(1.0, abs=5e-3)
    for node, value in list(zip(nodes, log_density, strict=True))[:20]:
        assert value == pytest.approx(np.log(density(node[1], node[0])), rel=1e-9)
    # medians sit where the shares of the sides put them
    assert np.mean(nodes[:, 0] < 1.0) == pytest.approx(0.25, abs=0.01)


def test_the_centre_of_a_skewed_density_is_found_and_fitted():
    axes = np.array([[0.8, -0.6], [0.6, 0.8]])

    def log_density(phi):
        a, b = axes.T @ phi
        return -0.5 * ((a - 1.0) / (2.0 if a > 1.0 else 1.0)) ** 2 - 0.5 * (b + 1.0) ** 2

    centre = find_centre(log_density, np.zeros(2))
    np.testing.assert_allclose(axes.T @ centre.phi, [1.0, -1.0], atol=0.15)
    nodes, log_g = draw_nodes(centre, 1024, 1)
    weights = np.exp(np.array([log_density(node) for node in nodes]) - log_g)
    adapted = adapt(nodes, weights / weights.sum())
    long = np.argmax(np.abs(adapted.axes.T @ axes[:, 0]))
    sides = sorted([adapted.below[long], adapted.above[long]])
    assert sides[1] / sides[0] > 1.2  # it has learned that one side is longer
    again, log_g = draw_nodes(adapted, 1024, 2)
    values = np.array([log_density(node) for node in again]) - log_g
    assert np.log(np.mean(np.exp(values))) == pytest.approx(np.log(1.5 * 2 * np.pi), abs=0.05)


def test_one_hyperparameter_against_quadrature(sleepstudy):
    """Only b is learned: the integral over it by quadrature of corrected evidence at every b."""
    prior = {"Subject": pmlmm.InverseWishart(A=[[600.0, 0.0], [0.0, 40.0]]), "common": pmlmm.Ridge(0.5)}
    fit = pmlmm.Model(FORMULA, sleepstudy, prior).fit()
    integrated = fit.integrate(nodes=256, draws=32)
    space = fit._posterior.learned.space

    def evidence(phi):
        at = fit._posterior.learned.proposals.mode(np.array([phi]))
        from pmlmm.inference.importance import ImportanceSample, base_draws

        base = base_draws(2000, 4, np.random.default_rng(1))
        theta = space.theta(np.array([phi]))
        data = fit._posterior.learned.proposals.laplace.data
        sample = ImportanceSample(at, at.curvature, base, data, theta.log_lambda, fit.model.priors.sigma)
        return sample.weights(theta).log_evidence + space.log_prior(np.array([phi]))[0]

    grid = np.linspace(-2.0, 7.0, 60)
    values = np.array([evidence(phi) for phi in grid])
    top = values.max()
    expected = top + np.log(np.trapezoid(np.exp(values - top), grid))
    assert integrated.log_evidence == pytest.approx(expected, abs=4 * integrated.log_evidence_psis_error + 0.01)
    assert integrated.log_evidence_psis_error < 0.03
    density = np.exp(values - top) / np.trapezoid(np.exp(values - top), grid)
    mean = np.trapezoid(grid * density, grid)
    nodes = integrated._posterior.integrated
    sd = np.sqrt(np.trapezoid((grid - mean) ** 2 * density, grid))
    assert nodes.node_weights @ nodes.phi[:, 0] == pytest.approx(mean, abs=0.15 * sd)


def test_variance_component_against_two_dimensional_quadrature(sleepstudy):
    """Random intercepts, b fixed, A learned: p(y) and the mean of Sigma by brute force over (log Sigma, log A)."""
    table = sleepstudy.iloc[:60]
    prior = {"Subject": pmlmm.InverseWishart(b=0.6), "common": pmlmm.Ridge(0.5), "sigma": pmlmm.HalfStudentT(4, 30.0)}
    fit = pmlmm.Model("Reaction ~ Days + (1 | Subject)", table, prior).fit()
    integrated = fit.integrate(draws=32)
    near, space = Conditional(fit._posterior.learned), fit._posterior.learned.space

    def over_sigma(log_C, phi):
        density = near.density(np.array([phi]))
        mode = 3.3
        return quad(lambda s: np.exp(density(np.array([s, log_C]))[0] + 300.0), mode - 1.2, mode + 1.2, limit=60)[0]

    phis, logs = np.linspace(*(space.start[0] + np.array([-5.0, 5.0])), 22), np.linspace(-5.5, -1.5, 41)
    table = np.array([[over_sigma(c, p) * np.exp(space.log_prior(np.array([p]))[0]) for c in logs] for p in phis])
    total = np.trapezoid(np.trapezoid(table, logs, axis=1), phis)
    mean = np.trapezoid(np.trapezoid(table * np.exp(-2.0 * logs), logs, axis=1), phis) / total
    error = 4 * integrated.log_evidence_psis_error + 0.02
    assert integrated.log_evidence == pytest.approx(np.log(total) - 300.0, abs=error)
    assert float(integrated.mean["Sigma_Subject"].squeeze()) == pytest.approx(mean, rel=0.08)


def test_nothing_to_integrate_is_the_fit_itself(sleepstudy):
    prior = {"Subject": pmlmm.InverseWishart(b=0.5, A=[[600.0, 0.0], [0.0, 40.0]]), "common": pmlmm.Ridge(0.5)}
    fit = pmlmm.Model(FORMULA, sleepstudy, prior).fit()
    integrated = fit.integrate()
    error = np.hypot(integrated.log_evidence_psis_error, fit.log_evidence_psis_error)
    assert abs(integrated.log_evidence - fit.log_evidence_psis) < 4 * error
    np.testing.assert_allclose(integrated.mean["beta"], fit.mean["beta"], atol=0.3)
    report = pmlmm.compare(integrated, fit.sample(300, hyperparameters=True, progress=False))
    assert (report.table["integrated", "z"] < 4.5).all()


def test_it_asks_for_a_hyperprior(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy).fit(hyperprior=None)
    with pytest.raises(OptionError, match="proper hyperprior"):
        fit.integrate()
    with pytest.raises(OptionError, match="proper hyperprior"):
        fit.sample(hyperparameters=True, progress=False)


def test_few_and_odd_numbers_of_nodes(sleep_fit):
    for nodes in (64, 96, 100):
        integrated = sleep_fit.integrate(nodes=nodes, draws=8)
        assert len(integrated._posterior.integrated.phi) == nodes
        assert integrated.lost_nodes == 0.0
    with pytest.raises(OptionError, match="nodes=63"):
        sleep_fit.integrate(nodes=63)


def test_lost_nodes_are_reported(sleep_fit, monkeypatch):
    from pmlmm.inference.conditional import Conditional

    original, calls = Conditional.at, 0

    def failing(self, phi, exact=False):
        nonlocal calls
        calls += not exact
        if not exact and calls % 5 == 0:
            raise pmlmm.errors.ConvergenceError("no mode")
        return original(self, phi, exact)

    monkeypatch.setattr(Conditional, "at", failing)
    integrated = sleep_fit.integrate(nodes=64)
    assert integrated.lost_nodes == pytest.approx(0.2, abs=0.02)
    text = repr(integrated)
    assert "20% of the settings tried had no proper mode" in text
    assert "NOT reliable" in text
