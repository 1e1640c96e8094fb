"""Half-t priors on the standard deviations of a covariance (Huang and Wand 2013); not part of the public names yet.

It is here to show what a second covariance prior takes, complete but for a place in the documentation.
"""

from dataclasses import dataclass

import numpy as np

from pmlmm.design.term import Term
from pmlmm.errors import PriorError
from pmlmm.kernels import half_t_covariance as half_t
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.priors.checked import is_finite
from pmlmm.priors.covariance import (
    CovarianceDensity,
    CovarianceFamily,
    CovariancePrior,
    TermScale,
    refuse_single_group,
)
from pmlmm.priors.hyperparameters import LOG_VARIANCE, ScaleOfEffect
from pmlmm.priors.hyperprior import Pool


@dataclass(frozen=True)
class HalfT(CovariancePrior):
    """Standard deviations half-t with 2 degrees of freedom, correlations uniform marginally.

    Unlike the inverse-Wishart it lets every variance be small or large by itself.

    Parameters
    ----------
    scale : float or tuple of float, optional
        Scale s_k of each standard deviation, or one for all, in units of y over units of the random-effect columns.
        None: learned, one for each effect.

    Raises
    ------
    PriorError
        A scale that is not positive and finite.
    """

    scale: float | tuple[float, ...] | None = None
    per_effect = ("s",)

    def __post_init__(self) -> None:
        values = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        if self.scale is not None and not (values and all(is_finite(s) and s > 0 for s in values)):
            raise PriorError(f"HalfT(scale={self.scale!r}): scales must be positive and finite.")

    @property
    def words(self) -> str:
        scale = "learned" if self.scale is None else f"{self.scale}"
        return f"HalfT(2, s), s {scale}"

    def check(self, term: Term, where: str) -> None:
        if self.scale is None:
            refuse_single_group(term)
        if isinstance(self.scale, tuple) and len(self.scale) != term.q:
            raise PriorError(
                f"{where}: HalfT has {len(self.scale)} scales, but the term has {term.q} effects "
                f"({', '.join(term.coefficients)})."
            )

    def family(self, scale: TermScale) -> "HalfTFamily":
        if self.scale is None:
            return HalfTFamily(scale, 0.5 * np.log(scale.level), learned=True)
        log_s = np.log(np.broadcast_to(np.asarray(self.scale, dtype=float), (scale.term.q,)))
        return HalfTFamily(scale, log_s, learned=False)


@dataclass(frozen=True)
class LogScale(ScaleOfEffect):
    """Log of the scale of one standard deviation."""

    letter = "s"
    of_log_variance = 0.5


class HalfTFamily(CovarianceFamily["HalfTDensity"]):
    """The prior of one term as a function of log s."""

    own = ()

    def __init__(self, scale: TermScale, log_s: np.ndarray, *, learned: bool):
        self.scale, self.start = scale, HalfTDensity(log_s)
        self.shared = tuple(self._hyperparameter(a) for a in range(scale.term.q)) if learned else ()

    def _hyperparameter(self, position: int) -> LogScale:
        scale = self.scale
        unit = np.log(scale.variance / scale.squares[position])
        low, high = (LogScale.of_log_variance * float(bound + unit) for bound in LOG_VARIANCE)
        start, term = float(self.start.log_s[position]), scale.term
        return LogScale(self._name(position, scale.shared_name), start, low, high, term.name, position)

    def _name(self, position: int, term: str) -> str:
        return f"s[{term}][{self.scale.term.coefficients[position]}]"

    def at(self, values: np.ndarray) -> "HalfTDensity":
        return HalfTDensity(values) if self.shared else self.start

    def slopes(self, values: np.ndarray) -> np.ndarray:
        return np.eye(self.start.q, len(values))

    def pool(self, columns: np.ndarray) -> Pool | None:
        # log standard deviations: half of log variances
        start = self.start.log_s
        return Pool("s", columns, start, self.scale.sizes, power=2.0) if self.shared else None

    def table(self, density: "HalfTDensity") -> dict[str, float]:
        term = self.scale.shared_name if self.shared else self.scale.term.name
        return {self._name(a, term): float(np.exp(value)) for a, value in enumerate(density.packed)}

    def variables(self, density: "HalfTDensity") -> dict[str, np.ndarray]:
        return {"s": np.exp(density.packed)}


@dataclass(frozen=True, eq=False)
class HalfTDensity(CovarianceDensity):
    """The density at log scales (q,)."""

    log_s: np.ndarray
    compiled = staticmethod(half_t.value_and_gradient)
    sampled = staticmethod(half_t.add_to_slope)

    @property
    def q(self) -> int:
        return len(self.log_s)

    @property
    def packed(self) -> np.ndarray:
        return self.log_s

    @property
    def typical(self) -> np.ndarray:
        return np.diag(np.exp(2.0 * self.log_s))

    @property
    def log_constant(self) -> float:
        return half_t.log_constant(self.log_s)

    @staticmethod
    def derivatives(w: np.ndarray) -> Derivatives:
        return half_t.log_density(w)

    def log_densities(self, precision: np.ndarray, log_det: np.ndarray | float) -> np.ndarray:
        return half_t.log_densities(self.log_s, precision, log_det)

    def weighted_gradient(self, precision: np.ndarray, log_det: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return weights @ half_t.scale_slope(self.log_s, precision)

    def em_step(self, Sigma: np.ndarray, moment: np.ndarray, m: int) -> np.ndarray:
        """With a_k as missing data: ``E[1 / a_k | Sigma] = (nu + q) / (2 B_k)``, then that of an inverse-Wishart."""
        nu, q = half_t.NU, self.q
        inverse = 0.5 * (nu + q) / half_t.bounds(self.log_s, np.linalg.inv(Sigma))
        return (m * moment + np.diag(2.0 * nu * inverse)) / (m + nu + 2.0 * q)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        from scipy.stats import invwishart  # slow to import, and only needed here

        nu, q = half_t.NU, self.q
        a = np.exp(-2.0 * self.log_s) / rng.gamma(0.5, size=q)
        return np.reshape(invwishart.rvs(nu + q - 1.0, np.diag(2.0 * nu / a), random_state=rng), (q, q))
