"""What a prior on the covariance of a random-effect term must be able to do: the whole contract, in three classes.

A user states a :class:`CovariancePrior`. For one term it makes a :class:`CovarianceFamily`, which knows what is to be
learned. At values of that it is a :class:`CovarianceDensity`, whose parameters, ``packed``, are what the compiled
log-posterior takes. A new prior is one file with these three, its kernel, a line in
:mod:`pmlmm.priors.covariance_priors` and one in :mod:`pmlmm.graph.covariances`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from pmlmm.design.term import Term
from pmlmm.errors import DataError
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.priors.hyperparameters import Hyperparameter
from pmlmm.priors.hyperprior import Pool
from pmlmm.priors.origin import Origin


@dataclass(frozen=True, eq=False)
class TermScale:
    """What a prior may know of the data: enough for starts and bounds, on the scale of y and of the term's columns.

    Attributes
    ----------
    term : Term
    shared_name : str
        Names of the terms that share hyperparameters with it; its own where none does.
    variance : float
        Of y, as least squares on X leaves it.
    effects : int
        Random effects of all terms together, for one group of each.
    squares : (q,) array
        Mean squares of the columns.
    sizes : (q,) array
        Sizes of the columns at which the hyperprior expects effects to contribute alike.
    origin : Origin
        Where the columns have their zero inside: sizes, squares and the density are those from there.
    """

    term: Term
    shared_name: str
    variance: float
    effects: int
    squares: np.ndarray
    sizes: np.ndarray
    origin: Origin

    @property
    def level(self) -> np.ndarray:
        """Variances of the effects that share half of the residual variance with those of other terms, (q,)."""
        return 0.5 * self.variance / (self.effects * self.squares)


class CovarianceDensity(ABC):
    """Prior density of one covariance Sigma (q, q), with every hyperparameter at its value."""

    @property
    @abstractmethod
    def q(self) -> int:
        """Number of effects."""

    @property
    @abstractmethod
    def packed(self) -> np.ndarray:
        """Its parameters in one vector (h,): those that the derivatives are in."""

    @property
    @abstractmethod
    def typical(self) -> np.ndarray | None:
        """A covariance where the prior has its mass, as a start; None where it has no such place."""

    @property
    @abstractmethod
    def log_constant(self) -> float:
        """Log of all that does not depend on Sigma, as :attr:`sampled` leaves it out."""

    @staticmethod
    @abstractmethod
    def derivatives(w: np.ndarray) -> Derivatives:
        """Log-density of ``w = (vech Sigma, packed)`` with its gradient and Hessian; ``-inf`` and nan outside."""

    #: Value and gradient of the same, compiled.
    compiled: ClassVar[Callable[..., Any]]
    #: Compiled, for samplers: ``(x, gradient, starts, sizes, packed)`` with the unconstrained coordinates of all
    #: covariances with such a prior, where each starts in x, and their ``packed`` one after the other. It returns the
    #: log-density but for the constant, and adds its gradient in x; Jacobians are not its business.
    sampled: ClassVar[Callable[..., Any]]

    @abstractmethod
    def log_densities(self, precision: np.ndarray, log_det: np.ndarray | float) -> np.ndarray:
        """Log-density of many Sigma, given by their precisions (..., q, q) and log-determinants (...)."""

    @classmethod
    def log_density_pairs(cls, densities: Sequence[Self], precision: np.ndarray, log_det: np.ndarray) -> np.ndarray:
        """Those of many Sigma, (draws, q, q), under each of several densities of this kind: (draws, densities)."""
        return np.stack([density.log_densities(precision, log_det) for density in densities], axis=-1)

    @abstractmethod
    def weighted_gradient(self, precision: np.ndarray, log_det: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Gradient in ``packed`` of the log-densities of draws (draws, q, q), summed with weights (draws,)."""

    def gradient(self, precision: np.ndarray, log_det: float) -> np.ndarray:
        """Gradient in ``packed`` of the log-density of one Sigma: (h,)."""
        return self.weighted_gradient(precision[None], np.array([log_det]), np.ones(1))

    @abstractmethod
    def em_step(self, Sigma: np.ndarray, moment: np.ndarray, m: int) -> np.ndarray:
        """The M-step for m groups: raises ``-m/2 (log|S| + tr(S^{-1} moment)) + log p(S)`` from ``S = Sigma``.

        Where the maximum has a closed form it is that; its fixed points are the stationary ones in any case.
        """

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One Sigma (q, q); only of a proper prior."""


class CovarianceFamily[D: CovarianceDensity](ABC):
    """The prior of one term's covariance as a function of the hyperparameters that are learned.

    Attributes
    ----------
    own, shared : tuple of Hyperparameter
        What is learned for this term alone, and what terms that were given one prior together have in common. Values
        come in this order.
    start : CovarianceDensity
        With what is learned where the search may start; so a graph has it before a fit.
    """

    own: tuple[Hyperparameter, ...]
    shared: tuple[Hyperparameter, ...]
    start: D

    @abstractmethod
    def at(self, values: np.ndarray) -> D:
        """The prior at values of the hyperparameters on their search scales, (k,)."""

    @abstractmethod
    def slopes(self, values: np.ndarray) -> np.ndarray:
        """Derivative of ``at(values).packed``, (h, k)."""

    @abstractmethod
    def pool(self, columns: np.ndarray) -> Pool | None:
        """How the hyperprior draws its log variances to each other; ``columns`` of phi are those of :attr:`shared`."""

    @abstractmethod
    def table(self, density: D) -> dict[str, float]:
        """Rows of a fit's table of hyperparameters with their values, learned or fixed."""

    @abstractmethod
    def variables(self, density: D) -> dict[str, np.ndarray]:
        """The hyperparameters as variables for ArviZ: scalars, or one number for each effect."""


class CovariancePrior(ABC):
    """What a user states of a term's covariance.

    Attributes
    ----------
    proper : bool
        Whether it has a normalising constant.
    per_effect : tuple of str
        Names, without the term's, of those variables for ArviZ that have one number for each effect.
    """

    proper: ClassVar[bool] = True
    per_effect: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def words(self) -> str:
        """For the summary of a model, behind a ``~``."""

    @property
    def stated_origin(self) -> Any:
        """Where the columns are to have their zero; see :func:`pmlmm.priors.origin.origin_of`."""
        return "auto"

    @property
    def at_origin(self) -> bool:
        """Whether it is stated where the columns have their zero inside, wherever the user's is."""
        return True

    @abstractmethod
    def check(self, term: Term, where: str) -> None:
        """Refuse a term that it does not fit; ``where`` starts the message.

        Raises
        ------
        PriorError, DataError
        """

    @abstractmethod
    def family(self, scale: TermScale) -> CovarianceFamily[Any]:
        """The same for one term."""


def refuse_single_group(term: Term) -> None:
    """A covariance cannot be learned from one group.

    Raises
    ------
    DataError
    """
    if term.n_groups > 1:
        return
    raise DataError(
        f"The grouping factor {term.factor!r} has a single group ({term.grouping.labels[0]}): its covariance cannot be "
        "learned from one group. Leave the random term out, use another factor, or give its prior: "
        f"priors={{{term.factor!r}: pmlmm.InverseWishart(b=..., A=...)}}."
    )
