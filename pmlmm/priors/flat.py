"""No prior: density 1 over whatever it is stated for."""

from dataclasses import dataclass

import numpy as np

from pmlmm.design.term import Term
from pmlmm.kernels import flat
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.priors.covariance import (
    CovarianceDensity,
    CovarianceFamily,
    CovariancePrior,
    TermScale,
    refuse_single_group,
)
from pmlmm.priors.hyperprior import Pool


@dataclass(frozen=True)
class Flat(CovariancePrior):
    """Density 1: no prior. For sigma, for a covariance, or for a group of fixed effects.

    The evidence of a model with a flat prior is defined up to that prior's unstated constant.
    """

    proper = False

    @property
    def words(self) -> str:
        return "flat (density 1)"

    @property
    def at_origin(self) -> bool:
        return False  # it is the same wherever the columns have their zero

    def check(self, term: Term, where: str) -> None:
        refuse_single_group(term)

    def family(self, scale: TermScale) -> "FlatFamily":
        return FlatFamily(scale.term.q)


class FlatFamily(CovarianceFamily["FlatDensity"]):
    """Nothing to learn."""

    own, shared = (), ()

    def __init__(self, q: int):
        self.start = FlatDensity(q)

    def at(self, values: np.ndarray) -> "FlatDensity":
        return self.start

    def slopes(self, values: np.ndarray) -> np.ndarray:
        return np.empty((0, 0))

    def pool(self, columns: np.ndarray) -> Pool | None:
        return None

    def table(self, density: "FlatDensity") -> dict[str, float]:
        return {}

    def variables(self, density: "FlatDensity") -> dict[str, np.ndarray]:
        return {}


@dataclass(frozen=True)
class FlatDensity(CovarianceDensity):
    """1 for every covariance of ``size`` effects."""

    size: int
    compiled = staticmethod(flat.value_and_gradient)
    sampled = staticmethod(flat.add_to_slope)

    @property
    def q(self) -> int:
        return self.size

    @property
    def packed(self) -> np.ndarray:
        return np.empty(0)

    @property
    def typical(self) -> None:
        return None

    @property
    def log_constant(self) -> float:
        return 0.0

    @staticmethod
    def derivatives(w: np.ndarray) -> Derivatives:
        return Derivatives(0.0, np.zeros(len(w)), np.zeros((len(w),) * 2))

    def log_densities(self, precision: np.ndarray, log_det: np.ndarray | float) -> np.ndarray:
        return np.zeros(np.shape(log_det))

    def weighted_gradient(self, precision: np.ndarray, log_det: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.empty(0)

    def em_step(self, Sigma: np.ndarray, moment: np.ndarray, m: int) -> np.ndarray:
        return moment

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError("A flat prior is improper: it cannot be drawn from.")
