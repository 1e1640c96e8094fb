"""What every covariance prior promises: derivatives, compiled twins, EM, draws, and the maps of its family."""

import dataclasses

import numpy as np
import pytest

import pmlmm
from pmlmm.graph.covariances import graph_of
from pmlmm.kernels.coordinates import log_jacobian, precision_cholesky, to_natural, unvech, vech, vech_size
from pmlmm.priors.covariance_priors import COVARIANCE_PRIORS, PER_EFFECT
from pmlmm.priors.flat import Flat, FlatDensity
from pmlmm.priors.half_t import HalfT, HalfTDensity
from pmlmm.priors.inverse_wishart import InverseWishart, InverseWishartDensity
from tests.problems import RIDGE

PRIORS = [
    InverseWishart(),
    InverseWishart(A="identity"),
    InverseWishart(A="ar1"),
    InverseWishart(b=0.7),
    InverseWishart(eta=9.0, A=np.diag([1.0, 2.0])),
    InverseWishart(A=np.diag([1.0, 2.0])),
    HalfT(),
    HalfT(scale=3.0),
    Flat(),
]
DENSITIES = [
    lambda q: InverseWishartDensity(q + 1.5, np.eye(q) + 0.2),
    lambda q: HalfTDensity(np.linspace(-0.5, 0.7, q)),
    FlatDensity,
]


def covariance(rng, q, scale=1.0):
    root = rng.normal(size=(q, q + 2))
    return scale * root @ root.T


def log_density(density, Sigma):
    return float(density.log_densities(np.linalg.inv(Sigma), np.linalg.slogdet(Sigma)[1]))


def test_every_prior_is_here():
    assert {type(prior) for prior in PRIORS} == set(COVARIANCE_PRIORS)
    for make in DENSITIES:
        graph_of(make(2))


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: prior.words)
def test_pairs_of_draws_and_densities(sleepstudy, prior):
    """All at once is one after the other."""
    model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy, {"Subject": prior})
    family, rng = model._space(pmlmm.Hyperprior()).families[0], np.random.default_rng(6)
    start = np.array([h.start for h in (*family.own, *family.shared)])
    densities = [family.at(start + 0.5 * rng.normal(size=len(start))) for _ in range(4)]
    drawn = np.stack([covariance(rng, 2, 300.0) for _ in range(5)])
    precision, log_det = np.linalg.inv(drawn), np.linalg.slogdet(drawn)[1]
    pairs = type(densities[0]).log_density_pairs(densities, precision, log_det)
    expected = [[log_density(density, Sigma) for density in densities] for Sigma in drawn]
    np.testing.assert_allclose(pairs, expected, rtol=1e-10)


