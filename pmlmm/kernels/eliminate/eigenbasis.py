"""One penalty group, eliminated in the eigenbasis of ``X X'``.

With eigenvalues ``d_j^2`` of ``X X'`` and ``C = U'[W, Y]``, U its eigenvectors::

    shrunk_j = d_j^2 / (lambda + d_j^2)      Q = G - C' diag(shrunk) C      log_det = sum_j log(1 + d_j^2 / lambda)

The parameter is log lambda, along which ``shrunk' = -shrunk (1 - shrunk)``.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from pmlmm.kernels.eliminate.compiled_steps import eliminate_dense, finish, start
from pmlmm.kernels.eliminate.protocol import EliminatedDraws, Elimination, weighted
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.layout import RESPONSES
from pmlmm.kernels.remember import Last
from pmlmm.kernels.small_matrices import outside


@kernel
def eigenbasis_log_likelihood(u: np.ndarray, plan: tuple, arrays: tuple):
    """Value and gradient in u of the marginal log-likelihood."""
    sizes, _, grouped, ridges, blocks, _, absolute, scalars = plan
    proper, roots, none, log_lambda = start(u, sizes, grouped, absolute)
    if not proper:
        return outside(u)
    squares, projected, gram = arrays
    group = ridges[0]
    excess = squares * np.exp(-log_lambda[group])
    shrunk = excess / (1.0 + excess)
    Q = gram - np.ascontiguousarray(projected.T) @ (projected * shrunk.reshape(-1, 1))
    dense = eliminate_dense(Q, blocks, roots, log_lambda)
    if not dense.proper:
        return outside(u)
    effects = np.ascontiguousarray(projected[:, : gram.shape[0] - RESPONSES])
    quadratic = np.sum((effects @ dense.J) * effects, axis=1) + (projected @ dense.w) ** 2 / u[0] ** 2
    inner = np.zeros(u.shape[0])
    inner[u.shape[0] - log_lambda.shape[0] + group] = np.sum(shrunk * (1.0 - shrunk) * quadratic - shrunk)
    return finish(u, sizes, grouped, blocks, absolute, scalars, roots, dense, np.sum(np.log1p(excess)), none, inner)


@dataclass(frozen=True, eq=False)
class EigenbasisRidge(Elimination):
    """Cross-products of the dense columns in the eigenbasis of one penalty group.

    Attributes
    ----------
    squares : (rank,) array
        Eigenvalues of ``X X'``.
    projected : (rank, w) array
        ``U'[W, Y]``, U the eigenvectors.
    gram : (w, w) array
        ``[W, Y]'[W, Y]``.
    """

    squares: np.ndarray
    projected: np.ndarray
    gram: np.ndarray
    _last: Last = field(default_factory=Last, init=False, repr=False)

    ARRAYS: ClassVar = {"squares": ("float64", 1), "projected": ("float64", 2), "gram": ("float64", 2)}
    log_likelihood: ClassVar = staticmethod(eigenbasis_log_likelihood)
    parameters: ClassVar = 1

    def eliminate(self, L: np.ndarray, log_lambda: np.ndarray) -> "EigenbasisEliminated":
        """At one lambda, ``log_lambda`` (1,): O(rank w^2). The last one is remembered."""
        value = float(log_lambda[0])
        last = self._last.find(value)
        if last is None:
            excess = self.squares * np.exp(-value)
            at = EigenbasisEliminated(excess / (1.0 + excess), float(np.sum(np.log1p(excess))), self)
            last = self._last.keep(at, value)
        return last

    def eliminate_draws(self, L: np.ndarray, log_lambda: np.ndarray) -> EliminatedDraws:
        at = self.eliminate(L, log_lambda)
        return EliminatedDraws(np.full(len(L), at.log_det), at.Q[None], at)


@dataclass(eq=False)
class EigenbasisEliminated:
    """``shrunk = d^2 / (lambda + d^2)``; the parameter is log lambda."""

    shrunk: np.ndarray
    log_det: float
    source: EigenbasisRidge

    @cached_property
    def Q(self) -> np.ndarray:
        return self.source.gram - self._projected(self.shrunk)

    def derivatives(self, J: np.ndarray, w: np.ndarray, scale: float, order: int):
        s = self.shrunk
        gradient = np.array([weighted(self.slopes[0], J, w, scale) - np.sum(s)])
        if order < 2:
            return gradient, None
        return gradient, np.array([[weighted(self.seconds[0, 0], J, w, scale) + np.sum(s * (1.0 - s))]])

    def _projected(self, weights: np.ndarray) -> np.ndarray:
        """``C' diag(weights) C``."""
        C = self.source.projected
        return (C.T * weights) @ C

    @cached_property
    def slopes(self) -> np.ndarray:
        s = self.shrunk
        return self._projected(s * (1.0 - s))[None]

    @cached_property
    def seconds(self) -> np.ndarray:
        s = self.shrunk
        return self._projected(s * (1.0 - s) * (2.0 * s - 1.0))[None, None]
