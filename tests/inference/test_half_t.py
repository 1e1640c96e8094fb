"""A second covariance prior goes through everything that the first one does."""

import numpy as np
import pymc as pm
import pytest
from pytensor.compile.mode import Mode

import pmlmm
from pmlmm.errors import DataError, PriorError
from pmlmm.graph.build import build_collapsed
from pmlmm.graph.half_t import HalfTCovariance
from pmlmm.inference.importance import ImportanceEvidence, ImportanceSample, base_draws
from pmlmm.inference.start import plug_in
from pmlmm.kernels import coordinates, log_posterior
from pmlmm.kernels.likelihood_compiled import flatten
from pmlmm.priors.half_t import HalfT, HalfTDensity
from tests.bench import bench, quadrature
from tests.problems import RIDGE

FORMULA = "Reaction ~ Days + (Days | Subject)"

FAST = Mode(linker="py", optimizer=None)
PRIOR = RIDGE | {"Subject": HalfT()}


@pytest.fixture(scope="module")
def fit(sleepstudy):
    return pmlmm.Model(FORMULA, sleepstudy, PRIOR).fit()


@pytest.mark.slow
def test_evidence_against_quadrature(sleepstudy):
    b = bench(pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy, PRIOR))
    for phi in (b.space.start, b.space.start + np.array([0.5, -1.0])):
        mode, exact = quadrature(b, b.space.theta(phi).packed)
        # twice the error with an inverse-Wishart: the prior has heavier tails
        assert mode.log_evidence == pytest.approx(exact, abs=0.04)
        base = base_draws(4000, b.laplace.size, np.random.default_rng(0))
        theta = b.space.theta(phi)
        sample = ImportanceSample(mode, mode.curvature, base, b.laplace.data, theta.log_lambda, b.model.priors.sigma)
        weights = sample.weights(theta)
        assert abs(weights.log_evidence - exact) < 4 * weights.error + 1e-3


def test_derivatives_of_the_log_posterior(sleepstudy, differences):
    b = bench(pmlmm.Model(FORMULA, sleepstudy, PRIOR))
    d, hyper = b.laplace.size, b.space.fixed.packed
    at = np.concatenate([b.start + 0.1, hyper + 0.2])
    found, _ = b.laplace.evaluate(at[:d], at[d:])
    gradient = differences(lambda z: b.laplace.evaluate(z[:d], z[d:])[0].value, at)
    hessian = differences(lambda z: b.laplace.evaluate(z[:d], z[d:])[0].gradient, at)
    np.testing.assert_allclose(found.gradient, gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.hessian, hessian, rtol=1e-5, atol=1e-4)


def test_gradients_in_the_hyperparameters(sleepstudy, differences):
    """Of the Laplace evidence, the importance-sampled one, and the start's stand-in for both."""
    b = bench(pmlmm.Model(FORMULA, sleepstudy, PRIOR), hyperprior=pmlmm.Hyperprior())
    phi, mode = b.space.start + np.array([0.3, -0.2, 0.4]), b.mode()
    base = base_draws(500, b.laplace.size, np.random.default_rng(0))
    sample = ImportanceSample(
        mode, mode.curvature, base, b.laplace.data, b.space.fixed.log_lambda, b.model.priors.sigma
    )
    known = plug_in(b.space, mode.natural, np.ones(2), np.ones(2))
    for function in (b.evidence(), ImportanceEvidence(sample, b.space), known):
        numeric = differences(lambda x, function=function: function(x)[0], phi, 1e-4)
        np.testing.assert_allclose(function(phi)[1], numeric, atol=1e-4)


