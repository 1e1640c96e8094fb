"""The random effects of one grouping factor, each group with the columns of W that it touches.

With several grouping factors most columns of W belong to levels that a given group never meets. A
group then keeps only the columns that it touches: entries ``starts[i]:starts[i + 1]`` of ``columns``
(ascending) and of ``cross`` (entries, q), one row per column of ``c_i = Z_i'[W, Y]``. The formulas are
those of :mod:`pmlmm.kernels.eliminate.groups`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from pmlmm.kernels.eliminate.compiled_steps import eliminate_dense, finish, start
from pmlmm.kernels.eliminate.design_loops import chunks, each_chunk, factor_design, mirror_in_place
from pmlmm.kernels.eliminate.groups import GroupsEliminated, OneFactor
from pmlmm.kernels.eliminate.protocol import EliminatedDraws
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.small_matrices import outside


@kernel
def _apply_rows(factor: np.ndarray, cross: np.ndarray, first: int, last: int, out: np.ndarray, at: int):
    """out[at + k] = factor @ cross[first + k] for every entry k of one group."""
    q = factor.shape[0]
    for k in range(last - first):
        for a in range(q):
            value = 0.0
            for b in range(q):
                value += factor[a, b] * cross[first + k, b]
            out[at + k, a] = value


@kernel
def _eliminate(arrays: tuple, L: np.ndarray, B: np.ndarray, D: np.ndarray, Q: np.ndarray, keep: bool):
    """Subtract c'J c from Q; fill B and D if ``keep``; return the sum of log|M|."""
    S, start, columns, cross, _ = arrays
    q = L.shape[0]
    V, R, J, b_ = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    widest = 0
    for i in range(S.shape[0]):
        widest = max(widest, start[i + 1] - start[i])
    T = np.empty((widest, q))
    log_det = 0.0
    for i in range(S.shape[0]):
        log_det += factor_design(S[i], L, V, R, J, b_)
        first, last = start[i], start[i + 1]
        _apply_rows(V, cross, first, last, T, 0)
        if keep:
            B[i] = b_
            _apply_rows(R, cross, first, last, D, first)
        for k in range(last - first):
            u = columns[first + k]
            for j in range(k + 1):
                value = 0.0
                for a in range(q):
                    value += T[k, a] * T[j, a]
                Q[u, columns[first + j]] -= value
    mirror_in_place(Q)
    return log_det


@kernel
def _draws_chunk(arrays: tuple, L: np.ndarray, first: int, last: int, log_det: np.ndarray, Q: np.ndarray):
    """For the draws first..last-1 of L: log|M| summed over groups, and Q -= sum c'J c."""
    empty3, empty2 = np.empty((0, 0, 0)), np.empty((0, 0))
    for s in range(first, last):
        log_det[s] = _eliminate(arrays, L[s], empty3, empty2, Q[s], False)


@kernel
def _weigh_chunk(
    start: np.ndarray,
    columns: np.ndarray,
    D: np.ndarray,
    J: np.ndarray,
    w: np.ndarray,
    scale: float,
    first: int,
    last: int,
    N: np.ndarray,
):
    """Fill N = D_W J D_W' + scale (D w)(D w)' for the groups first..last-1."""
    q, r = D.shape[1], J.shape[0]
    JD, e = np.empty(q), np.empty(q)
    for i in range(first, last):
        e[:] = 0.0
        N[i] = 0.0
        for k in range(start[i], start[i + 1]):
            u = columns[k]
            for a in range(q):
                e[a] += D[k, a] * w[u]
            if u >= r:
                continue
            JD[:] = 0.0
            for j in range(start[i], start[i + 1]):
                if columns[j] >= r:
                    break
                for b in range(q):
                    JD[b] += J[u, columns[j]] * D[j, b]
            for a in range(q):
                for b in range(q):
                    N[i, a, b] += D[k, a] * JD[b]
        for a in range(q):
            for b in range(q):
                N[i, a, b] += scale * e[a] * e[b]


@kernel
def _add_squares(
    start: np.ndarray, columns: np.ndarray, D: np.ndarray, rows: np.ndarray, cols: np.ndarray, out: np.ndarray
):
    """Add D' E_s D to out[s] for every group and every vech entry s."""
    for i in range(start.shape[0] - 1):
        for k in range(start[i], start[i + 1]):
            u = columns[k]
            for j in range(start[i], k + 1):
                v = columns[j]
                for s in range(rows.shape[0]):
                    a, b = rows[s], cols[s]
                    value = D[k, a] * D[j, b]
                    if a != b:
                        value += D[k, b] * D[j, a]
                    out[s, u, v] += value
    for s in range(rows.shape[0]):
        mirror_in_place(out[s])


