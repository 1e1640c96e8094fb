"""The likelihood at many draws, and around them, against single evaluations; crossed, nested and wide together."""

import numpy as np
import pytest
from hypothesis import given, settings

from pmlmm.kernels import likelihood
from pmlmm.kernels import likelihood_at_draws as draws
from tests.problems import RANDOM_CASES, TERM_SETS, random_case


@settings(max_examples=30, deadline=None, derandomize=True)
@given(RANDOM_CASES)
def test_draws_agree_with_single_evaluations(case):
    case = random_case(*case)
    data, u = case.model.statistics.crossproducts(), case.u
    d = data.parameters
    theta, log_lambda = np.stack([u[:d], u[:d]]), u[d:]
    theta[1] *= 1.5
    many = draws.evaluate(draws.reduce(theta, log_lambda, data), log_lambda, data, order=2)
    means = draws.effects(theta, log_lambda, data).mean
    for s in range(2):
        point = np.concatenate([theta[s], log_lambda])
        one = likelihood.evaluate(point, data, profile=False, order=2)
        assert many.value[s] == pytest.approx(one.value, rel=1e-11)
        np.testing.assert_allclose(many.gradient[s], one.gradient[d:], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(means[s], likelihood.condition(point, data).mean, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(many.hessian[s], one.hessian[d:, d:], rtol=1e-7, atol=1e-8)
        alone = likelihood.evaluate_lambda(point, data)
        assert alone.value == pytest.approx(one.value, rel=1e-12)
        np.testing.assert_allclose(alone.gradient, one.gradient[d:], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(alone.hessian, one.hessian[d:, d:], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("sizes", [(), (7,), (40,), (40, 30)])
def test_large_dense_parts_draw_by_draw(monkeypatch, sizes):
    """One draw at a time and in batches: the same likelihoods, effects and draws of them."""
    case = random_case(3, TERM_SETS[4], sizes)
    data, u = case.model.statistics.crossproducts(), case.u
    d = data.parameters
    theta, log_lambda = u[:d] * np.array([[1.0], [1.3], [0.8]]), u[d:]

    def results():
        at = draws.Expansion(theta, log_lambda, data)
        moved = at(log_lambda + 0.1)
        rng = np.random.default_rng(1)
        return at.values(log_lambda), moved.value, moved.gradient, *draws.effects(theta, log_lambda, data, rng)

    in_batches = results()
    monkeypatch.setattr(draws, "LARGE", 0)
    for left, right in zip(in_batches, results(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-8)


def test_expansion_of_the_draws_is_close_around_its_centre():
    case = random_case(5, TERM_SETS[2], (40,))
    data, u = case.model.statistics.crossproducts(), case.u
    theta, log_lambda = u[None, : data.parameters], u[data.parameters :]
    expansion = draws.Expansion(theta, log_lambda, data)
    errors = []
    for step in (0.2, 0.1):
        point = np.concatenate([theta[0], log_lambda + step])
        exact = likelihood.evaluate(point, data, profile=False, order=0).value
        errors.append(abs(float(expansion(log_lambda + step).value[0]) - exact))
    assert errors[0] / errors[1] == pytest.approx(8.0, rel=0.3)  # third order


@pytest.mark.parametrize("sizes", [(), (7,), (40,), (40, 30)])
@pytest.mark.parametrize("large", [draws.LARGE, 0])
def test_every_draw_has_its_own_lambda(monkeypatch, sizes, large):
    """Values of all draws against single evaluations: at once, where blocks go first, and draw by draw."""
    monkeypatch.setattr(draws, "LARGE", large)
    case = random_case(7, TERM_SETS[4], sizes)
    data, rng = case.model.statistics.crossproducts(), np.random.default_rng(9)
    theta, groups = case.u[: data.parameters] * np.array([[1.0], [1.3], [0.8]]), len(data.counts)
    for log_lambda in (rng.normal(size=(3, groups)), rng.normal(size=groups)):
        every = np.broadcast_to(log_lambda, (3, groups))
        rows = [np.concatenate(row) for row in zip(theta, every, strict=True)]
        expected = [likelihood.evaluate(u, data, profile=False, order=0).value for u in rows]
        np.testing.assert_allclose(draws.values(theta, log_lambda, data), expected, rtol=1e-10)
