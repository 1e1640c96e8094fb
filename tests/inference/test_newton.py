"""Newton's method where the maximum is known, and where there is none."""

import numpy as np
import pytest

from pmlmm.errors import ConvergenceError
from pmlmm.inference import newton
from pmlmm.kernels.derivatives import Derivatives


def test_newton_on_a_gaussian_takes_one_step():
    precision = np.array([[4.0, 1.0], [1.0, 2.0]])
    centre = np.array([1.0, -3.0])

    def function(x):
        return Derivatives(-0.5 * (x - centre) @ precision @ (x - centre), -precision @ (x - centre), -precision)

    found = newton.maximize(function, np.array([50.0, 70.0]))
    np.testing.assert_allclose(found.x, centre, atol=1e-10)
    assert found.steps <= 2


def test_newton_leaves_a_saddle():
    """f = x^2 - x^4 - y^2 has a saddle at 0: from near it the climb must end at a maximum."""

    def function(v):
        x, y = v
        return Derivatives(x**2 - x**4 - y**2, np.array([2 * x - 4 * x**3, -2 * y]), np.diag([2 - 12 * x**2, -2.0]))

    found = newton.maximize(function, np.array([1e-4, 2.0]))
    np.testing.assert_allclose(np.abs(found.x), [np.sqrt(0.5), 0.0], atol=1e-6)


def test_newton_says_when_there_is_no_mode():
    def ramp(x):
        return Derivatives(float(x[0]), np.ones(1), np.zeros((1, 1)))

    with pytest.raises(ConvergenceError, match="not reached in"):
        newton.maximize(ramp, np.zeros(1))
    with pytest.raises(ConvergenceError, match="not finite at the start"):
        newton.maximize(lambda x: Derivatives(-np.inf, x, np.eye(1)), np.zeros(1))
