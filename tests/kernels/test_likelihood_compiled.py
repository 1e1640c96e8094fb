"""The compiled likelihood that samplers call, against the exact one."""

import numpy as np
import pytest
from hypothesis import given, settings

from pmlmm.kernels import likelihood, likelihood_compiled
from tests.problems import RANDOM_CASES, random_case


@settings(max_examples=80, deadline=None, derandomize=True)
@given(RANDOM_CASES)
def test_value_and_gradient_are_the_engine_s(case):
    case = random_case(*case)
    data = case.model.statistics.crossproducts()
    value, gradient = likelihood_compiled.value_and_gradient(case.u, likelihood_compiled.flatten(data))
    at = likelihood.evaluate(case.u, data, profile=False, order=1)
    assert value == pytest.approx(at.value, rel=1e-12)
    np.testing.assert_allclose(gradient, at.gradient, rtol=1e-9, atol=1e-9 * (1 + np.max(np.abs(at.gradient))))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(RANDOM_CASES)
def test_unpacked_crossproducts_are_the_packed_ones(case):
    case = random_case(*case)
    data = case.model.statistics.crossproducts()
    back = likelihood_compiled.unflatten(likelihood_compiled.flatten(data))
    left, right = (likelihood.evaluate(case.u, x, profile=False, order=2) for x in (data, back))
    assert left.value == pytest.approx(right.value, rel=1e-13)
    np.testing.assert_allclose(left.hessian, right.hessian, rtol=1e-12, atol=1e-12 * np.max(np.abs(left.hessian)))


@pytest.mark.parametrize("sizes", [(), (40,), (40, 30)])
def test_outside_of_the_support(sizes):
    case = random_case(3, ("(1 + t | a)", "(1 | b)"), sizes)
    packed = likelihood_compiled.flatten(case.model.statistics.crossproducts())
    for entry, value in ((0, -1.0), (1, -0.5), (3, 0.0), (2, np.nan)):
        u = case.u.copy()
        u[entry] = value
        result, gradient = likelihood_compiled.value_and_gradient(u, packed)
        assert result == -np.inf
        assert np.isnan(gradient).all()
