"""The collapsed likelihood against dense algebra and finite differences."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pmlmm.crossproducts.sums import pool
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels import likelihood_at_draws as draws
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.eliminate.blocks import Block
from pmlmm.kernels.eliminate.groups import Groups
from tests.oracles import Dense, dense
from tests.problems import RANDOM_CASES, random_case


def crossproducts(S, c, gram, sizes, penalty, n):
    """Sums of one factor's groups; ``penalty`` is each column's group, ascending, -1 (flat) last."""
    groups = max(penalty, default=-1) + 1
    counts = np.array([penalty.count(g) for g in range(groups)], dtype=float)
    starts = np.cumsum([0, *counts]).astype(int)
    blocks = tuple(Block(int(starts[g]), int(counts[g]), 1, g, True) for g in range(groups))
    first = Groups(*pool(S, c), gram, sizes)
    return Crossproducts(
        first, sizes, (len(S),) * len(sizes), tuple(range(len(sizes))), (), blocks, 0, counts, counts < 0, float(n)
    )


def problem(rng, sizes, penalty, groups=6, n=30, repeated=False):
    """Random data: cross-products, and the dense X, y and Z of each group."""
    q, p = sum(sizes), len(penalty)
    group = np.sort(rng.integers(0, groups, n))
    if repeated:
        group = np.repeat(np.arange(groups), n // groups)
        n = len(group)
    X, y, Z = rng.normal(size=(n, p)), rng.normal(size=n), rng.normal(size=(n, q))
    if repeated:  # two designs, shared by the groups
        base = rng.normal(size=(2, n // groups, q))
        Z = np.concatenate([base[i % 2] for i in range(groups)])
    W = np.column_stack([X, y])
    members = [group == i for i in range(groups)]
    S = np.array([Z[k].T @ Z[k] for k in members]).reshape(groups, q, q)
    c = np.array([Z[k].T @ W[k] for k in members]).reshape(groups, q, p + 1)
    data = crossproducts(S, c, W.T @ W, sizes, penalty, n)
    Zs = [np.where(k[:, None], Z, 0.0) for k in members]
    return data, X, y, Zs


def dense_of(u, X, y, Zs, sizes, penalty):
    """The same density by n x n matrices."""
    d = 1 + sum(coordinates.vech_size(q) for q in sizes)
    blocks = [coordinates.unvech(u[part], q) for q, part in zip(sizes, coordinates.vech_slices(sizes), strict=True)]
    Zs = tuple(Zs) if sizes else ()
    lam = np.array([0.0 if g < 0 else np.exp(u[d + g]) for g in penalty])
    return Dense(y, X, lam, u[0], Zs, (coordinates.block_diagonal(blocks),) * len(Zs) if sizes else ())


CASES = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(), (1,), (2,), (3,), (1, 1), (1, 2)]),
    st.sampled_from([(), (0,), (0, 1, 1), (0, 0, -1), (-1, -1)]),
    st.booleans(),
    st.booleans(),
)


def point(rng, sizes, penalty):
    d = 1 + sum(coordinates.vech_size(q) for q in sizes)
    natural = coordinates.to_natural(0.4 * rng.normal(size=d), sizes)
    return np.concatenate([natural, rng.normal(size=max(penalty, default=-1) + 1)])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(CASES)
def test_value_is_the_dense_density(case):
    seed, sizes, penalty, profile, repeated = case
    rng = np.random.default_rng(seed)
    data, X, y, Zs = problem(rng, sizes, penalty, repeated=repeated)
    u = point(rng, sizes, penalty)
    value = likelihood.evaluate(u, data, profile=profile, order=0).value
    assert value == pytest.approx(dense_of(u, X, y, Zs, sizes, penalty).log_density(profile), rel=1e-10)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(CASES)
def test_derivatives_match_differences(differences, case):
    seed, sizes, penalty, profile, repeated = case
    rng = np.random.default_rng(seed)
    data, *_ = problem(rng, sizes, penalty, repeated=repeated)
    u = point(rng, sizes, penalty)

    def evaluate(x, order=2):
        return likelihood.evaluate(x, data, profile=profile, order=order)

    at = evaluate(u)
    gradient = differences(lambda x: evaluate(x, 0).value, u)
    hessian = differences(lambda x: evaluate(x, 1).gradient, u)
    scale = 1.0 + np.max(np.abs(at.hessian))
    np.testing.assert_allclose(at.gradient, gradient, atol=1e-6 * scale)
    np.testing.assert_allclose(at.hessian, hessian, atol=1e-6 * scale)


def test_outside_the_support_is_minus_infinity():
    rng = np.random.default_rng(0)
    data, *_ = problem(rng, (2,), (0,))
    indefinite = np.array([1.0, 1.0, 2.0, 1.0, 0.0])
    negative_sigma = np.array([-1.0, 1.0, 0.0, 1.0, 0.0])
    for u in (indefinite, negative_sigma):
        assert likelihood.evaluate(u, data, profile=False, order=2).value == -np.inf


def test_chunks_of_groups_add_up(monkeypatch):
    """Cutting the groups among threads changes nothing."""
    rng = np.random.default_rng(1)
    data, *_ = problem(rng, (2,), (0, 0), groups=12, n=60)
    u = point(rng, (2,), (0, 0))
    whole = likelihood.evaluate(u, data, profile=False, order=2)
    monkeypatch.setattr("pmlmm.kernels.eliminate.design_loops._CHUNK", 1)
    data = dataclasses.replace(data)  # or the last evaluation would serve again
    parts = likelihood.evaluate(u, data, profile=False, order=2)
    for left, right in zip(whole, parts, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-11, atol=1e-11)


def test_the_last_evaluation_serves_only_itself():
    """Another point, another variant and a higher order are computed; the same point is not."""
    rng = np.random.default_rng(4)
    data, *_ = problem(rng, (2,), (0, 0))
    points = [point(rng, (2,), (0, 0)) for _ in range(2)]
    for u in (points[0], points[1], points[0]):
        for profile in (False, True):
            for order in (0, 2, 1):
                at = likelihood.evaluate(u, data, profile=profile, order=order)
                fresh = likelihood._evaluate(u, data, profile, 2)
                assert at.value == fresh.value
                if order:
                    np.testing.assert_array_equal(at.gradient, fresh.gradient)
    assert likelihood.evaluate(points[0], data, profile=True, order=1) is at


@pytest.mark.parametrize("sizes", [(2,), (1, 2), ()])
def test_draws_agree_with_single_evaluations(differences, sizes):
    rng = np.random.default_rng(2)
    penalty = (0, 1, 1, -1)
    data, *_ = problem(rng, sizes, penalty)
    points = np.array([point(rng, sizes, penalty) for _ in range(5)])
    d = 1 + sum(coordinates.vech_size(q) for q in sizes)
    log_lambda = points[0, d:]
    reduced = draws.reduce(points[:, :d], log_lambda, data)
    many = draws.evaluate(reduced, log_lambda, data)
    for s in range(5):
        u = np.concatenate([points[s, :d], log_lambda])
        one = likelihood.evaluate(u, data, profile=False, order=1)
        assert many.value[s] == pytest.approx(one.value, rel=1e-12)
        np.testing.assert_allclose(many.gradient[s], one.gradient[d:], rtol=1e-9)
    means = draws.effects(points[:, :d], log_lambda, data).mean
    for s in range(5):
        law = likelihood.condition(np.concatenate([points[s, :d], log_lambda]), data)
        np.testing.assert_allclose(means[s], law.mean, rtol=1e-9)


def test_a_draw_without_a_computable_likelihood_is_worth_nothing():
    rng = np.random.default_rng(3)
    data, *_ = problem(rng, (2,), (0, 0))
    points = np.array([point(rng, (2,), (0, 0))[:-1] for _ in range(3)])
    reduced = draws.reduce(points, np.zeros(1), data)
    reduced.first.Q[1, :2, :2] = -5.0 * np.eye(2)  # what rounding does to an extreme draw
    values = draws.evaluate(reduced, np.zeros(1), data).value
    assert values[1] == -np.inf
    assert np.isfinite(values[[0, 2]]).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(RANDOM_CASES, st.booleans())
def test_value_of_a_model_is_the_dense_density(case, profile):
    case = random_case(*case)
    value = likelihood.evaluate(case.u, case.model.statistics.crossproducts(profile), profile=profile, order=0).value
    assert value == pytest.approx(dense(case.model, case.u).log_density(profile), rel=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(RANDOM_CASES, st.booleans())
def test_derivatives_of_a_model_match_differences(differences, case, profile):
    case = random_case(*case)
    data = case.model.statistics.crossproducts(profile)

    def evaluate(u, order=2):
        return likelihood.evaluate(u, data, profile=profile, order=order)

    at = evaluate(case.u)
    gradient = differences(lambda u: evaluate(u, 0).value, case.u)
    hessian = differences(lambda u: evaluate(u, 1).gradient, case.u)
    scale = 1.0 + np.max(np.abs(at.hessian))
    np.testing.assert_allclose(at.gradient, gradient, atol=1e-6 * scale)
    np.testing.assert_allclose(at.hessian, hessian, atol=1e-6 * scale)
