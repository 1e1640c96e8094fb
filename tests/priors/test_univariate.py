"""Densities of one hyperparameter: proper, with their own slopes and draws."""

import numpy as np
import pytest
from scipy.integrate import quad

from pmlmm.priors.univariate import LogRatio, Normal

DENSITIES = [Normal(0.4, 1.5), LogRatio(0.5, -1.0), LogRatio(1.0), LogRatio(3.0, 2.0)]


@pytest.mark.parametrize("density", DENSITIES, ids=str)
def test_density_is_proper_and_draws_are_its_own(density, differences):
    def weighted(function):
        return quad(lambda x: function(x) * np.exp(density.log_density(x)[0]), -80, 80, points=[0.0], limit=200)[0]

    assert weighted(lambda x: 1.0) == pytest.approx(1.0, abs=1e-8)
    slope = differences(lambda x: density.log_density(x[0])[0], np.array([0.7]))
    assert density.log_density(0.7)[1] == pytest.approx(slope[0], rel=1e-6)
    drawn = density.draw(40_000, np.random.default_rng(0))
    for function in (lambda x: x, np.square, np.tanh):
        values = function(drawn)
        assert abs(values.mean() - weighted(function)) < 4.0 * values.std() / 200.0


def test_half_of_a_log_ratio_is_the_log_of_a_half_cauchy():
    scale = 1.7
    density = LogRatio(0.5, 2.0 * np.log(scale))
    sd = np.array([1e-4, 0.3, 2.0, 500.0])
    half_cauchy = 2.0 / (np.pi * scale * (1.0 + (sd / scale) ** 2))
    found = [np.exp(density.log_density(2.0 * np.log(x))[0]) * 2.0 / x for x in sd]
    np.testing.assert_allclose(found, half_cauchy, rtol=1e-12)