@pytest.mark.parametrize("q", [1, 2, 3])
@pytest.mark.parametrize("make", DENSITIES)
def test_derivatives_and_their_compiled_twin(differences, make, q):
    density = make(q)
    w = np.concatenate([vech(covariance(np.random.default_rng(q), q)), density.packed])
    at = density.derivatives(w)
    assert at.value == pytest.approx(log_density(density, unvech(w[: vech_size(q)], q)), rel=1e-12, abs=1e-12)
    gradient = differences(lambda x: density.derivatives(x).value, w, 1e-6)
    hessian = differences(lambda x: density.derivatives(x).gradient, w, 1e-6)
    np.testing.assert_allclose(at.gradient, gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(at.hessian, hessian, rtol=1e-5, atol=1e-5)
    value, compiled = density.compiled(w)
    assert value == pytest.approx(at.value, rel=1e-12)
    np.testing.assert_allclose(compiled, at.gradient, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("make", DENSITIES)
def test_slope_for_samplers(differences, make):
    """Of two covariances at once, with the constants added that it leaves out."""
    sizes, rng = (2, 3), np.random.default_rng(3)
    x, starts = 0.5 * rng.normal(size=1 + sum(map(vech_size, sizes))), np.array([1, 4])
    densities = [make(q) for q in sizes]
    packed = np.concatenate([density.packed for density in densities])

    def value(z):
        return densities[0].sampled(z, np.zeros(len(z)), starts, np.array(sizes), packed)

    total = 0.0
    for density, start in zip(densities, starts, strict=True):
        C = precision_cholesky(x[start : start + vech_size(density.q)], density.q)
        total += log_density(density, np.linalg.inv(C @ C.T)) - density.log_constant
    assert value(x) == pytest.approx(total, rel=1e-11)
    gradient = np.ones(len(x))
    densities[0].sampled(x, gradient, starts, np.array(sizes), packed)
    np.testing.assert_allclose(gradient, 1.0 + differences(value, x), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("make", DENSITIES)
def test_gradient_over_weighted_draws(make):
    """The sum of those that the derivatives have of each."""
    q, rng = 2, np.random.default_rng(5)
    density, weights = make(q), rng.dirichlet(np.ones(4))
    Sigmas = [covariance(rng, q) for _ in weights]
    each = [density.derivatives(np.concatenate([vech(S), density.packed])).gradient[vech_size(q) :] for S in Sigmas]
    precision, log_det = np.linalg.inv(Sigmas), np.linalg.slogdet(Sigmas)[1]
    np.testing.assert_allclose(
        density.weighted_gradient(precision, log_det, weights), weights @ np.array(each), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(density.gradient(precision[0], log_det[0]), each[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", DENSITIES)
def test_em_never_loses_and_ends_where_the_slope_is_zero(make):
    q, m, rng = 2, 7, np.random.default_rng(0)
    density, moment, Sigma = make(q), covariance(rng, q), np.eye(q)

    def objective(S):
        return -0.5 * m * (np.linalg.slogdet(S)[1] + np.trace(np.linalg.solve(S, moment))) + log_density(density, S)

    for _ in range(300):
        previous, Sigma = Sigma, density.em_step(Sigma, moment, m)
        assert objective(Sigma) >= objective(previous) - 1e-12
    P = np.linalg.inv(Sigma)
    own = density.derivatives(np.concatenate([vech(Sigma), density.packed])).gradient[: vech_size(q)]
    data = 0.5 * m * (P @ moment @ P - P)
    np.testing.assert_allclose(own + vech(data) * [1.0, 2.0, 1.0], 0.0, atol=1e-8)


@pytest.mark.parametrize("make", DENSITIES[:2])
def test_draws_are_of_the_density(make):
    """The mean of another prior's density over this one's is 1."""
    q, rng = 2, np.random.default_rng(1)
    density = make(q)
    Sigmas = np.array([density.draw(rng) for _ in range(20_000)])
    precision, log_det = np.linalg.inv(Sigmas), np.linalg.slogdet(Sigmas)[1]
    other = InverseWishartDensity(4.5, 0.8 * density.typical)
    ratios = np.exp(other.log_densities(precision, log_det) - density.log_densities(precision, log_det))
    error = ratios.std() / np.sqrt(len(ratios))
    assert abs(ratios.mean() - 1.0) < 4.0 * error < 0.15


@pytest.mark.parametrize("make", DENSITIES[:2])
def test_it_is_normalised_in_unconstrained_coordinates(make):
    """A trapezoidal rule over x, for one effect."""
    density, x = make(1), np.linspace(-25.0, 25.0, 4001)[:, None]
    z = np.hstack([np.zeros_like(x), x])
    variances = to_natural(z, (1,))[:, 1]
    logs = density.log_densities(1.0 / variances[:, None, None], np.log(variances)) + log_jacobian(z, (1,))
    assert np.sum(np.exp(logs)) * (x[1, 0] - x[0, 0]) == pytest.approx(1.0, abs=1e-5)


def family_of(prior, sleepstudy):
    model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy, RIDGE | {"Subject": prior})
    return model, model._space(pmlmm.Hyperprior()).families[0]


@pytest.mark.parametrize("prior", PRIORS)
def test_family_and_space(differences, sleepstudy, prior):
    model, family = family_of(prior, sleepstudy)
    space = model._space(pmlmm.Hyperprior())
    learned = (*family.own, *family.shared)
    assert space.coordinates[len(space.learned_groups) :] == learned
    values = np.array([h.start for h in learned])
    np.testing.assert_allclose(family.at(values).packed, family.start.packed, rtol=1e-12)
    moved = values + 0.1
    slopes = (
        differences(lambda v: family.at(v).packed, moved) if len(values) else np.empty((len(family.start.packed), 0))
    )
    np.testing.assert_allclose(family.slopes(moved), slopes, rtol=1e-7, atol=1e-6)
    phi = space.start + 0.1
    numeric = differences(lambda p: space.theta(p).packed, phi)
    np.testing.assert_allclose(space.pack_jacobian(phi), numeric, rtol=1e-7, atol=1e-6)
    gradient = differences(lambda p: space.log_prior(p)[0], phi)
    np.testing.assert_allclose(space.log_prior(phi)[1], gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("prior", PRIORS)
def test_what_is_shown(sleepstudy, prior):
    """Rows, variables and words; every hyperparameter is read back from its variable."""
    model, family = family_of(prior, sleepstudy)
    density = family.start
    rows, variables = family.table(density), family.variables(density)
    assert all(h.name in rows for h in (*family.own, *family.shared))
    for name, value in variables.items():
        assert np.shape(value) == ((2,) if name in PER_EFFECT else ())
    for h in (*family.own, *family.shared):
        value = variables[h.variable.removesuffix("_Subject")]
        assert h.searched(value if h.entry is None else value[h.entry]) == pytest.approx(h.start, abs=1e-12)
        assert h.shown(h.searched(h.shown(np.array([0.3])))) == pytest.approx(h.shown(np.array([0.3])))
        assert h.lower < h.start < h.upper
        assert all(h.bound_words)
        pooled = family.pool(np.arange(len(family.shared)))
        assert (h.density(pmlmm.Hyperprior()) is None) == (
            pooled is not None and h in family.shared[: len(pooled.columns)]
        )
    assert prior.words in repr(model)
    held = model._space(None).held(0, 1.5).coordinates[0]
    assert (held.lower, held.upper) == (1.5, 1.5)
    assert type(held) is type(model._space(None).coordinates[0])


def test_pooled_standard_deviations_have_the_density_of_pooled_variances(sleepstudy):
    """On half of the scale: the Jacobian is a factor of 2 for every coordinate, level included."""
    _, family = family_of(HalfT(), sleepstudy)
    pool, prior = family.pool(np.arange(2)), pmlmm.Hyperprior()
    variances = dataclasses.replace(pool, power=1.0, start=2.0 * pool.start)
    phi = pool.start + np.array([0.2, -0.5])
    total = sum(part(phi, prior)[0] for part in (pool.spread, pool.level))
    expected = sum(part(2.0 * phi, prior)[0] for part in (variances.spread, variances.level))
    assert total == pytest.approx(expected + 2.0 * np.log(2.0), rel=1e-12)
