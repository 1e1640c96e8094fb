"""Theta: the values of the hyperparameters."""

from dataclasses import dataclass

import numpy as np

from pmlmm.priors import b_from_eta


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
    """log lambda of each penalty group (G,), and one entry a term (None: flat prior)."""

    log_lambda: np.ndarray
    covariances: tuple[CovarianceHyperparameters | None, ...]
