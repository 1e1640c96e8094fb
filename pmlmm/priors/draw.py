"""Draws of sigma and of the covariances from their priors."""

from collections.abc import Sequence

import numpy as np

from pmlmm.kernels.coordinates import vech
from pmlmm.priors.hyperparameters import Theta
from pmlmm.priors.stated import Flat, HalfStudentT


def draw_covariance_parameters(
    sigma_prior: HalfStudentT | Flat, thetas: Sequence[Theta], rng: np.random.Generator
) -> np.ndarray:
    """(sigma, vech Sigma) from proper priors, a row for each Theta: (thetas, d)."""
    from scipy.stats import invwishart, t

    assert not isinstance(sigma_prior, Flat)
    rows = []
    for theta in thetas:
        parts = [np.abs(t.rvs(sigma_prior.nu, scale=sigma_prior.scale, size=1, random_state=rng))]
        for value in theta.covariances:
            Sigma = np.reshape(invwishart.rvs(value.eta, value.Phi, random_state=rng), (value.q, value.q))
            parts.append(vech(Sigma))
        rows.append(np.concatenate(parts))
    return np.stack(rows)