@kernel
def sparse_groups_log_likelihood(u: np.ndarray, plan: tuple, arrays: tuple):
    """Value and gradient in u of the marginal log-likelihood."""
    sizes, _, grouped, _, blocks, _, absolute, scalars = plan
    proper, roots, L, log_lambda = start(u, sizes, grouped, absolute)
    if not proper:
        return outside(u)
    designs, starts, columns, cross, gram = arrays
    B, D, Q = np.empty_like(designs), np.empty_like(cross), gram.copy()
    log_det = _eliminate(arrays, L, B, D, Q, True)
    dense = eliminate_dense(Q, blocks, roots, log_lambda)
    if not dense.proper:
        return outside(u)
    N = np.empty_like(designs)
    _weigh_chunk(starts, columns, D, dense.J, dense.w, 1.0 / u[0] ** 2, 0, designs.shape[0], N)
    total = np.zeros(L.shape)
    for i in range(designs.shape[0]):
        total += B[i] - N[i]
    return finish(u, sizes, grouped, blocks, absolute, scalars, roots, dense, log_det, total, np.zeros(u.shape[0]))


@dataclass(frozen=True, eq=False)
class SparseGroups(OneFactor):
    """Cross-products of one factor's groups, each with the columns of W that it touches.

    ``columns`` (entries,) and ``cross`` (entries, q) as the module says; the other attributes are those of
    :class:`pmlmm.kernels.eliminate.groups.Groups`, with one design per group.
    """

    designs: np.ndarray
    starts: np.ndarray
    columns: np.ndarray
    cross: np.ndarray
    gram: np.ndarray
    sizes: tuple[int, ...]

    ARRAYS: ClassVar = {
        "designs": ("float64", 3),
        "starts": ("int64", 1),
        "columns": ("int64", 1),
        "cross": ("float64", 2),
        "gram": ("float64", 2),
    }
    log_likelihood: ClassVar = staticmethod(sparse_groups_log_likelihood)

    @cached_property
    def weights(self) -> np.ndarray:
        """How many groups have each design."""
        return np.ones(len(self.designs))

    @cached_property
    def design_starts(self) -> np.ndarray:
        """Where the groups of each design start."""
        return np.arange(len(self.designs) + 1)

    def eliminate(self, L: np.ndarray, log_lambda: np.ndarray) -> GroupsEliminated:
        """At the relative covariance ``L L'``: O(m q^3 + q sum of squared numbers of columns touched)."""
        B, D, Q = np.empty_like(self.designs), np.empty_like(self.cross), self.gram.copy()
        own = self.weights, self.design_starts, self.entries, self.weigh, self.squares
        return GroupsEliminated(float(_eliminate(self.arrays, L, B, D, Q, True)), Q, B, D, *own)

    def eliminate_draws(self, L: np.ndarray, log_lambda: np.ndarray) -> EliminatedDraws:
        log_det, Q = np.zeros(len(L)), np.repeat(self.gram[None], len(L), axis=0)
        each_chunk(
            lambda first, last: _draws_chunk(self.arrays, L, first, last, log_det, Q),
            chunks(len(L) * max(len(self.cross), 1), len(L)),
        )
        return EliminatedDraws(log_det, Q, None)

    def work(self) -> float:
        m, q = self.designs.shape[:2]
        return m * (8.0 * q**3 + 100.0) + 2.0 * q * float(np.sum(np.diff(self.starts) ** 2.0))

    def products(self, weights: np.ndarray) -> np.ndarray:
        """``c_i w`` of each group for rows w of ``weights`` (k, w): (k, m, q)."""
        m, q = self.designs.shape[:2]
        shape = (m, len(self.gram))
        effects = [csr_array((self.cross[:, a], self.columns, self.starts), shape=shape) for a in range(q)]
        return np.stack([(matrix @ weights.T).T for matrix in effects], axis=-1)

    def weigh(self, D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        """``N_i = D_i^W J D_i^W' + scale e_i e_i'`` with ``e_i = D_i w``, J of the columns W: (m, q, q)."""
        N = np.empty_like(self.designs)
        each_chunk(
            lambda first, last: _weigh_chunk(self.starts, self.columns, D, J, w, scale, first, last, N),
            chunks(len(self.columns), len(N)),
        )
        return N

    def squares(self, D: np.ndarray) -> np.ndarray:
        """``sum_i D_i'E_s D_i`` for every covariance entry s: (n, w, w)."""
        out = np.zeros((self.parameters, self.width, self.width))
        _add_squares(self.starts, self.columns, D, *self.entries, out)
        return out
