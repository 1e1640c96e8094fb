"""Every kind of first elimination keeps the whole contract, and what is remembered belongs to what was asked."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels.eliminate.kinds import KINDS, name_of
from pmlmm.kernels.layout import Layout
from pmlmm.kernels.likelihood_compiled import flatten, signature, unflatten
from pmlmm.kernels.remember import Last
from tests.problems import random_case

MODELS = {
    "groups": (("(1 + t | a)",), ()),
    "sparse_groups": (("(1 + t | a)", "(1 | b)"), (7,)),
    "nested": (("(1 + t | a)", "(1 | a:c)", "(0 + x | a:c)"), (7,)),
    "eigenbasis": (("(1 + t | a)",), (40,)),
    "row_kernels": (("(1 + t | a)",), (40, 30)),
}


@pytest.fixture(params=KINDS)
def case(request):
    case = random_case(11, *MODELS[request.param])
    if request.param == "nested":  # chosen where there are more effects
        problem = case.model._problem
        statistics = build_statistics(
            problem.design, problem.priors, problem.statistics.standardization, method="nested"
        )
        case.model._problem = replace(problem, statistics=statistics)
    assert name_of(case.model.statistics.crossproducts().first) == request.param
    return case


def test_flat_arrays_are_the_crossproducts(case):
    data = case.model.statistics.crossproducts()
    flat = flatten(data)
    back = unflatten(flat)
    assert [(str(x.dtype), x.ndim) for x in flat.arrays] == list(signature(flat.kind))
    for left, right in zip(flat.arrays, flatten(back).arrays, strict=True):
        np.testing.assert_array_equal(left, right, strict=True)
    for name in ("sizes", "levels", "grouped", "ridges", "blocks", "gammas", "n"):
        assert getattr(back, name) == getattr(data, name)
    assert (back.columns, back.first.parameters, back.seconds()) == (
        data.columns,
        data.first.parameters,
        data.seconds(),
    )
    left, right = (likelihood.evaluate(case.u, x, profile=False, order=2) for x in (data, back))
    for x, y in zip(left, right, strict=True):
        np.testing.assert_array_equal(x, y)


def test_an_evaluation_keeps_the_contract(case, differences):
    """Derivatives of what callers ask for, slopes of Q, and draws against single evaluations."""
    data, rng = case.model.statistics.crossproducts(), np.random.default_rng(0)
    first, sizes = data.first, tuple(data.sizes[k] for k in data.grouped)
    covariances = Layout(sizes)

    def at(s):
        theta = np.concatenate([[1.0], s[: covariances.parameters - 1]])
        blocks = [coordinates.unvech(theta[part], q) for q, part in zip(sizes, covariances.Sigmas, strict=True)]
        L = np.linalg.cholesky(coordinates.block_diagonal(blocks)) if sizes else np.zeros((0, 0))
        return L, s[covariances.parameters - 1 :]

    natural = coordinates.to_natural(0.4 * rng.normal(size=covariances.parameters), sizes)[1:]
    s = np.concatenate([natural, rng.normal(size=len(data.ridges))])
    assert len(s) == first.parameters
    J, w = rng.normal(size=(data.columns, data.columns)), rng.normal(size=first.width)
    J = J @ J.T

    def total(point):
        one = first.eliminate(*at(point))
        W = data.effects
        return one.log_det + np.sum(J * one.Q[W, W]) + 0.7 * w @ one.Q @ w

    one = first.eliminate(*at(s))
    gradient, hessian = one.derivatives(J, w, 0.7, 2)
    assert one.derivatives(J, w, 0.7, 1)[1] is None
    scale = 1.0 + np.max(np.abs(hessian))
    np.testing.assert_allclose(gradient, differences(total, s), atol=1e-6 * scale)
    steep = differences(lambda point: first.eliminate(*at(point)).derivatives(J, w, 0.7, 1)[0], s)
    np.testing.assert_allclose(hessian, steep, atol=1e-6 * scale)
    slopes = differences(lambda point: first.eliminate(*at(point)).Q.ravel(), s)
    np.testing.assert_allclose(one.slopes.reshape(len(s), -1).T, slopes, atol=1e-6 * (1.0 + np.max(np.abs(slopes))))
    L, log_lambda = at(s)
    draws = first.eliminate_draws(np.stack([L, 1.1 * L]), log_lambda)
    for k, factor in enumerate((1.0, 1.1)):
        alone = first.eliminate(factor * L, log_lambda)
        assert draws.log_det[k] == pytest.approx(alone.log_det, rel=1e-12)
        np.testing.assert_allclose(draws.Q[k % len(draws.Q)], alone.Q, rtol=1e-9, atol=1e-9 * np.max(np.abs(alone.Q)))
    assert (draws.ridge is None) == (not data.ridges)
    y = case.model.design.y - case.model.statistics.standardization.offset
    np.testing.assert_allclose(first.column_squares[data.responses], [y @ y])


def test_positions_in_u():
    layout = Layout((2, 1), 3)
    assert (layout.sigma, layout.Sigma(0), layout.Sigma(1)) == (0, slice(1, 4), slice(4, 5))
    assert (layout.covariances, layout.log_lambda) == (slice(1, 5), slice(5, 8))
    assert (layout.parameters, layout.size) == (5, 8)
    assert Layout(()).log_lambda == slice(1, 1)


def test_what_is_remembered_is_compared_by_value():
    last, u = Last(), np.array([1.0, 2.0])
    assert last.find(u) is None
    assert last.keep("result", u, True) == "result"
    u[0] = 3.0  # the array that was given is not the one that was kept
    assert last.find(u, True) is None
    assert last.find(np.array([1.0, 2.0]), True) == "result"
    assert last.find(np.array([1.0, 2.0]), False) is None


def test_threads_that_share_what_is_remembered():
    """A result never belongs to other arguments, however threads get in each other's way."""
    last = Last()

    def ask(start):
        for k in range(start, start + 3000):
            key = np.array([float(k % 5)])
            found = last.find(key)
            result = last.keep((k % 5,), key) if found is None else found
            if result != (k % 5,):
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
