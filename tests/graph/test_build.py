"""The collapsed and the full PyMC graph."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest

import pmlmm
from pmlmm.graph.build import build_collapsed
from pmlmm.graph.engine import compile_log_posterior
from pmlmm.kernels import coordinates
from pmlmm.kernels.coordinates import vech_slices
from tests.bench import FORMULAS, parts_of, random_point
from tests.oracles import integrated_out
from tests.problems import RIDGE

pytestmark = pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
FAST = "FAST_COMPILE"


@pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
def test_graphs_carry_the_learned_values(sleep_fit):
    for collapsed in (False, True):
        model = sleep_fit.graph(collapsed=collapsed)
        assert isinstance(model, pm.Model)
        learned = sleep_fit.hyperparameters.loc["b[Subject]", "value"]
        assert model["b_Subject"].get_value() == pytest.approx(learned)
    assert "gamma_Subject" not in sleep_fit.graph(collapsed=True).named_vars


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


def tiny_models(sleepstudy):
    rng = np.random.default_rng(3)
    n = 12
    table = pd.DataFrame({"a": np.arange(n) % 3, "b": np.arange(n) % 2, "c": rng.permutation(np.arange(n) % 4)})
    table = table.assign(t=rng.normal(size=n), y=rng.normal(size=n))
    narrow, broad = rng.normal(size=(n, 4)) + 2, rng.normal(size=(n, 15))
    return {
        "one factor": pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy.iloc[:30]),
        "crossed and nested": pmlmm.Model("y ~ t + (1 + t | a/b) + (1 | c)", table),
        "counted from far away": pmlmm.Model("y ~ I(t + 50) + (1 + I(t + 50) | a) + (1 | c)", table),
        "wide": pmlmm.Model("y ~ t + (1 | a)", table, penalized={"genes": broad}),
        "two blocks": pmlmm.Model("y ~ t + (1 | a) + (0 + t | b)", table, penalized={"g": narrow, "h": broad}),
    }


@pytest.mark.parametrize("which", ["one factor", "crossed and nested", "counted from far away", "wide", "two blocks"])
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
    integral = integrated_out(full.compile_logp(mode=FAST), covariance, full.initial_point())
    assert integral == pytest.approx(float(collapsed.compile_logp(mode=FAST)(covariance)), abs=1e-5)


def test_hyperparameters_are_data(sleepstudy):
    model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy, RIDGE).graph(collapsed=True)
    before = model.compile_logp(mode=FAST)(model.initial_point())
    with model:
        pm.set_data({"b_Subject": 0.8, "lambda_common": 3.0})
    assert model.compile_logp(mode=FAST)(model.initial_point()) != before
    assert model.named_vars_to_dims["Sigma_Subject"] == ("Subject_effect1", "Subject_effect2")
