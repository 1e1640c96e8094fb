"""What one learned hyperparameter knows: its name, scales, bounds, prior, and the words for where it comes to rest.

Kinds that belong to one covariance prior are beside it: :mod:`pmlmm.priors.inverse_wishart` has that of b,
:mod:`pmlmm.priors.targets` those of A.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pmlmm.priors.hyperprior import Hyperprior
from pmlmm.priors.univariate import LogRatio, Univariate

#: Bounds of log lambda over the size of its block: beyond them the evidence is flat to far less than 0.01 nats.
LOG_LAMBDA = (float(np.log(1e-10)), float(np.log(1e8)))
#: Bounds of the log of a variance over what would explain the residuals.
LOG_VARIANCE = (float(np.log(1e-6)), float(np.log(1e4)))
# A variance of less than 1e-5 of the residual variance: 10 times its lower bound.
_VANISHED = float(np.log(10.0))
# A variance component of less than a hundredth of the residual variance: 1e4 times its lower bound.
_NEAR_ZERO = float(np.log(1e4))
# A wide block whose prior variance is a smaller share of the residual variance says next to nothing.
_NEGLIGIBLE = 0.1
# Penalties of more than this times the number of rows, or less, leave their coefficients nothing or everything.
_STRONG, _WEAK = 10.0, 1e-3


@dataclass(frozen=True)
class Hyperparameter(ABC):
    """One learned hyperparameter on its search scale, the logarithm unless a kind says otherwise.

    Attributes
    ----------
    name : str
        Its row in a fit's table.
    start, lower, upper : float
        On the search scale.
    scale : str
        The search scale, in a word.
    """

    name: str
    start: float
    lower: float
    upper: float
    scale: ClassVar[str] = "log"

    @property
    @abstractmethod
    def variable(self) -> str:
        """The variable of a posterior for ArviZ that has its draws."""

    @property
    def entry(self) -> int | None:
        """Which entry of the variable it is; None where that is a scalar."""
        return None

    def shown(self, values: np.ndarray) -> np.ndarray:
        """On the user's scale, from the search scale."""
        return np.exp(values)

    def searched(self, shown: np.ndarray) -> np.ndarray:
        """On the search scale, from the user's: the inverse of :meth:`shown`."""
        return np.log(shown)

    @abstractmethod
    def density(self, hyperprior: Hyperprior) -> Univariate | None:
        """Its own hyperprior; None where it is one of a pool (:class:`pmlmm.priors.hyperprior.Pool`)."""

    @property
    @abstractmethod
    def bound_words(self) -> tuple[str, str]:
        """What it means to sit on the lower and on the upper bound."""

    @property
    def vanishing(self) -> tuple[float, str] | None:
        """Where what it scales has vanished for any data, and how to say so; None where nothing vanishes."""
        return None

    def flat_words(self, value: float, rows: int) -> str:
        """What a flat evidence means where the search came to rest, for a table of so many rows; may be empty."""
        return ""

    def remark(self, value: float) -> str:
        """What else is to be said of a value inside the bounds; mostly empty."""
        return ""

    @property
    def has_density(self) -> str:
        """What its own hyperprior is the density of, in words; empty where the summary of every model has it."""
        return ""

    def pinned(self, value: float) -> str:
        """Why importance draws of Sigma cannot move the search at this value, in words; mostly empty."""
        return ""


@dataclass(frozen=True)
class LogLambda(Hyperparameter):
    """log lambda of one penalty group.

    Attributes
    ----------
    group : str
        The group's name.
    size : int
        Number of its coefficients.
    unit : float
        Mean square of its columns as the ridge sees them: 1 where they are standardised.
    """

    group: str
    size: int
    unit: float

    @property
    def variable(self) -> str:
        return f"lambda_{self.group}"

    def density(self, hyperprior: Hyperprior) -> LogRatio:
        return LogRatio(hyperprior.share, float(np.log(self.size * self.unit)))

    @property
    def bound_words(self) -> tuple[str, str]:
        return (
            "the data ask for no shrinkage of these coefficients",
            "these coefficients are indistinguishable from zero",
        )

    @property
    def vanishing(self) -> tuple[float, str]:
        return self.upper, f"flat towards large values: {self.bound_words[1]}"

    def flat_words(self, value: float, rows: int) -> str:
        if value > np.log(_STRONG * rows):
            return self.vanishing[1]
        return f"flat towards small values: {self.bound_words[0]}" if value < np.log(_WEAK * rows) else ""

    def remark(self, value: float) -> str:
        if self.size * self.unit < _NEGLIGIBLE * np.exp(value):
            return "together these coefficients carry less than a tenth of the residual variance"
        return ""

    @property
    def has_density(self) -> str:
        return f"share of {self.group} in its variance and that of the noise"


@dataclass(frozen=True)
class ScaleOfEffect(Hyperparameter):
    """The log of how much the groups of a term differ in one effect, or in all of them (``position`` None).

    Attributes
    ----------
    term : str
    position : int or None
        Of the effect.
    letter : str
        Which the variables of a posterior for ArviZ begin with.
    of_log_variance : float
        1 where it is the log of a variance, 1/2 where it is that of a standard deviation.
    """

    term: str
    position: int | None
    letter: ClassVar[str]
    of_log_variance: ClassVar[float] = 1.0

    @property
    def variable(self) -> str:
        return f"{self.letter}_{self.term}"

    @property
    def entry(self) -> int:
        return self.position or 0

    def density(self, hyperprior: Hyperprior) -> None:
        return None

    @property
    def vanishing(self) -> tuple[float, str]:
        return self.lower + self.of_log_variance * _VANISHED, f"flat towards zero: {self.bound_words[0]}"

    @property
    def bound_words(self) -> tuple[str, str]:
        return (
            f"the groups of {self.term} hardly differ in this effect",
            f"the groups of {self.term} differ more than the scale of y allows; check units",
        )

    def flat_words(self, value: float, rows: int) -> str:
        near = self.of_log_variance * _NEAR_ZERO
        return self.vanishing[1] if value - self.lower < near else ""