@pytest.mark.parametrize("terms", ["(1 + Days | Subject)", "(1 | Subject) + (0 + Days | Subject)"])
def test_compiled_density_is_the_log_posterior(sleepstudy, differences, terms):
    """Beside an inverse-Wishart, with hyperparameters of both."""
    table = sleepstudy.assign(Week=sleepstudy["Days"] % 5)
    model = pmlmm.Model(f"Reaction ~ Days + {terms} + (1 | Week)", table, PRIOR)
    b = bench(model, hyperprior=pmlmm.Hyperprior())
    space, packed, sigma = b.space, flatten(b.laplace.data), model.priors.sigma
    student = sigma.nu, sigma.scale
    x, phi = b.start + 0.05, space.start + 0.1
    theta = space.theta(phi)
    value, gradient = log_posterior.CollapsedDensity(packed, theta.log_lambda, theta.covariances, student)(x)
    at, _ = b.laplace.evaluate(x, theta.packed)
    assert value == pytest.approx(at.value, rel=1e-11)
    np.testing.assert_allclose(gradient, at.gradient[: len(x)], rtol=1e-8, atol=1e-8)
    both = log_posterior.HyperparameterDensity(
        packed, student, len(x), space.theta, space.pack_jacobian, space.log_prior
    )
    point = np.concatenate([x, phi])
    assert both(point)[0] == pytest.approx(value + space.log_prior(phi)[0], rel=1e-12)
    numeric = differences(lambda z: both(z)[0], point)
    np.testing.assert_allclose(both(point)[1], numeric, rtol=1e-5, atol=1e-5)


def test_em_and_newton_find_one_natural_mode(sleepstudy):
    prior = {"Subject": HalfT(scale=(30.0, 6.0)), "common": pmlmm.Ridge(0.5)}
    model = pmlmm.Model(FORMULA, sleepstudy, prior)
    newton, em = (model.fit(coordinates="natural", optimizer=optimizer) for optimizer in ("newton", "em"))
    assert em.log_posterior == pytest.approx(newton.log_posterior, rel=1e-12)
    for name in ("sigma", "Sigma_Subject", "beta"):
        np.testing.assert_allclose(em.mode[name], newton.mode[name], rtol=1e-6)


def test_learned_scales_have_rows_states_and_draws(fit):
    table = fit.hyperparameters
    assert list(table.index) == ["lambda[Intercept]", "lambda[common]", "s[Subject][Intercept]", "s[Subject][Days]"]
    assert (table["lower"] < table["value"]).tolist()[1:] == [True] * 3
    assert table["state"].str.startswith(("interior", "fixed")).all()
    assert "Sigma_Subject (Intercept Days) ~ HalfT(2, s), s learned" in str(fit)
    profile = fit.profile("s[Subject][Days]", points=3)
    assert profile["log_evidence_psis"].max() == pytest.approx(fit.log_evidence_psis, abs=0.1)
    prior = fit.sample_prior_predictive(draws=20, random_seed=0)
    assert np.isfinite(prior["prior"]["Sigma_Subject"]).all()


def test_units_do_not_matter(fit, sleepstudy):
    moved = sleepstudy.assign(Reaction=sleepstudy["Reaction"] * 1e-3, Days=sleepstudy["Days"] * 24.0)
    other = pmlmm.Model(FORMULA, moved, PRIOR).fit()
    found = other.hyperparameters["value"] / fit.hyperparameters["value"]
    np.testing.assert_allclose(found.iloc[1:], [1.0, 1e-3, 1e-3 / 24.0], rtol=5e-3)


@pytest.mark.slow
def test_nuts_agrees(fit):
    mcmc = fit.sample(draws=1000, tune=500, random_seed=1, progress=False)
    comparison = pmlmm.compare(fit, mcmc)
    bridge, error = comparison.evidence.loc["bridge", ["log_evidence", "error"]]
    assert abs(bridge - fit.log_evidence_psis) < 5 * error + 0.05
    assert abs(bridge - fit.log_evidence) < 0.3
    draws = mcmc["posterior"]["Sigma_Subject"].to_numpy().reshape(-1, 2, 2)
    error = draws.std(axis=0) / np.sqrt(1000)
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - fit.mean["Sigma_Subject"].to_numpy()), 4 * error)


@pytest.mark.slow
@pytest.mark.slow
def test_scales_integrated_out_and_sampled(fit):
    integrated = fit.integrate()
    assert "log level of s ~ Normal(log start, 1.5)" in str(integrated)
    assert integrated.posterior["posterior"]["s_Subject"].dims == ("chain", "draw", "Subject_effect1")
    mcmc = fit.sample(hyperparameters=True, draws=1000, tune=500, random_seed=1, progress=False)
    comparison = pmlmm.compare(integrated, mcmc)
    bridge = comparison.evidence.loc["bridge", "log_evidence"]
    assert integrated.log_evidence == pytest.approx(bridge, abs=0.15)


