"""The random effects of one grouping factor, eliminated group by group: cross-products with every column stored.

Groups that share a design are pooled. Per design d, with weight m_d and cross-products k (notation of
:mod:`pmlmm.kernels.eliminate.design_loops`)::

    log_det = sum_d m_d log|M_d|      Q = G - sum_k c_k'J_d c_k = G - sum_k T_k'T_k,   T_k = V_d c_k

along the entries s of the relative covariance, ``dlog_det/ds = sum_d m_d tr(B_d E_s)`` and
``dQ/ds = -sum_k D_k'E_s D_k``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from pmlmm.kernels.eliminate.compiled_steps import eliminate_dense, finish, start
from pmlmm.kernels.eliminate.design_loops import (
    chunks,
    couple,
    each_chunk,
    factor_design,
    mirror_in_place,
    vech_entries,
)
from pmlmm.kernels.eliminate.protocol import EliminatedDraws, Elimination
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.small_matrices import outside


@kernel
def apply(factor: np.ndarray, cross: np.ndarray, out: np.ndarray):
    """out = factor @ cross for a q x q factor and a q x w matrix."""
    q, width = cross.shape
    for a in range(q):
        for u in range(width):
            out[a, u] = 0.0
        for k in range(q):
            scale = factor[a, k]
            for u in range(width):
                out[a, u] += scale * cross[k, u]


@kernel
def _factor_chunk(arrays: tuple, L: np.ndarray, first: int, last: int, B: np.ndarray, T: np.ndarray, D: np.ndarray):
    """Fill B, T = V c, D = R c for the designs first..last-1; return the weighted log|M|."""
    S, weight, start, cross, _ = arrays
    q = L.shape[0]
    V, R, J = np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    total = 0.0
    for d in range(first, last):
        total += weight[d] * factor_design(S[d], L, V, R, J, B[d])
        for k in range(start[d], start[d + 1]):
            apply(V, cross[k], T[k])
            apply(R, cross[k], D[k])
    return total


@kernel
def _draws_chunk(arrays: tuple, L: np.ndarray, first: int, last: int, log_det: np.ndarray, Q: np.ndarray):
    """For the draws first..last-1 of L: log|M| summed over groups, and Q -= sum c'J c."""
    S, weight, start, cross, _ = arrays
    q, width = L.shape[1], cross.shape[2]
    V, R, J, B = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    T = np.empty((q, width))
    for s in range(first, last):
        for d in range(S.shape[0]):
            log_det[s] += weight[d] * factor_design(S[d], L[s], V, R, J, B)
            for k in range(start[d], start[d + 1]):
                apply(V, cross[k], T)
                for a in range(q):
                    for u in range(width):
                        for v in range(u + 1):
                            Q[s, u, v] -= T[a, u] * T[a, v]
        for u in range(width):
            for v in range(u):
                Q[s, v, u] = Q[s, u, v]


@kernel
def _weigh_chunk(D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float, first: int, last: int, N: np.ndarray):
    """Fill N = D_W J D_W' + scale (D w)(D w)' for the cross-products first..last-1."""
    q, width = D.shape[1], D.shape[2]
    r = J.shape[0]
    DJ, e = np.empty((q, r)), np.empty(q)
    for k in range(first, last):
        for a in range(q):
            value = 0.0
            for u in range(width):
                value += D[k, a, u] * w[u]
            e[a] = value
            for v in range(r):
                DJ[a, v] = 0.0
            for u in range(r):
                factor = D[k, a, u]
                for v in range(r):
                    DJ[a, v] += factor * J[u, v]
        for a in range(q):
            for b in range(a + 1):
                value = scale * e[a] * e[b]
                for u in range(r):
                    value += DJ[a, u] * D[k, b, u]
                N[k, a, b] = value
                N[k, b, a] = value


@kernel
def groups_log_likelihood(u: np.ndarray, plan: tuple, arrays: tuple):
    """Value and gradient in u of the marginal log-likelihood."""
    sizes, _, grouped, _, blocks, _, absolute, scalars = plan
    proper, roots, L, log_lambda = start(u, sizes, grouped, absolute)
    if not proper:
        return outside(u)
    S, weight, starts, cross, gram = arrays
    q, width = L.shape[0], gram.shape[0]
    V, R, J, B = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    T, D, Q, total, log_det = np.empty((q, width)), np.empty_like(cross), gram.copy(), np.zeros((q, q)), 0.0
    for d in range(S.shape[0]):  # as for draws; one loop for both would make a first fit compile longer
        log_det += weight[d] * factor_design(S[d], L, V, R, J, B)
        total += weight[d] * B
        for k in range(starts[d], starts[d + 1]):
            apply(V, cross[k], T)
            apply(R, cross[k], D[k])
            for a in range(q):
                for i in range(width):
                    for j in range(i + 1):
                        Q[i, j] -= T[a, i] * T[a, j]
    mirror_in_place(Q)
    dense = eliminate_dense(Q, blocks, roots, log_lambda)
    if not dense.proper:
        return outside(u)
    N = np.empty((cross.shape[0], q, q))
    _weigh_chunk(D, dense.J, dense.w, 1.0 / u[0] ** 2, 0, N.shape[0], N)
    for k in range(N.shape[0]):
        total -= N[k]
    return finish(u, sizes, grouped, blocks, absolute, scalars, roots, dense, log_det, total, np.zeros(u.shape[0]))


