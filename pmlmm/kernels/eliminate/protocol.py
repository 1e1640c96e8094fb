"""The contract of what is eliminated before the dense columns: all that callers use of it.

Two ways to integrate a part of the model out first. What is left are the dense columns W and their
cross-products ``Q = [W Y]'[...][W Y]``, a function of the parameters that went in:

groups
    The random effects of one grouping factor, group by group: ``Q = G - sum_i c_i'J_i c_i``, a function of
    their covariance relative to sigma^2.
ridge
    Penalised columns with more coefficients than the rows can tell apart, in the space of the rows:
    ``Q = [W Y]'K^{-1}[W Y]`` with ``K = I + sum_g X_g X_g' / lambda_g``, a function of log lambda.

A new kind has a file of its own here, a line in :mod:`pmlmm.kernels.eliminate.kinds`, and the places
where it is chosen and filled: ``pmlmm/crossproducts/plan.py`` and ``statistics.py``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np


class Eliminated(Protocol):
    """One evaluation, at some value of the n parameters of a kind."""

    @property
    def log_det(self) -> float:
        """Log-determinant of what was eliminated."""

    @property
    def Q(self) -> np.ndarray:
        """What is left of the cross-products of ``[W Y]``, (w, w)."""

    @property
    def slopes(self) -> np.ndarray:
        """``dQ / ds`` for every parameter, (n, w, w)."""

    def derivatives(
        self, J: np.ndarray, w: np.ndarray, scale: float, order: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Gradient (n,) and, at order 2, Hessian (n, n) of ``log_det + tr(J Q_WW) + scale w'Q w``.

        J (r, r), w (w,) and scale are held; J of size 0 leaves its trace out.
        """
        ...


class EliminatedRidge(Eliminated, Protocol):
    """One evaluation of a kind whose Q is the same for all draws of (sigma, Sigma)."""

    @property
    def seconds(self) -> np.ndarray:
        """``d^2 Q / ds dt`` for all pairs of parameters, (n, n, w, w)."""


class EliminatedDraws(NamedTuple):
    """The same for draws: ``log_det`` (draws,) and ``Q`` (draws, w, w), or (1, w, w) where it is one for all.

    ``ridge`` is the evaluation behind a Q that is one for all draws, else None.
    """

    log_det: np.ndarray
    Q: np.ndarray
    ridge: EliminatedRidge | None


class Elimination(ABC):
    """What is eliminated first: it holds the cross-products of the dense columns W.

    Every kind is a dataclass that starts with the arrays of ``ARRAYS``, in this order; what the constructor
    takes beyond is made of the sizes of the terms that are eliminated group by group (:meth:`unflatten`).

    Attributes
    ----------
    gram : (w, w) array
        ``[W Y]'[W Y]``; a kind without it says ``width`` and ``column_squares`` by itself.
    ARRAYS : dict
        Type and number of dimensions of every array.
    log_likelihood : compiled function
        ``(u, plan, arrays) -> value, gradient`` of the marginal log-likelihood, the order-1 engine of samplers:
        ``plan`` and ``arrays`` are those of :class:`pmlmm.kernels.likelihood_compiled.FlatCrossproducts`.
    """

    gram: np.ndarray
    ARRAYS: ClassVar[dict[str, tuple[str, int]]]
    log_likelihood: ClassVar[Callable]

    @abstractmethod
    def eliminate(self, L: np.ndarray, log_lambda: np.ndarray) -> Eliminated:
        """At ``L L'`` and lambda.

        ``L`` (q, q) is the lower factor of the covariance, over sigma^2, of all effects of one group of the
        factor that goes first, and ``log_lambda`` (g,) are the penalties that go first; either may be empty.
        """

    @abstractmethod
    def eliminate_draws(self, L: np.ndarray, log_lambda: np.ndarray) -> EliminatedDraws:
        """The same for L (draws, q, q), without derivatives along L."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number n of parameters."""

    @property
    def width(self) -> int:
        """Number w of columns of ``[W Y]``."""
        return len(self.gram)

    @property
    def column_squares(self) -> np.ndarray:
        """Sums of squares of the columns of ``[W Y]``: (w,)."""
        return np.diag(self.gram)

    def work(self) -> float:
        """Floating-point operations of the loops of one elimination, about; 0 where there is only BLAS."""
        return 0.0

    def flatten(self) -> tuple[np.ndarray, ...]:
        """The arrays, contiguous, of the types in ``ARRAYS``."""
        types = self.ARRAYS.items()
        return tuple(np.ascontiguousarray(getattr(self, name), dtype=dtype) for name, (dtype, _) in types)

    @classmethod
    def unflatten(cls, arrays: tuple[np.ndarray, ...], sizes: tuple[int, ...]) -> Self:
        """Inverse of :meth:`flatten`; ``sizes`` are q of the terms that are eliminated group by group."""
        make: Callable[..., Self] = cls
        return make(*arrays)


def weighted(matrix: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float) -> float:
    """``tr(J matrix_WW) + scale w' matrix w``; J may be of size 0."""
    r = len(J)
    return float(np.sum(J * matrix[:r, :r]) + scale * (w @ matrix @ w))
