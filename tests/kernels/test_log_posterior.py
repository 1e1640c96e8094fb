"""The compiled density that samplers call, against the engine."""

import numpy as np
import pytest

import pmlmm
from pmlmm.kernels import inverse_wishart
from pmlmm.kernels import log_posterior as density
from pmlmm.kernels.coordinates import vech
from pmlmm.kernels.likelihood_compiled import flatten
from tests.bench import bench


@pytest.mark.parametrize("q", [1, 2, 3, 4])
def test_compiled_inverse_wishart(q):
    rng = np.random.default_rng(q)
    matrices = [a @ a.T + np.eye(q) for a in rng.normal(size=(2, q, q))]
    for eta in (q - 0.9, q + 2.5, 80.0):
        w = np.concatenate([vech(matrices[0]), [eta], vech(matrices[1])])
        value, gradient = inverse_wishart.value_and_gradient(w)
        at = inverse_wishart.log_density(w, q)
        assert value == pytest.approx(at.value, rel=1e-12)
        np.testing.assert_allclose(gradient, at.gradient, rtol=1e-10, atol=1e-11)
    w[0] = -1.0
    assert inverse_wishart.value_and_gradient(w)[0] == -np.inf


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
def test_density_is_the_log_posterior_in_unconstrained_coordinates(terms, sizes, priors):
    b = bench(model_of(terms, sizes, priors))
    rng = np.random.default_rng(2)
    packed = flatten(b.laplace.data)
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
def test_density_with_hyperparameters(differences, terms, sizes, priors):
    b = bench(model_of(terms, sizes, priors), hyperprior=pmlmm.Hyperprior())
    space, packed, sigma = b.space, flatten(b.laplace.data), b.model.priors.sigma
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
