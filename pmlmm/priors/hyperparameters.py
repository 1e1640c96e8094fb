"""Theta: the values of the hyperparameters."""

from dataclasses import dataclass

import numpy as np

from pmlmm.kernels.coordinates import vech
from pmlmm.priors.stated import b_from_eta


@dataclass(frozen=True)
class CovarianceHyperparameters:
    """eta and A of one inverse-Wishart prior; A is its mode, (q, q)."""

    eta: float
    A: np.ndarray

    @property
    def q(self) -> int:
        return len(self.A)

    @property
    def Phi(self) -> np.ndarray:
        return (self.eta + self.q + 1.0) * self.A

    def b(self, m: int) -> float:
        """Weight of A in the EM update, for m groups."""
        return b_from_eta(self.eta, m, self.q)


@dataclass(frozen=True)
class Theta:
    """log lambda of each penalty group (G,), and one entry per term (None: flat prior)."""

    log_lambda: np.ndarray
    covariances: tuple[CovarianceHyperparameters | None, ...]

    @property
    def packed(self) -> np.ndarray:
        """As they enter densities: (log lambda, eta_1, vech Phi_1, ...)."""
        parts = [np.asarray(self.log_lambda, dtype=float)]
        for value in self.covariances:
            if value is not None:
                parts += [np.array([value.eta]), vech(value.Phi)]
        return np.concatenate(parts)
