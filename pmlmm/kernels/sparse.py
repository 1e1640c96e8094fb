"""The loops of :mod:`pmlmm.kernels.crossproducts` for cross-products that touch few columns.

With several grouping factors most columns of W belong to levels that a given group never meets. A
group then keeps only the columns that it touches: entries ``starts[i]:starts[i + 1]`` of ``columns``
(ascending) and of ``cross`` (entries, q), one row a column of ``c_i = Z_i'[W, y]``.
"""

import numpy as np

from pmlmm.kernels.crossproducts import chunks, each_chunk, factor_design, mirror_in_place
from pmlmm.kernels.jit import kernel


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
def _reduce(
    S: np.ndarray,
    start: np.ndarray,
    columns: np.ndarray,
    cross: np.ndarray,
    L: np.ndarray,
    B: np.ndarray,
    D: np.ndarray,
    Q: np.ndarray,
    keep: bool,
):
    """Subtract c'J c from the lower triangle of Q; fill B and D if ``keep``; return the sum of log|M|."""
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
    return log_det


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
    """Fill N = D_X J D_X' + scale (D w)(D w)' for the groups first..last-1."""
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
def _design_products(
    start: np.ndarray, columns: np.ndarray, D: np.ndarray, rows: np.ndarray, cols: np.ndarray, out: np.ndarray
):
    """Add D' E_s D to the lower triangle of out[s] for every group and every vech entry s."""
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


@kernel
def _reduce_draws_chunk(
    S: np.ndarray,
    start: np.ndarray,
    columns: np.ndarray,
    cross: np.ndarray,
    L: np.ndarray,
    first: int,
    last: int,
    log_det: np.ndarray,
    Q: np.ndarray,
):
    empty3, empty2 = np.empty((0, 0, 0)), np.empty((0, 0))
    for s in range(first, last):
        log_det[s] = _reduce(S, start, columns, cross, L[s], empty3, empty2, Q[s], False)
        mirror_in_place(Q[s])


def reduce(
    designs: np.ndarray, starts: np.ndarray, columns: np.ndarray, cross: np.ndarray, gram: np.ndarray, L: np.ndarray
):
    """``log_det``, ``Q``, ``B``, ``D`` as :func:`pmlmm.kernels.crossproducts.reduce` has them; D like ``cross``."""
    B, D, Q = np.empty_like(designs), np.empty_like(cross), gram.copy()
    log_det = _reduce(designs, starts, columns, cross, L, B, D, Q, True)
    mirror_in_place(Q)
    return float(log_det), Q, B, D


def reduce_draws(
    designs: np.ndarray, starts: np.ndarray, columns: np.ndarray, cross: np.ndarray, gram: np.ndarray, L: np.ndarray
):
    """``log_det`` (draws,) and ``Q`` (draws, w, w) of :func:`reduce` for L of shape (draws, q, q)."""
    log_det, Q = np.zeros(len(L)), np.repeat(gram[None], len(L), axis=0)
    each_chunk(
        lambda first, last: _reduce_draws_chunk(designs, starts, columns, cross, L, first, last, log_det, Q),
        chunks(len(L) * max(len(cross), 1), len(L)),
    )
    return log_det, Q


def weigh(starts: np.ndarray, columns: np.ndarray, D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float):
    """``N_i = D_i^X J D_i^X' + scale e_i e_i'`` with ``e_i = D_i w``, J of the first r columns: (m, q, q)."""
    m, q = len(starts) - 1, D.shape[1]
    N = np.empty((m, q, q))
    each_chunk(
        lambda first, last: _weigh_chunk(starts, columns, D, J, w, scale, first, last, N),
        chunks(len(columns), m),
    )
    return N


def design_products(
    starts: np.ndarray, columns: np.ndarray, D: np.ndarray, rows: np.ndarray, cols: np.ndarray, width: int
) -> np.ndarray:
    """``sum_i D_i' E_s D_i`` for every vech entry s: (nv, width, width)."""
    out = np.zeros((len(rows), width, width))
    _design_products(starts, columns, D, rows, cols, out)
    for matrix in out:
        mirror_in_place(matrix)
    return out
