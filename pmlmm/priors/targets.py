"""How the target A of an inverse-Wishart prior is made of what is learned of it, with slopes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from pmlmm.priors.covariance import TermScale
from pmlmm.priors.hyperparameters import LOG_VARIANCE, Hyperparameter, ScaleOfEffect
from pmlmm.priors.hyperprior import Hyperprior
from pmlmm.priors.univariate import Normal

_ATANH_RHO = float(np.arctanh(0.999))


@dataclass(frozen=True)
class LogVariance(ScaleOfEffect):
    """Log of one diagonal entry of A, or of the factor that all share (``position`` None)."""

    letter = "A"


@dataclass(frozen=True)
class AtanhCorrelation(Hyperparameter):
    """atanh of the correlation rho of neighbours in an AR(1) target."""

    term: str
    scale = "atanh"

    @property
    def variable(self) -> str:
        return f"rho_{self.term}"

    def shown(self, values: np.ndarray) -> np.ndarray:
        return np.tanh(values)

    def searched(self, shown: np.ndarray) -> np.ndarray:
        return np.arctanh(shown)

    def density(self, hyperprior: Hyperprior) -> Normal:
        return Normal(0.0, hyperprior.rho_sd)

    @property
    def bound_words(self) -> tuple[str, str]:
        return (
            f"neighbouring effects of {self.term} are opposed without exception",
            f"neighbouring effects of {self.term} move as one",
        )

    @property
    def has_density(self) -> str:
        return f"{self.scale} {self.name}"


class Target(ABC):
    """A, as a function of the hyperparameters that it is made of.

    Attributes
    ----------
    hyperparameters : tuple of Hyperparameter
    variances : int
        How many of them, the first ones, are log variances.
    start : (q, q) array
    """

    hyperparameters: tuple[Hyperparameter, ...]
    variances: int
    start: np.ndarray

    @abstractmethod
    def matrix(self, values: np.ndarray) -> np.ndarray:
        """A at values of the hyperparameters (k,): (q, q)."""

    @abstractmethod
    def slopes(self, values: np.ndarray) -> list[np.ndarray]:
        """Derivative of A in each of them, k arrays (q, q)."""

    def variances_of(self, A: np.ndarray) -> np.ndarray:
        """The diagonal of A where it is stated, (q,)."""
        return np.diag(A)

    def variables(self, A: np.ndarray) -> dict[str, np.ndarray]:
        """What a posterior for ArviZ has of it beside the diagonal, by the start of its name."""
        return {}


class Fixed(Target):
    """A that the user gave, ``start`` where the columns have their zero inside."""

    hyperparameters, variances = (), 0

    def __init__(self, A: np.ndarray, used: np.ndarray):
        self.given, self.start = A, used

    def variances_of(self, A: np.ndarray) -> np.ndarray:
        return np.diag(self.given)

    def matrix(self, values: np.ndarray) -> np.ndarray:
        return self.start

    def slopes(self, values: np.ndarray) -> list[np.ndarray]:
        return []


class Diagonal(Target):
    """A variance for each effect."""

    def __init__(self, scale: TermScale):
        self.start = np.diag(scale.level)
        self.hyperparameters = tuple(log_variance(scale, a, scale.level[a]) for a in range(scale.term.q))
        self.variances = scale.term.q

    def matrix(self, values: np.ndarray) -> np.ndarray:
        return np.diag(np.exp(values))

    def slopes(self, values: np.ndarray) -> list[np.ndarray]:
        return [np.diag(np.exp(value) * unit) for value, unit in zip(values, np.eye(len(values)), strict=True)]


class Identity(Target):
    """One variance for all effects, ``exp(x) I``."""

    variances = 1

    def __init__(self, scale: TermScale):
        level = float(np.exp(np.mean(np.log(scale.level))))
        self.start = level * np.eye(scale.term.q)
        self.hyperparameters = (log_variance(scale, None, level),)

    def matrix(self, values: np.ndarray) -> np.ndarray:
        return np.exp(values[0]) * np.eye(len(self.start))

    def slopes(self, values: np.ndarray) -> list[np.ndarray]:
        return [self.matrix(values)]


class AR1(Identity):
    """One variance, and correlations ``rho^|i - j|``: for effects in order, on one scale."""

    def __init__(self, scale: TermScale):
        super().__init__(scale)
        rho = AtanhCorrelation(f"rho[{scale.shared_name}]", 0.0, -_ATANH_RHO, _ATANH_RHO, scale.term.name)
        self.hyperparameters = (*self.hyperparameters, rho)

    def matrix(self, values: np.ndarray) -> np.ndarray:
        return np.exp(values[0]) * ar1(len(self.start), float(np.tanh(values[1])))

    def slopes(self, values: np.ndarray) -> list[np.ndarray]:
        rho, lag = float(np.tanh(values[1])), _lags(len(self.start))
        along = np.exp(values[0]) * lag * rho ** np.maximum(lag - 1.0, 0.0) * (1.0 - rho**2)
        return [self.matrix(values), along]

    def variables(self, A: np.ndarray) -> dict[str, np.ndarray]:
        return {"rho": A[0, 1] / A[0, 0]}


#: Structures of A that can be learned.
STRUCTURES: dict[str, type[Diagonal] | type[Identity]] = {"diagonal": Diagonal, "identity": Identity, "ar1": AR1}


def target_of(A: str | np.ndarray, scale: TermScale, *, at_origin: bool) -> Target:
    """The target that a user stated, for one term; a matrix at the user's zero unless ``at_origin``."""
    if not isinstance(A, str):
        return Fixed(A, A if at_origin else scale.origin.used(A))
    return Identity(scale) if A == "ar1" and scale.term.q == 1 else STRUCTURES[A](scale)


def log_variance(scale: TermScale, position: int | None, start: float) -> LogVariance:
    """The hyperparameter of one entry of A, or of their common factor."""
    own = np.exp(np.mean(np.log(scale.squares))) if position is None else scale.squares[position]
    label = "" if position is None else f"[{scale.term.coefficients[position]}]"
    low, high = (float(bound + np.log(scale.variance / own)) for bound in LOG_VARIANCE)
    name = f"A[{scale.shared_name}]{label}"
    return LogVariance(name, float(np.log(start)), low, high, scale.term.name, position)


def ar1(q: int, rho: float) -> np.ndarray:
    """Correlations ``rho^|i - j|``, (q, q)."""
    return rho ** _lags(q)


def _lags(q: int) -> np.ndarray:
    return np.abs(np.subtract.outer(np.arange(q), np.arange(q))).astype(float)
