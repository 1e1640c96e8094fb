"""Two nested factors eliminated inside-out: the same model as with the outer one among the dense columns."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.kernels import coordinates, likelihood, likelihood_at_draws
from pmlmm.kernels.eliminate.nested import Nested
from pmlmm.kernels.likelihood_compiled import flatten, value_and_gradient
from pmlmm.posterior.effects import Parameters


def schools(outer=50, inner=4, rows=3, seed=1):
    """Unequal numbers of classes in schools and of pupils in classes, rows in random order."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(outer), rng.integers(1, 2 * inner, outer))
    pupils = rng.integers(1, 2 * rows, len(school))
    s, c = np.repeat(school, pupils), np.repeat(rng.permutation(len(school)), pupils)
    x = rng.normal(size=len(s))
    own, mine = rng.normal(size=(outer, 2)) * [1.5, 0.4], 0.8 * rng.normal(size=len(school))
    y = 10.0 + own[s, 0] + (2.0 + own[s, 1]) * x + mine[c] + rng.normal(size=len(s))
    return pd.DataFrame({"school": s, "room": c, "x": x, "y": y}).sample(frac=1.0, random_state=seed)


FORMULAS = {
    "intercepts": "y ~ x + (1 | school/room)",
    "slopes outside": "y ~ x + (x | school) + (1 | school:room)",
    "slopes inside": "y ~ x + (1 | school) + (x | room)",
    "uncorrelated": "y ~ x + (x || school) + (x || room)",
}


@pytest.fixture(params=FORMULAS)
def both(request):
    """Statistics with the factors eliminated inside-out, and with the outer one dense."""
    model = pmlmm.Model(FORMULAS[request.param], schools())
    nested = model.statistics
    dense = build_statistics(model.design, model.priors, nested.standardization, method="groups")
    assert isinstance(nested.crossproducts().first, Nested)
    assert nested.crossproducts().columns == 2
    rng = np.random.default_rng(4)
    d = nested.crossproducts().parameters
    natural = np.array([coordinates.to_natural(0.5 * rng.normal(size=d), model.design.sizes) for _ in range(3)])
    return model, nested, dense, natural, rng.normal(size=len(model.priors.penalty_groups))


@pytest.mark.parametrize("profile", [False, True])
def test_the_likelihood_is_the_same(both, profile):
    _, nested, dense, natural, log_lambda = both
    u = np.concatenate([natural[0], log_lambda])
    mine, other = (likelihood.evaluate(u, s.crossproducts(profile), profile=profile, order=2) for s in (nested, dense))
    assert mine.value == pytest.approx(other.value, rel=1e-11)
    np.testing.assert_allclose(mine.gradient, other.gradient, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(mine.hessian, other.hessian, rtol=1e-7, atol=1e-7)


def test_so_are_the_compiled_one_and_those_of_draws(both):
    _, nested, dense, natural, log_lambda = both
    data = nested.crossproducts()
    u = np.concatenate([natural[0], log_lambda])
    value, gradient = value_and_gradient(u, flatten(data))
    expected = likelihood.evaluate(u, data, profile=False, order=1)
    assert value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(gradient, expected.gradient, rtol=1e-9, atol=1e-9)
    mine, other = (
        likelihood_at_draws.evaluate(likelihood_at_draws.reduce(natural, log_lambda, x), log_lambda, x)
        for x in (data, dense.crossproducts())
    )
    np.testing.assert_allclose(mine.value, other.value, rtol=1e-11)
    np.testing.assert_allclose(mine.gradient, other.gradient, rtol=1e-8, atol=1e-10)


def test_conditional_means_of_all_effects_are_the_same(both):
    model, nested, dense, natural, log_lambda = both
    found = []
    for statistics in (nested, dense):
        parameters = Parameters(natural, log_lambda, model.design, statistics)
        effects = parameters.effects().mean
        found.append({"beta": parameters.user_beta(effects)} | parameters.gamma(effects))
    assert list(found[0]) == list(found[1])
    for name, values in found[0].items():
        np.testing.assert_allclose(values, found[1][name], rtol=1e-7, atol=1e-8)


def test_draws_of_effects_have_the_moments_of_the_dense_law(both):
    model, nested, dense, natural, log_lambda = both
    drawn = []
    for statistics, seed in ((nested, 0), (dense, 1)):
        parameters = Parameters(np.repeat(natural[:1], 4000, axis=0), log_lambda, model.design, statistics)
        rng = np.random.default_rng(seed)
        effects = parameters.effects(rng).drawn
        gamma = parameters.gamma(effects, rng)
        drawn.append(np.hstack([x.reshape(4000, -1)[:, :30] for x in gamma.values()]))
    sd = drawn[1].std(axis=0)
    assert np.max(np.abs(drawn[0].mean(axis=0) - drawn[1].mean(axis=0)) / sd) < 0.12  # 5 errors of a difference
    covariances = [np.cov((x / sd).T) for x in drawn]
    assert np.max(np.abs(covariances[0] - covariances[1])) < 0.14


def test_a_users_fit_is_the_same_whichever_way():
    """Effects in the order of the user's labels, left-out groups, and rows in any order."""
    table = schools()
    fit = pmlmm.Model(FORMULAS["intercepts"], table).fit(integrate=False, refine=False)
    other = pmlmm.Model(FORMULAS["intercepts"], table)
    problem = other._problem
    dense = build_statistics(problem.design, problem.priors, problem.statistics.standardization, method="groups")
    other._problem = replace(problem, statistics=dense)
    expected = other.fit(integrate=False, refine=False)
    assert fit.log_evidence == pytest.approx(expected.log_evidence, abs=1e-5)
    for name in ("gamma_school", "gamma_school:room"):
        assert np.corrcoef(fit.mean[name].to_numpy().ravel(), expected.mean[name].to_numpy().ravel())[0, 1] > 0.9999
    rows = table.groupby("school").ngroup().to_numpy()
    level = (table["y"] - 2.0 * table["x"]).groupby(rows).mean()
    assert np.corrcoef(level, fit.mean["gamma_school"].to_numpy().ravel())[0, 1] > 0.9
    elpd = [float(x.logo("school", draws=100).elpd) for x in (fit, expected)]
    assert elpd[0] == pytest.approx(elpd[1], abs=1.0)
