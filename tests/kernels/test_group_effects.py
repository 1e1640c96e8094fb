"""Random effects by plain loops are those of dense algebra."""

import numpy as np
import pytest

from pmlmm.kernels.group_effects import group_effects


@pytest.mark.parametrize("q", [1, 2, 5])
def test_means_and_draws(q):
    """``(Z'Z + (L L')^{-1})^{-1}`` times the residual; and with noise a draw whose deviations have that covariance."""
    rng = np.random.default_rng(q)
    Z, L = rng.normal(size=(3, 8, q)), np.tril(rng.normal(size=(2, q, q)))
    S, residual = np.swapaxes(Z, 1, 2) @ Z, rng.normal(size=(2, 3, q))
    J = np.linalg.inv(S + np.linalg.inv(L @ np.swapaxes(L, 1, 2))[:, None])
    means, proper = group_effects(S, L, residual, np.empty((0, 3, q)))
    assert proper
    np.testing.assert_allclose(means, (J @ residual[..., None])[..., 0], rtol=1e-8)
    for a in range(q):  # a column of the root after another
        noise = np.broadcast_to(np.eye(q)[a], (2, 3, q)).copy()
        own = group_effects(S, L, residual, noise)[0] - means
        J = J - own[..., None] * own[..., None, :]
    assert np.abs(J).max() < 1e-10


def test_what_has_no_factor_is_said():
    S = np.array([[[np.nan]]])
    assert not group_effects(S, np.ones((1, 1, 1)), np.ones((1, 1, 1)), np.empty((0, 1, 1)))[1]
