"""The prior density of sigma against SciPy and finite differences."""

import numpy as np
import pytest
from scipy import stats

from pmlmm.kernels import half_student_t


def test_half_student_t(differences):
    at = half_student_t.log_density(1.7, 4.0, 2.5)
    assert at.value == pytest.approx(np.log(2) + stats.t(4, scale=2.5).logpdf(1.7), rel=1e-12)
    x = np.array([1.7])
    gradient = differences(lambda s: half_student_t.log_density(s[0], 4.0, 2.5).value, x)
    hessian = differences(lambda s: half_student_t.log_density(s[0], 4.0, 2.5).gradient, x)
    np.testing.assert_allclose(at.gradient, gradient, rtol=1e-6)
    np.testing.assert_allclose(at.hessian, hessian, rtol=1e-6)
    assert half_student_t.log_density(-1.0, 4.0, 2.5).value == -np.inf
