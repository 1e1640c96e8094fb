"""Widths of densities where the Hessian says little, against densities with known widths."""

import numpy as np
import pytest

import pmlmm
from pmlmm.inference.weak_directions import degenerate, measured_precision, weak_directions


def quartic(a):
    """Log-density with curvature ``a`` at 0 along the first axis, and a quartic wall."""
    return lambda x: (
        -0.5 * a * x[0] ** 2 - 0.25 * x[0] ** 4 - 0.5 * x[1] ** 2 - 0.5 * (x[0] + x[1]) ** 2 + 0.5 * x[0] ** 2
    )


def hessian(a):
    return np.array([[a, 1.0], [1.0, 2.0]])


def test_a_nearly_singular_mode_between_walls_is_degenerate():
    # the smallest eigenvalue of [[a, 1], [1, 2]] goes through 0 at a = 1/2
    assert degenerate(quartic(0.502), np.zeros(2), hessian(0.502))
    assert not degenerate(quartic(5.0), np.zeros(2), hessian(5.0))
    assert degenerate(quartic(5.0), np.zeros(2), np.diag([-1.0, 1.0]))


def test_a_collinear_normal_is_as_wide_as_its_hessian_says():
    precision = np.array([[1.0, 0.999], [0.999, 1.0]])
    log_density = lambda x: -0.5 * x @ precision @ x  # noqa: E731
    assert len(weak_directions(log_density, np.zeros(2), precision, 0.1)) == 1
    assert not degenerate(log_density, np.zeros(2), precision)
    np.testing.assert_array_equal(measured_precision(log_density, np.zeros(2), precision), precision)


def test_the_width_is_where_the_density_has_fallen_by_half_a_nat():
    a = 0.502
    precision, log_density = hessian(a), quartic(a)
    measured = measured_precision(log_density, np.zeros(2), precision)
    [weak] = weak_directions(log_density, np.zeros(2), precision, 0.1)
    share = 1.0 / np.sqrt(weak.step @ measured @ weak.step)
    assert share < 0.5
    assert -log_density(share * weak.step) == pytest.approx(0.5, abs=0.01)
    assert np.linalg.eigvalsh(measured)[0] > 3 * np.linalg.eigvalsh(precision)[0]


def test_merging_modes_do_not_mislead_the_search():
    """Data on which Laplace's evidence runs to a point between two modes, where it grows without limit."""
    scales = np.diag([4.0, 1.0, 1.0, 0.25])
    data, truth = pmlmm.simulate.longitudinal([8] * 40, effects="polynomial", mean=scales, seed=101)
    fit = pmlmm.Model(truth.formula, data).fit(integrate=False)
    assert fit.k_hat < 0.7
    assert "importance" in fit.refinement or "refined" in fit.refinement
