"""Pareto-smoothed weights."""

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy import stats

from pmlmm.kernels.pareto import fit_pareto, smooth_tail

WEIGHTS = {
    "light": lambda rng, n: rng.uniform(size=n),
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy": lambda rng, n: stats.t(2).rvs(n, random_state=rng),
    "one draw has it all": lambda rng, n: np.append(rng.normal(size=n - 1), 400.0),
    "far down": lambda rng, n: rng.normal(size=n) - 1e4,
    "alike but for a few": lambda rng, n: np.r_[np.zeros(n - 30), rng.normal(size=30)],
    "lost ones": lambda rng, n: np.where(rng.uniform(size=n) < 0.3, -500.0, rng.normal(size=n)),
}


@pytest.mark.parametrize("number", [40, 225, 226, 1000, 20_000])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_smoothed_weights_are_those_of_arviz(kind, number):
    raw = WEIGHTS[kind](np.random.default_rng(number), number)
    mine, shape = smooth_tail(raw)
    expected, k_hat = array_stats.psislw(-raw)
    np.testing.assert_allclose(mine - np.log(np.sum(np.exp(mine - mine.max()))) - mine.max(), expected, atol=1e-9)
    np.testing.assert_allclose(shape, k_hat, rtol=1e-10)
    assert mine[np.argmin(raw)] == pytest.approx(raw.min())  # below the tail nothing moves


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.4, 0.9])
def test_a_pareto_is_found(shape):
    excesses = np.sort(stats.genpareto(shape, scale=2.0).rvs(20_000, random_state=1))
    assert fit_pareto(excesses) == pytest.approx((shape, 2.0), abs=0.06)


def test_weights_of_one_value_have_no_tail():
    mine, shape = smooth_tail(np.r_[np.zeros(390), np.arange(10.0)])
    assert np.isnan(shape)
    np.testing.assert_array_equal(mine, np.r_[np.zeros(390), np.arange(10.0)])
