"""Several penalty groups, eliminated together through their kernels, n x n for n rows.

With ``F_g = X_g X_g' / lambda_g`` and ``K = I + sum_g F_g``::

    Q = [W Y]'K^{-1}[W Y]      log_det = log|K|      dK / dlog lambda_g = -F_g

The parameters are log lambda of the groups.
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
from pmlmm.kernels.small_matrices import factor, inverse_factor, outside, root_gram


@kernel
def row_kernels_log_likelihood(u: np.ndarray, plan: tuple, arrays: tuple):
    """Value and gradient in u of the marginal log-likelihood."""
    sizes, _, grouped, ridges, blocks, _, absolute, scalars = plan
    proper, roots, none, log_lambda = start(u, sizes, grouped, absolute)
    if not proper:
        return outside(u)
    kernels, rows = arrays
    groups, K = ridges, np.eye(rows.shape[0])
    for g in range(groups.shape[0]):
        K += kernels[g] * np.exp(-log_lambda[groups[g]])
    if not factor(K):
        return outside(u)
    log_det = 2.0 * np.sum(np.log(np.diag(K)))
    K_inverse = root_gram(inverse_factor(K))
    solved = K_inverse @ rows
    Q = np.ascontiguousarray(rows.T) @ solved
    dense = eliminate_dense(Q, blocks, roots, log_lambda)
    if not dense.proper:
        return outside(u)
    effects = np.ascontiguousarray(solved[:, : Q.shape[0] - RESPONSES])
    residual, inner = solved @ dense.w, np.zeros(u.shape[0])
    weight = effects @ dense.J @ np.ascontiguousarray(effects.T) - K_inverse
    weight += residual.reshape(-1, 1) * residual.reshape(1, -1) / u[0] ** 2
    for g in range(groups.shape[0]):
        at = u.shape[0] - log_lambda.shape[0] + groups[g]
        inner[at] = np.exp(-log_lambda[groups[g]]) * np.sum(kernels[g] * weight)
    return finish(u, sizes, grouped, blocks, absolute, scalars, roots, dense, log_det, none, inner)


@dataclass(frozen=True, eq=False)
class RowKernelRidge(Elimination):
    """The rows of the dense columns, and the kernels of several penalty groups.

    Attributes
    ----------
    kernels : (g, n, n) array
        ``X_g X_g'`` of each group.
    rows : (n, w) array
        ``[W, Y]``.
    """

    kernels: np.ndarray
    rows: np.ndarray
    _last: Last = field(default_factory=Last, init=False, repr=False)

    ARRAYS: ClassVar = {"kernels": ("float64", 3), "rows": ("float64", 2)}
    log_likelihood: ClassVar = staticmethod(row_kernels_log_likelihood)

    @property
    def parameters(self) -> int:
        return len(self.kernels)

    def eliminate(self, L: np.ndarray, log_lambda: np.ndarray) -> "RowKernelsEliminated":
        """At one lambda per group, ``log_lambda`` (g,): O(n^3). The last ones are remembered."""
        last = self._last.find(log_lambda)
        if last is None:
            scaled = self.kernels * np.exp(-log_lambda)[:, None, None]
            last = self._last.keep(RowKernelsEliminated(scaled, self.rows), log_lambda)
        return last

    def eliminate_draws(self, L: np.ndarray, log_lambda: np.ndarray) -> EliminatedDraws:
        at = self.eliminate(L, log_lambda)
        return EliminatedDraws(np.full(len(L), at.log_det), at.Q[None], at)

    @property
    def width(self) -> int:
        return self.rows.shape[1]

    @property
    def column_squares(self) -> np.ndarray:
        return np.sum(self.rows**2, axis=0)


@dataclass(eq=False)
class RowKernelsEliminated:
    """``K = I + sum_g scaled_g``; the parameters are log lambda of the groups."""

    scaled: np.ndarray
    rows: np.ndarray

    @cached_property
    def inverse(self) -> np.ndarray:
        """``K^{-1}``."""
        return np.linalg.inv(np.eye(len(self.rows)) + self.scaled.sum(axis=0))

    @cached_property
    def log_det(self) -> float:
        return -float(np.linalg.slogdet(self.inverse)[1])

    @cached_property
    def _solved(self) -> np.ndarray:
        return self.inverse @ self.rows

    @cached_property
    def Q(self) -> np.ndarray:
        Q = self.rows.T @ self._solved
        return 0.5 * (Q + Q.T)

    def derivatives(self, J: np.ndarray, w: np.ndarray, scale: float, order: int):
        traces = np.trace(self._shares, axis1=1, axis2=2)
        gradient = np.array([weighted(slope, J, w, scale) for slope in self.slopes]) - traces
        if order < 2:
            return gradient, None
        curved = [[weighted(second, J, w, scale) for second in row] for row in self.seconds]
        return gradient, np.array(curved) + self._log_det_curvature

    @cached_property
    def _shares(self) -> np.ndarray:
        """``K^{-1} scaled_g``: (g, n, n)."""
        return self.inverse @ self.scaled

    @cached_property
    def slopes(self) -> np.ndarray:
        return self._solved.T @ self.scaled @ self._solved

    @cached_property
    def seconds(self) -> np.ndarray:
        moved = self.scaled @ self._solved
        cross = np.einsum("gnu,nk,hkv->ghuv", moved, self.inverse, moved, optimize=True)
        seconds = cross + np.swapaxes(cross, 2, 3)
        for g, slope in enumerate(self.slopes):
            seconds[g, g] -= slope
        return seconds

    @cached_property
    def _log_det_curvature(self) -> np.ndarray:
        shares = self._shares
        curvature = -np.tensordot(shares, shares, axes=([1, 2], [2, 1]))
        return curvature + np.diag(np.trace(shares, axis1=1, axis2=2))
