"""The compiled log-posterior: one truth shared by engine, collapsed graph, full graph and dense algebra."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.gradient import jacobian

import pmlmm
from pmlmm.graph.engine import _compiled, compile_log_posterior
from pmlmm.kernels import coordinates
from tests.bench import FORMULAS, parts_of, random_point
from tests.oracles import dense
from tests.problems import RIDGE

pytestmark = pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("profile", [False, True])
def test_gradient_and_hessian_match_differences(sleepstudy, differences, formula, profile):
    problem, theta = parts_of(pmlmm.Model(formula, sleepstudy))
    function = compile_log_posterior(problem, theta, profile=profile)
    natural = coordinates.to_natural(random_point(problem), problem.design.sizes)
    z, d = np.concatenate([natural, theta.packed]), len(natural)
    at = function(z[:d], z[d:])
    scale = 1.0 / np.maximum(1.0, np.abs(z))
    gradient = differences(lambda z: function(z[:d], z[d:]).value, z)
    hessian = differences(lambda z: function(z[:d], z[d:]).gradient, z)
    np.testing.assert_allclose(at.gradient / scale, gradient / scale, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(
        at.hessian / np.outer(scale, scale), hessian / np.outer(scale, scale), rtol=1e-5, atol=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("priors", [{}, RIDGE], ids=["in units of y", "in units of sigma"])
def test_derivatives_match_autodiff_of_a_dense_normal(sleepstudy, priors, profile):
    """PyTensor differentiates an n x n MvNormal twice; nothing of our kernels is in it."""
    table = sleepstudy[sleepstudy["Subject"].isin(sleepstudy["Subject"].unique()[:4])]
    model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", table, priors)
    problem, theta = parts_of(model)
    at = np.array([30.0, 500.0, 10.0, 40.0])
    oracle = dense(model, np.concatenate([at, theta.log_lambda]))
    X, y, Z = oracle.X, oracle.y, oracle.Z[0]
    natural, log_lambda = pt.dvector("natural"), theta.log_lambda
    sd = (natural[0] if priors else 1.0) * np.exp(-0.5 * log_lambda) * np.ones(2)
    Sigma = natural[np.array([[1, 2], [2, 3]])]
    V = natural[0] ** 2 * pt.eye(len(y)) + Z @ pt.linalg.kron(np.eye(4), Sigma) @ Z.T
    if profile:
        information = X.T @ pt.linalg.inv(V) @ X + pt.diag(pt.as_tensor(sd) ** -2)
        beta = pt.linalg.inv(information) @ X.T @ pt.linalg.inv(V) @ y
        prior = pm.logp(pm.Normal.dist(0.0, sd), beta).sum()
        value = pm.logp(pm.MvNormal.dist(X @ beta, V), pt.as_tensor(y)) + prior
    else:
        V = V + (X * sd**2) @ X.T
        value = pm.logp(pm.MvNormal.dist(np.zeros(len(y)), V), pt.as_tensor(y))
    hyper = theta.covariances[0]
    eta, Phi = hyper.eta, hyper.Phi
    value += -(eta + 3) / 2 * pt.log(pt.linalg.det(Sigma)) - 0.5 * pt.sum(pt.linalg.inv(Sigma) * Phi)
    value += pm.logp(pm.HalfStudentT.dist(problem.priors.sigma.nu, problem.priors.sigma.scale), natural[0])
    gradient = pytensor.grad(value, natural)
    hessian = jacobian(gradient, natural, vectorize=True)
    expected = pytensor.function([natural], [gradient, hessian], mode="FAST_COMPILE")(at)
    engine = compile_log_posterior(problem, theta, profile=profile)(at, theta.packed)
    np.testing.assert_allclose(engine.gradient[:4], expected[0], rtol=1e-7)
    np.testing.assert_allclose(engine.hessian[:4, :4], expected[1], rtol=1e-7, atol=1e-12)


def test_one_compilation_serves_every_model_of_a_structure(sleepstudy):
    formula = "Reaction ~ Days + (Days | Subject)"
    compile_log_posterior(*parts_of(pmlmm.Model(formula, sleepstudy)), profile=False)
    before = dict(_compiled)
    other = sleepstudy.assign(Reaction=sleepstudy["Reaction"] / 10).iloc[:90]
    compile_log_posterior(*parts_of(pmlmm.Model(formula, other)), profile=False)
    assert _compiled == before