@pytest.mark.parametrize("collapsed", [True, False])
def test_graph(fit, sleepstudy, collapsed):
    model = fit.graph(collapsed=collapsed)
    np.testing.assert_allclose(
        model["s_Subject"].get_value(), fit.hyperparameters["value"].iloc[2:].to_numpy(), rtol=1e-12
    )
    gradient = model.compile_dlogp(mode=FAST)(model.initial_point())
    assert np.isfinite(gradient).all()
    drawn = pm.draw(model["Sigma_Subject"], 3, random_seed=0, mode=FAST)
    assert (np.linalg.eigvalsh(drawn) > 0).all()


@pytest.mark.slow
@pytest.mark.slow
def test_graph_compiled_by_numba_is_the_engine(sleepstudy):
    b = bench(pmlmm.Model(FORMULA, sleepstudy, PRIOR))
    model, handles = build_collapsed(b.problem, b.space.fixed)
    names = [model.rvs_to_values[rv].name for rv in handles.free]
    point = dict(zip(names, (b.start[0], b.start[1:]), strict=True))
    at, _ = b.laplace.evaluate(b.start, b.space.fixed.packed)
    assert model.compile_logp(mode="NUMBA")(point) == pytest.approx(at.value, rel=1e-10)
    np.testing.assert_allclose(model.compile_dlogp(mode="NUMBA")(point), at.gradient[: len(b.start)], rtol=1e-7)


def test_distribution_in_batches():
    log_s = np.log([[1.0, 2.0], [0.5, 3.0]])
    with pm.Model():
        Sigma = HalfTCovariance("Sigma", log_s, default_transform=None)
    values = pm.draw(Sigma, random_seed=0, mode=FAST)
    expected = [
        HalfTDensity(row).log_densities(np.linalg.inv(S), np.linalg.slogdet(S)[1])
        for row, S in zip(log_s, values, strict=True)
    ]
    np.testing.assert_allclose(pm.logp(Sigma, values).eval(mode=FAST), expected, rtol=1e-10)
    assert HalfTCovariance.dist(log_s[0]).shape.eval().tolist() == [2, 2]


def test_shared_scales(sleepstudy):
    table = sleepstudy.assign(Week=sleepstudy["Days"] % 5)
    prior = RIDGE | {("Subject", "Week"): HalfT()}
    fit = pmlmm.Model("Reaction ~ Days + (1 | Subject) + (1 | Week)", table, prior).fit()
    assert list(fit.hyperparameters.index[2:]) == ["s[Subject, Week][Intercept]"]
    first, second = fit._posterior.learned.theta.covariances
    np.testing.assert_array_equal(first.log_s, second.log_s)


def test_what_is_refused(sleepstudy):
    with pytest.raises(PriorError, match="positive and finite"):
        HalfT(scale=-1.0)
    with pytest.raises(PriorError, match="3 scales, but the term has 2 effects"):
        pmlmm.Model(FORMULA, sleepstudy, {"Subject": HalfT((1.0, 2.0, 3.0))})
    with pytest.raises(DataError, match="single group"):
        pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy.iloc[:10], PRIOR)
    fixed = pmlmm.Model(FORMULA, sleepstudy, RIDGE | {"Subject": HalfT(10.0)})
    assert "s 10.0" in str(fixed)
    assert [c.name for c in fixed._space(None).coordinates] == ["lambda[common]"]
    np.testing.assert_allclose(fixed._space(None).fixed.covariances[0].log_s, np.log([10.0, 10.0]))


def test_coordinates_of_a_start_are_those_of_its_typical_covariance(sleepstudy):
    b = bench(pmlmm.Model(FORMULA, sleepstudy, PRIOR))
    typical = b.space.fixed.covariances[0].typical
    x = coordinates.from_natural(np.concatenate([[1.0], coordinates.vech(typical)]), (2,))
    np.testing.assert_allclose(x[[1, 3]], -b.space.fixed.covariances[0].log_s)
