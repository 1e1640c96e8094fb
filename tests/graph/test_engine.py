"""The compiled log-posterior: one truth shared by engine, collapsed graph, full graph and dense algebra."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from pytensor.gradient import jacobian

import pmlmm
from pmlmm.graph.build import build_collapsed
from pmlmm.graph.engine import _compiled, compile_log_posterior
from pmlmm.kernels import coordinates
from pmlmm.kernels.coordinates import vech_slices

pytestmark = pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
FAST = "FAST_COMPILE"
FORMULAS = [
    "Reaction ~ Days + (Days | Subject)",
    "Reaction ~ Days + (Days || Subject)",
    "Reaction ~ 1 + (1 | Subject)",
    "Reaction ~ Days",
]


def parts_of(model):
    return model._problem, model._space(None).fixed


def random_point(problem, seed=0):
    rng = np.random.default_rng(seed)
    sizes = problem.design.sizes
    d = 1 + sum(coordinates.vech_size(q) for q in sizes)
    x = 0.2 * rng.normal(size=d)
    x[0] += np.log(30.0)
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        x[part][coordinates.vech_indices(q)[0] == coordinates.vech_indices(q)[1]] -= np.log(20.0)
    return x


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


@pytest.mark.parametrize("formula", FORMULAS)
def test_engine_is_the_collapsed_graph(sleepstudy, formula):
    problem, theta = parts_of(pmlmm.Model(formula, sleepstudy))
    model, handles = build_collapsed(problem, theta)
    x = random_point(problem, 1)
    point = {"sigma_log__": x[0]}
    for rv, part in zip(handles.free[1:], vech_slices(problem.design.sizes), strict=True):
        point[model.rvs_to_values[rv].name] = x[part]
    graph = model.compile_logp(mode=FAST)(point)
    engine = compile_log_posterior(problem, theta, profile=False)
    natural = coordinates.to_natural(x, problem.design.sizes)
    value = engine(natural, theta.packed).value + coordinates.log_jacobian(x, problem.design.sizes)
    assert graph == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("profile", [False, True])
def test_derivatives_match_autodiff_of_a_dense_normal(sleepstudy, profile):
    """PyTensor differentiates an n x n MvNormal twice; nothing of our kernels is in it."""
    table = sleepstudy[sleepstudy["Subject"].isin(sleepstudy["Subject"].unique()[:4])]
    problem, theta = parts_of(pmlmm.Model("Reaction ~ Days + (Days | Subject)", table))
    design, standard = problem.design, problem.statistics.standardization
    term = design.terms[0]
    X = (design.X - standard.center) / standard.scale
    y = design.y - standard.offset
    same_group = term.grouping.codes[:, None] == term.grouping.codes
    natural, log_lambda = pt.dvector("natural"), theta.log_lambda
    Sigma = natural[np.array([[1, 2], [2, 3]])]
    V = natural[0] ** 2 * pt.eye(len(y)) + (term.Z @ Sigma @ term.Z.T) * same_group
    if profile:
        information = X.T @ pt.linalg.inv(V) @ X + np.diag(np.exp(log_lambda)) / natural[0] ** 2
        beta = pt.linalg.inv(information) @ X.T @ pt.linalg.inv(V) @ y
        prior = pm.logp(pm.Normal.dist(0.0, natural[0] * np.exp(-0.5 * log_lambda)), beta).sum()
        value = pm.logp(pm.MvNormal.dist(X @ beta, V), pt.as_tensor(y)) + prior
    else:
        V = V + natural[0] ** 2 * (X * np.exp(-log_lambda)) @ X.T
        value = pm.logp(pm.MvNormal.dist(np.zeros(len(y)), V), pt.as_tensor(y))
    hyper = theta.covariances[0]
    eta, Phi = hyper.eta, hyper.Phi
    value += -(eta + 3) / 2 * pt.log(pt.linalg.det(Sigma)) - 0.5 * pt.sum(pt.linalg.inv(Sigma) * Phi)
    value += pm.logp(pm.HalfStudentT.dist(problem.priors.sigma.nu, problem.priors.sigma.scale), natural[0])
    gradient = pytensor.grad(value, natural)
    hessian = jacobian(gradient, natural, vectorize=True)
    dense = pytensor.function([natural], [gradient, hessian], mode="FAST_COMPILE")
    at = np.array([30.0, 500.0, 10.0, 40.0])
    expected = dense(at)
    engine = compile_log_posterior(problem, theta, profile=profile)(at, theta.packed)
    np.testing.assert_allclose(engine.gradient[:4], expected[0], rtol=1e-7)
    np.testing.assert_allclose(engine.hessian[:4, :4], expected[1], rtol=1e-7, atol=1e-12)


def tiny_models(sleepstudy):
    rng = np.random.default_rng(3)
    n = 12
    table = pd.DataFrame({"a": np.arange(n) % 3, "b": np.arange(n) % 2, "c": rng.permutation(np.arange(n) % 4)})
    table = table.assign(t=rng.normal(size=n), y=rng.normal(size=n))
    narrow, broad = rng.normal(size=(n, 4)) + 2, rng.normal(size=(n, 15))
    return {
        "one factor": pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy.iloc[:30]),
        "crossed and nested": pmlmm.Model("y ~ t + (1 + t | a/b) + (1 | c)", table),
        "wide": pmlmm.Model("y ~ t + (1 | a)", table, penalized={"genes": broad}),
        "two blocks": pmlmm.Model("y ~ t + (1 | a) + (0 + t | b)", table, penalized={"g": narrow, "h": broad}),
    }


@pytest.mark.parametrize("which", ["one factor", "crossed and nested", "wide", "two blocks"])
def test_full_graph_integrates_to_the_collapsed_one(sleepstudy, which):
    """beta and gamma integrated out by the Gaussian identity l(mode) + k/2 log 2 pi - 1/2 log|-H|."""
    model = tiny_models(sleepstudy)[which]
    problem, theta = parts_of(model)
    collapsed, handles = build_collapsed(problem, theta)
    full, x = model.graph(), random_point(problem, 2)
    x[0] = np.log(model.design.y.std())
    covariance = {"sigma_log__": x[0]}
    for rv, part in zip(handles.free[1:], vech_slices(problem.design.sizes), strict=True):
        covariance[collapsed.rvs_to_values[rv].name] = x[part]
    logp, start = full.compile_logp(mode=FAST), full.initial_point()
    names = [name for name in start if name not in covariance]
    sizes = [start[name].size for name in names]

    def value(v):
        pieces = np.split(v, np.cumsum(sizes)[:-1])
        extra = {n: p.reshape(start[n].shape) for n, p in zip(names, pieces, strict=True)}
        return float(logp(covariance | extra))

    k = sum(sizes)
    unit, zero = np.eye(k), np.zeros(k)
    base = value(zero)  # a quadratic: differences with unit steps are exact
    plus = np.array([value(e) for e in unit])
    minus = np.array([value(-e) for e in unit])
    hessian = np.diag(plus + minus - 2 * base)
    for i in range(k):
        for j in range(i):
            hessian[i, j] = hessian[j, i] = value(unit[i] + unit[j]) - plus[i] - plus[j] + base
    gradient = (plus - minus) / 2
    top = base + 0.5 * gradient @ np.linalg.solve(-hessian, gradient)
    integral = top + k / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(-hessian)[1]
    assert integral == pytest.approx(float(collapsed.compile_logp(mode=FAST)(covariance)), abs=1e-5)


def test_one_compilation_serves_every_model_of_a_structure(sleepstudy):
    formula = "Reaction ~ Days + (Days | Subject)"
    compile_log_posterior(*parts_of(pmlmm.Model(formula, sleepstudy)), profile=False)
    before = dict(_compiled)
    other = sleepstudy.assign(Reaction=sleepstudy["Reaction"] / 10).iloc[:90]
    compile_log_posterior(*parts_of(pmlmm.Model(formula, other)), profile=False)
    assert _compiled == before


def test_hyperparameters_are_data(sleepstudy):
    model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy).graph(collapsed=True)
    before = model.compile_logp(mode=FAST)(model.initial_point())
    with model:
        pm.set_data({"b_Subject": 0.8, "lambda_common": 3.0})
    assert model.compile_logp(mode=FAST)(model.initial_point()) != before
    assert model.named_vars_to_dims["Sigma_Subject"] == ("Subject_effect1", "Subject_effect2")
