"""EM in natural coordinates against Newton and a dense conditional normal."""

import numpy as np
import pytest

import pmlmm
from pmlmm.inference.em import em
from pmlmm.kernels import coordinates
from tests.bench import bench
from tests.oracles import dense

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.mark.parametrize("approximation", ["marginal", "joint"])
@pytest.mark.parametrize("formula", [FORMULA, "Reaction ~ Days + (Days || Subject)"])
def test_em_and_newton_reach_the_same_natural_mode(sleepstudy, approximation, formula):
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


def test_one_em_step_is_the_talks_update(sleepstudy):
    """Sigma <- b A + (1 - b) mean_i E[gamma_i gamma_i'], the moments from dense conditional normals."""
    b = bench(pmlmm.Model(FORMULA, sleepstudy, standardize=False), "marginal", "natural")
    hyper = b.space.fixed.covariances[0]
    u = np.array([30.0, 500.0, 10.0, 40.0])
    stepped, _ = em(u, b.space.fixed, b.model.priors.sigma, b.laplace.data, profile=False, steps=1)
    m = 18
    mean, cov = dense(b.model, np.concatenate([u, b.space.fixed.log_lambda])).effects(0)
    mean = mean.reshape(m, 2)
    moment = mean.T @ mean + sum(cov[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] for i in range(m))
    weight = hyper.b(m)
    expected = weight * hyper.A + (1 - weight) * moment / m
    np.testing.assert_allclose(coordinates.unvech(stepped[1:], 2), expected, rtol=1e-8)
