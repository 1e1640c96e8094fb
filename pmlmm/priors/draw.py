"""Draws of sigma and of the covariances from their priors."""

from collections.abc import Sequence

import numpy as np

from pmlmm.kernels.coordinates import vech
from pmlmm.priors.flat import Flat
from pmlmm.priors.stated import HalfStudentT
from pmlmm.priors.theta import Theta


def draw_covariance_parameters(
    sigma_prior: HalfStudentT | Flat, thetas: Sequence[Theta], rng: np.random.Generator
) -> np.ndarray:
    """(sigma, vech Sigma) from proper priors, a row for each Theta: (thetas, d)."""
    from scipy.stats import t

    assert not isinstance(sigma_prior, Flat)
    rows = []
    for theta in thetas:
        sigma = np.abs(t.rvs(sigma_prior.nu, scale=sigma_prior.scale, size=1, random_state=rng))
        rows.append(np.concatenate([sigma, *(vech(density.draw(rng)) for density in theta.covariances)]))
    return np.stack(rows)
