"""Bridge sampling where the answer is known."""

import numpy as np
import pytest

from pmlmm.errors import OptionError
from pmlmm.inference.bridge import bridge
from tests.problems import COVARIANCE, MEAN, gaussian


def test_bridge_finds_the_constant_within_its_error():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(30):
        x = rng.multivariate_normal(MEAN, COVARIANCE, size=(2, 500))
        result = bridge(x, lambda point: gaussian(point)[0], rng)
        errors.append((result.log_evidence - 5.0) / result.error)
    # a normal bridged to a normal: the errors are tiny, and of the stated size
    assert result.error < 0.01
    assert 0.5 < np.sqrt(np.mean(np.square(errors))) < 1.6


def test_bridge_of_a_skewed_density():
    """log of a Gamma(3): its normaliser is log Gamma(3)."""
    rng = np.random.default_rng(1)
    x = np.log(rng.gamma(3.0, size=(4, 1000, 1)))
    result = bridge(x, lambda point: float(3.0 * point[0] - np.exp(point[0])), rng)
    assert abs(result.log_evidence - np.log(2.0)) < 4.0 * result.error
    assert 1e-4 < result.error < 0.03


def test_bridge_does_not_care_for_units():
    rng = np.random.default_rng(2)
    units = np.array([1e-7, 1e6])
    x = rng.multivariate_normal(MEAN, COVARIANCE, size=(2, 500)) * units
    result = bridge(x, lambda point: gaussian(point / units)[0] - np.sum(np.log(units)), rng)
    assert abs(result.log_evidence - 5.0) < 4.0 * result.error
    with pytest.raises(OptionError, match="more draws: 8 for 2"):
        bridge(x[:1, :8], lambda point: 0.0, rng)
