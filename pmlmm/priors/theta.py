"""Theta: the values of the hyperparameters."""

from dataclasses import dataclass

import numpy as np

from pmlmm.priors.covariance import CovarianceDensity


@dataclass(frozen=True)
class Theta:
    """log lambda of each penalty group (G,), and the prior of each term's covariance."""

    log_lambda: np.ndarray
    covariances: tuple[CovarianceDensity, ...]

    @property
    def packed(self) -> np.ndarray:
        """As they enter densities: log lambda, then what each covariance's density has."""
        parts = [np.asarray(self.log_lambda, dtype=float)]
        return np.concatenate([*parts, *(density.packed for density in self.covariances)])