class OneFactor(Elimination):
    """What both ways of keeping one factor's cross-products have in common."""

    sizes: tuple[int, ...]

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the covariance entries of all terms."""
        return vech_entries(self.sizes)

    @property
    def parameters(self) -> int:
        return len(self.entries[0])

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As the loops take them."""
        return self.flatten()

    @classmethod
    def unflatten(cls, arrays: tuple[np.ndarray, ...], sizes: tuple[int, ...]) -> Self:
        make: Callable[..., Self] = cls
        return make(*arrays, sizes)


@dataclass(frozen=True, eq=False)
class Groups(OneFactor):
    """Cross-products of one factor's groups, every column of W stored.

    Attributes
    ----------
    designs : (D, q, q) array
        The distinct ``Z_i'Z_i``; ``weights`` (D,) says how many groups have each.
    starts : (D + 1,) int array
        ``cross[starts[d]:starts[d + 1]]`` belongs to design d.
    cross : (K, q, w) array
        ``Z_i'[W, Y]``, pooled within designs.
    gram : (w, w) array
        ``[W, Y]'[W, Y]``.
    sizes : tuple of int
        q of each term on the factor.
    """

    designs: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    cross: np.ndarray
    gram: np.ndarray
    sizes: tuple[int, ...]

    ARRAYS: ClassVar = {
        "designs": ("float64", 3),
        "weights": ("float64", 1),
        "starts": ("int64", 1),
        "cross": ("float64", 3),
        "gram": ("float64", 2),
    }
    log_likelihood: ClassVar = staticmethod(groups_log_likelihood)

    @property
    def design_starts(self) -> np.ndarray:
        """Where the cross-products of each design start."""
        return self.starts

    def eliminate(self, L: np.ndarray, log_lambda: np.ndarray) -> "GroupsEliminated":
        """At the relative covariance ``L L'``: O(D q^3 + K q w (q + w))."""
        B, T, D = np.empty_like(self.designs), np.empty_like(self.cross), np.empty_like(self.cross)
        parts = each_chunk(
            lambda first, last: _factor_chunk(self.arrays, L, first, last, B, T, D),
            chunks(len(B), len(B)),
        )
        rows = T.reshape(-1, self.width) if len(L) else np.empty((0, self.width))
        own = self.weights, self.design_starts, self.entries, self.weigh, self.squares
        return GroupsEliminated(float(sum(parts)), self.gram - rows.T @ rows, B, D, *own)

    def eliminate_draws(self, L: np.ndarray, log_lambda: np.ndarray) -> EliminatedDraws:
        log_det, Q = np.zeros(len(L)), np.repeat(self.gram[None], len(L), axis=0)
        each_chunk(
            lambda first, last: _draws_chunk(self.arrays, L, first, last, log_det, Q),
            chunks(len(L) * max(len(self.cross), 1) // 20, len(L)),
        )
        return EliminatedDraws(log_det, Q, None)

    def work(self) -> float:
        D, q = self.designs.shape[:2]
        return D * (8.0 * q**3 + 100.0) + len(self.cross) * q * self.width * (q + self.width)

    def weigh(self, D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        """``N_k = D_k^W J D_k^W' + scale e_k e_k'`` with ``e_k = D_k w``: (K, q, q).

        ``J`` (r, r) belongs to the columns W, the first ones of D; J of size 0 leaves ``scale e e'``.
        """
        K, q = D.shape[:2]
        N = np.empty((K, q, q))
        each_chunk(
            lambda first, last: _weigh_chunk(D, J, w, scale, first, last, N),
            chunks(K * max(1, len(J) // 4), K),
        )
        return N

    def squares(self, D: np.ndarray) -> np.ndarray:
        """``sum_k D_k'E_s D_k`` for every covariance entry s: (n, w, w)."""
        rows, cols = self.entries
        q, width = D.shape[1:]
        flat = D.reshape(len(D), q * width)
        full = (flat.T @ flat).reshape(q, width, q, width).transpose(0, 2, 1, 3)
        products = full[rows, cols]
        return np.where((rows == cols)[:, None, None], products, products + np.swapaxes(products, 1, 2))


@dataclass(frozen=True, eq=False)
class GroupsEliminated:
    """Groups eliminated at one relative covariance; its parameters are the entries of that, vech by vech.

    ``B`` (D, q, q) of each design, ``D`` of each cross-product; the others are those of a kind of :class:`OneFactor`.
    """

    log_det: float
    Q: np.ndarray
    B: np.ndarray
    D: np.ndarray
    weights: np.ndarray
    design_starts: np.ndarray
    entries: tuple[np.ndarray, np.ndarray]
    weigh: Callable
    squares: Callable

    def derivatives(self, J: np.ndarray, w: np.ndarray, scale: float, order: int):
        rows, cols = self.entries
        N = self.weigh(self.D, J, w, scale)
        total = np.tensordot(self.weights, self.B, axes=1) - N.sum(axis=0)
        gradient = np.where(rows == cols, 1.0, 2.0) * total[rows, cols]
        if order < 2:
            return gradient, None
        return gradient, couple(self.B, self.weights, self.design_starts, N, rows, cols)

    @property
    def slopes(self) -> np.ndarray:
        return -self.squares(self.D)
