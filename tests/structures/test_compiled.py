"""The compiled density that samplers call, against the engine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmlmm
from pmlmm.kernels import coordinates, inverse_wishart, likelihood
from pmlmm.kernels import likelihood_compiled as compiled
from pmlmm.kernels import log_posterior as density
from pmlmm.kernels.coordinates import vech
from tests.structures.conftest import TERM_SETS

CASES = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from(TERM_SETS),
    st.sampled_from([(), (5,), (40,), (7, 30), (40, 30)]),
    st.booleans(),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(CASES)
def test_value_and_gradient_are_the_engine_s(draw_case, case):
    case = draw_case(*case)
    data = case.model.statistics.crossproducts()
    value, gradient = compiled.value_and_gradient(case.u, compiled.flatten(data))
    at = likelihood.evaluate(case.u, data, profile=False, order=1)
    assert value == pytest.approx(at.value, rel=1e-12)
    np.testing.assert_allclose(gradient, at.gradient, rtol=1e-9, atol=1e-9 * (1 + np.max(np.abs(at.gradient))))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(CASES)
def test_unpacked_crossproducts_are_the_packed_ones(draw_case, case):
    case = draw_case(*case)
    data = case.model.statistics.crossproducts()
    back = compiled.unflatten(compiled.flatten(data))
    left, right = (likelihood.evaluate(case.u, x, profile=False, order=2) for x in (data, back))
    assert left.value == pytest.approx(right.value, rel=1e-13)
    np.testing.assert_allclose(left.hessian, right.hessian, rtol=1e-12, atol=1e-12 * np.max(np.abs(left.hessian)))


@pytest.mark.parametrize("sizes", [(), (40,), (40, 30)])
def test_outside_of_the_support(draw_case, sizes):
    case = draw_case(3, ("(1 + t | a)", "(1 | b)"), sizes)
    packed = compiled.flatten(case.model.statistics.crossproducts())
    for entry, value in ((0, -1.0), (1, -0.5), (3, 0.0), (2, np.nan)):
        u = case.u.copy()
        u[entry] = value
        result, gradient = compiled.value_and_gradient(u, packed)
        assert result == -np.inf
        assert np.isnan(gradient).all()


@pytest.mark.parametrize("q", [1, 2, 3, 4])
def test_inverse_wishart(q):
    rng = np.random.default_rng(q)
    matrices = [a @ a.T + np.eye(q) for a in rng.normal(size=(2, q, q))]
    for eta in (q - 0.9, q + 2.5, 80.0):
        w = np.concatenate([vech(matrices[0]), [eta], vech(matrices[1])])
        value, gradient = density.inverse_wishart(w)
        at = inverse_wishart.log_density(w, q)
        assert value == pytest.approx(at.value, rel=1e-12)
        np.testing.assert_allclose(gradient, at.gradient, rtol=1e-10, atol=1e-11)
    w[0] = -1.0
    assert density.inverse_wishart(w)[0] == -np.inf


def model_of(terms, sizes, priors=None):
    rng = np.random.default_rng(1)
    n = 24
    table = {"a": np.arange(n) % 4, "b": rng.permutation(np.arange(n) % 5), "c": np.arange(n) % 2}
    table |= {"t": rng.normal(size=n), "y": rng.normal(size=n)}
    penalized = {f"w{k}": rng.normal(size=(n, p)) for k, p in enumerate(sizes)}
    return pmlmm.Model(f"y ~ t + {terms}", table, priors, penalized=penalized or None)


MODELS = [
    ("(1 + t | a) + (1 | b)", (), None),
    ("(1 + t | a) + (1 | b)", (), {"a": pmlmm.Flat(), "sigma": pmlmm.Flat()}),
    ("(1 + t | a)", (40,), None),
    ("(0 + t | a) + (1 | a)", (7, 30), {"a": pmlmm.InverseWishart(A="identity")}),
]


@pytest.mark.parametrize(("terms", "sizes", "priors"), MODELS)
def test_density_is_the_log_posterior_in_unconstrained_coordinates(bench, terms, sizes, priors):
    b = bench(model_of(terms, sizes, priors))
    rng = np.random.default_rng(2)
    packed = compiled.flatten(b.laplace.data)
    sigma = b.model.priors.sigma
    student = (0.0, 1.0) if isinstance(sigma, pmlmm.Flat) else (sigma.nu, sigma.scale)
    function = density.CollapsedDensity(packed, b.space.fixed.log_lambda, b.space.fixed.covariances, student)
    for _ in range(3):
        x = 0.4 * rng.normal(size=b.laplace.size)
        value, gradient = function(x)
        at, _ = b.laplace.evaluate(x, b.space.fixed.packed)
        assert value == pytest.approx(at.value, rel=1e-11)
        np.testing.assert_allclose(gradient, at.gradient[: len(x)], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("terms", "sizes", "priors"),
    [*MODELS[:1], *MODELS[2:], ("(0 + t + b | a)", (), {"a": pmlmm.InverseWishart(A="ar1")})],
)
def test_density_with_hyperparameters(bench, differences, terms, sizes, priors):
    b = bench(model_of(terms, sizes, priors), hyperprior=pmlmm.Hyperprior())
    space, packed, sigma = b.space, compiled.flatten(b.laplace.data), b.model.priors.sigma
    function = density.HyperparameterDensity(
        packed, (sigma.nu, sigma.scale), b.laplace.size, space.theta, space.pack_jacobian, space.log_prior
    )
    rng = np.random.default_rng(3)
    x, phi = 0.3 * rng.normal(size=b.laplace.size), space.start + 0.3 * rng.normal(size=len(space.start))
    value, gradient = function(np.concatenate([x, phi]))
    theta = space.theta(phi)
    fixed = density.CollapsedDensity(packed, theta.log_lambda, theta.covariances, (sigma.nu, sigma.scale))
    assert value == pytest.approx(fixed(x)[0] + space.log_prior(phi)[0], rel=1e-12)
    numeric = differences(lambda z: function(z)[0], np.concatenate([x, phi]))
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=1e-5)


def test_unconstrained_coordinates_of_many_draws():
    rng = np.random.default_rng(0)
    x = 0.5 * rng.normal(size=(3, 7, 1 + 3 + 1))
    np.testing.assert_allclose(coordinates.from_natural(coordinates.to_natural(x, (2, 1)), (2, 1)), x, atol=1e-9)


def test_draws_with_a_covariance_singular_to_rounding_are_found():
    theta = np.array([[1.0, 1.0, 0.3, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, np.inf, 0.0, 1.0], [2.0, 1.0, 0.0, 1e-9]])
    np.testing.assert_array_equal(coordinates.proper(theta, (2,)), [True, False, False, True])
