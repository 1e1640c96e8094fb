"""Densities of one hyperparameter on its search scale: value with slope, draws, and words for the summary."""

from dataclasses import dataclass
from math import lgamma
from typing import Protocol

import numpy as np

from pmlmm.kernels.derivatives import LOG_2PI


class Univariate(Protocol):
    """What a hyperprior on one hyperparameter can do."""

    def log_density(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Normalised, and its slope; of one value or of several (...)."""

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """(number,)"""


@dataclass(frozen=True)
class Normal:
    """N(mean, sd^2)."""

    mean: float
    sd: float

    def __str__(self) -> str:
        return f"Normal({self.mean:.3g}, {self.sd:.3g})"

    def log_density(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        residual = (value - self.mean) / self.sd
        return -(0.5 * residual**2 + float(np.log(self.sd)) + 0.5 * LOG_2PI), -residual / self.sd

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        return self.mean + self.sd * rng.standard_normal(number)


@dataclass(frozen=True)
class LogRatio:
    """log of a ratio of variances V / W around ``centre``, where ``V / (V + W) ~ Beta(a, a)``.

    Its slope never exceeds a, so it cannot fight data that say more. For a = 1/2 the square root of the
    ratio is half-Cauchy.
    """

    a: float
    centre: float = 0.0

    def __str__(self) -> str:
        return f"Beta({self.a:g}, {self.a:g})"

    def log_density(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = value - self.centre
        density = self.a * s - 2.0 * self.a * np.logaddexp(0.0, s) + lgamma(2.0 * self.a) - 2.0 * lgamma(self.a)
        return density, -self.a * np.tanh(0.5 * s)

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        V, W = rng.gamma(self.a, size=(2, number))
        return self.centre + np.log(V) - np.log(W)
