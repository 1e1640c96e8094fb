"""Importance-sampled evidence: gradient, agreement with quadrature and with itself across seeds."""

import numpy as np
import pytest

import pmlmm
from pmlmm.inference.importance import ImportanceEvidence, ImportanceSample, base_draws
from tests.bench import bench, quadrature
from tests.problems import RIDGE

FORMULA = "Reaction ~ Days + (Days | Subject)"


def sample_of(b, mode, draws=4000, seed=0):
    base = base_draws(draws, b.laplace.size, np.random.default_rng(seed))
    return ImportanceSample(mode, mode.curvature, base, b.laplace.data, b.space.fixed.log_lambda, b.model.priors.sigma)


def test_agrees_with_quadrature_within_its_error(sleepstudy):
    b = bench(pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy.iloc[:60], RIDGE))
    phi = b.space.start - np.array([0.0, 1.0, 0.0])
    mode, exact = quadrature(b, b.space.theta(phi).packed)
    weights = sample_of(b, mode).weights(b.space.theta(phi))
    assert weights.k_hat < 0.5
    assert abs(weights.log_evidence - exact) < 4 * weights.error + 1e-3


def test_draws_with_a_singular_covariance_have_no_weight(sleepstudy):
    b = bench(pmlmm.Model(FORMULA, sleepstudy))
    mode = b.mode()
    base = base_draws(400, b.laplace.size, np.random.default_rng(0))
    base.values[0] = [0.0, 0.0, 1e6, 0.0]  # an off-diagonal entry of C so large that Sigma has rank 1
    sample = ImportanceSample(
        mode, mode.curvature, base, b.laplace.data, b.space.fixed.log_lambda, b.model.priors.sigma
    )
    assert sample.log_weights(b.space.fixed)[0] == -np.inf
    weights = sample.weights(b.space.fixed)
    assert weights.normalized[0] < 1e-12
    assert np.isfinite(weights.log_evidence)
    assert np.isfinite(sample.log_evidence(b.space.fixed)[1]).all()


def test_stated_error_is_the_spread_over_seeds(sleepstudy):
    b = bench(pmlmm.Model(FORMULA, sleepstudy))
    mode = b.mode()
    weights = [sample_of(b, mode, 1000, seed).weights(b.space.fixed) for seed in range(40)]
    spread = np.std([w.log_evidence for w in weights], ddof=1)
    stated = np.mean([w.error for w in weights])
    assert 0.6 < spread / stated < 1.6


def test_gradient_matches_differences(sleepstudy, differences):
    b = bench(pmlmm.Model(FORMULA, sleepstudy, RIDGE), hyperprior=pmlmm.Hyperprior())
    function = ImportanceEvidence(sample_of(b, b.mode(), 500), b.space)
    phi = b.space.start + 0.2
    numeric = differences(lambda x: function(x)[0], phi, 1e-5)
    np.testing.assert_allclose(function(phi)[1], numeric, atol=1e-6)


def test_reweighting_serves_other_hyperparameters(sleepstudy):
    """One set of draws tells the evidence elsewhere as well as draws made there."""
    b = bench(pmlmm.Model(FORMULA, sleepstudy, RIDGE))
    there = b.space.start + np.array([0.5, 0.3, 0.2, -0.2])
    from_here = sample_of(b, b.mode()).weights(b.space.theta(there))
    at_home = sample_of(b, b.mode(there), seed=1).weights(b.space.theta(there))
    error = np.hypot(from_here.error, at_home.error)
    assert abs(from_here.log_evidence - at_home.log_evidence) < 4 * error


def gaussian_design(m, q, repeats):
    """m groups, q Gaussian random effects and 2 Gaussian covariates; Sigma ~ IW(q + 6) with mean I."""
    rng = np.random.default_rng(7)
    n = m * repeats
    Z, X = rng.normal(size=(n, q)), rng.normal(size=(n, 2))
    Sigma = pmlmm.simulate.draw_covariance(q + 6, np.eye(q), seed=3)
    gamma = rng.multivariate_normal(np.zeros(q), Sigma, size=m)
    group = np.repeat(np.arange(m), repeats)
    y = X @ rng.normal(size=2) + np.sum(Z * gamma[group], axis=1) + 0.5 * rng.normal(size=n)
    data = {"y": y, "g": group, "x0": X[:, 0], "x1": X[:, 1]} | {f"z{k}": Z[:, k] for k in range(q)}
    return "y ~ 0 + x0 + x1 + (0 + " + " + ".join(f"z{k}" for k in range(q)) + " | g)", data


@pytest.mark.parametrize(
    ("shape", "marginal_natural", "joint_natural"),
    [
        ((40, 4, 2), (-1.90, -1.06, -0.17), (-2.04, -1.14, -0.21)),
        ((40, 4, 8), (-1.18, -0.77, -0.14), (-1.21, -0.79, -0.15)),
        ((20, 2, 3), (-0.46, -0.29, -0.07), (-0.57, -0.39, -0.15)),
    ],
)
def test_laplace_error_by_coordinates(shape, marginal_natural, joint_natural):
    """Error in nats at b = .25, .5, .9: small in coordinates of the precision, large and varying in natural ones.

    The expected values are another program's, on one other data set of the same kind: hence the tolerance.
    """
    formula, data = gaussian_design(*shape)
    for weight, *expected in zip((0.25, 0.5, 0.9), marginal_natural, joint_natural, strict=True):
        priors = {"g": pmlmm.InverseWishart(b=weight, A=np.eye(shape[1])), "common": pmlmm.Ridge(1.0)}
        model = pmlmm.Model(formula, data, priors, standardize=False)
        b = bench(model)
        mode = b.mode()
        weights = sample_of(b, mode, 6000).weights(b.space.fixed)
        assert weights.k_hat < 0.7
        assert abs(mode.log_evidence - weights.log_evidence) < 0.1
        natural = [
            bench(model, kind, "natural").mode().log_evidence - weights.log_evidence for kind in ("marginal", "joint")
        ]
        np.testing.assert_allclose(natural, expected, atol=0.2)
