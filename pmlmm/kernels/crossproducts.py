"""Loops over groups: the only code whose cost grows with the number of groups.

Notation of ``docs/mathematics.md``: for one distinct design ``S = Z'Z`` and the relative
covariance ``L L'``::

    M = I + L'S L      V = chol(M)^{-1} L'      J = V'V      R = I - S J      B = R S

and for every cross-product ``c = Z'[X, y]`` that has this design, ``D = R c``.
"""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from pmlmm.kernels.jit import kernel

# Below this many (design, column) pairs a thread costs more than it saves.
_CHUNK = 4_000


@kernel
def factor_design(S: np.ndarray, L: np.ndarray, V: np.ndarray, R: np.ndarray, J: np.ndarray, B: np.ndarray):
    """Fill V, R, J, B for one design (all q x q) and return log|M|; needs L lower triangular."""
    q = S.shape[0]
    for a in range(q):
        for b in range(q):
            value = 0.0
            for k in range(b, q):
                value += S[a, k] * L[k, b]
            R[a, b] = value
    for a in range(q):
        for b in range(a + 1):
            value = 1.0 if a == b else 0.0
            for k in range(a, q):
                value += L[k, a] * R[k, b]
            B[a, b] = value
    log_det = 0.0
    for a in range(q):
        for b in range(a + 1):
            value = B[a, b]
            for k in range(b):
                value -= B[a, k] * B[b, k]
            if a == b:
                B[a, a] = np.sqrt(value)
                log_det += np.log(value)
            else:
                B[a, b] = value / B[b, b]
    for b in range(q):
        for a in range(q):
            value = L[b, a]
            for k in range(a):
                value -= B[a, k] * V[k, b]
            V[a, b] = value / B[a, a]
    for a in range(q):
        for b in range(a + 1):
            value = 0.0
            for k in range(q):
                value += V[k, a] * V[k, b]
            J[a, b] = value
            J[b, a] = value
    for a in range(q):
        for b in range(q):
            value = 1.0 if a == b else 0.0
            for k in range(q):
                value -= S[a, k] * J[k, b]
            R[a, b] = value
    for a in range(q):
        for b in range(a + 1):
            value = 0.0
            for k in range(q):
                value += R[a, k] * S[k, b]
            B[a, b] = value
            B[b, a] = value
    return log_det


@kernel
def _apply(factor: np.ndarray, cross: np.ndarray, out: np.ndarray):
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
def _reduce_chunk(
    S: np.ndarray,
    weight: np.ndarray,
    start: np.ndarray,
    cross: np.ndarray,
    L: np.ndarray,
    first: int,
    last: int,
    B: np.ndarray,
    T: np.ndarray,
    D: np.ndarray,
):
    """Fill B, T = V c, D = R c for the designs first..last-1; return the weighted log|M|."""
    q = L.shape[0]
    V, R, J = np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    total = 0.0
    for d in range(first, last):
        total += weight[d] * factor_design(S[d], L, V, R, J, B[d])
        for k in range(start[d], start[d + 1]):
            _apply(V, cross[k], T[k])
            _apply(R, cross[k], D[k])
    return total


@kernel
def _reduce_draws_chunk(
    S: np.ndarray,
    weight: np.ndarray,
    start: np.ndarray,
    cross: np.ndarray,
    L: np.ndarray,
    first: int,
    last: int,
    log_det: np.ndarray,
    Q: np.ndarray,
):
    """For the draws first..last-1 of L: log|M| summed over groups, and Q -= sum c'J c."""
    q, width = L.shape[1], cross.shape[2]
    V, R, J, B = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    T = np.empty((q, width))
    for s in range(first, last):
        for d in range(S.shape[0]):
            log_det[s] += weight[d] * factor_design(S[d], L[s], V, R, J, B)
            for k in range(start[d], start[d + 1]):
                _apply(V, cross[k], T)
                for a in range(q):
                    for u in range(width):
                        for v in range(u + 1):
                            Q[s, u, v] -= T[a, u] * T[a, v]
        for u in range(width):
            for v in range(u):
                Q[s, v, u] = Q[s, u, v]


@kernel
def _couple_chunk(
    B: np.ndarray,
    weight: np.ndarray,
    start: np.ndarray,
    N: np.ndarray,
    rows: np.ndarray,
    cols: np.ndarray,
    first: int,
    last: int,
    BB: np.ndarray,
    BN: np.ndarray,
):
    """Add the symmetrised sums of B x B and of B x N over vech pairs, N summed within designs."""
    q = N.shape[1]
    n_ = np.empty((q, q))
    for d in range(first, last):
        b_ = B[d]
        n_[:] = 0.0
        for k in range(start[d], start[d + 1]):
            n_ += N[k]
        for s in range(rows.shape[0]):
            a, b = rows[s], cols[s]
            for t in range(s + 1):
                c, e = rows[t], cols[t]
                BB[s, t] += weight[d] * (b_[a, c] * b_[b, e] + b_[a, e] * b_[b, c])
                BN[s, t] += b_[a, c] * n_[b, e] + b_[a, e] * n_[b, c] + b_[b, c] * n_[a, e] + b_[b, e] * n_[a, c]


@kernel
def _weigh_chunk(D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float, first: int, last: int, N: np.ndarray):
    """Fill N = D_X J D_X' + scale (D w)(D w)' for the cross-products first..last-1."""
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
def mirror_in_place(matrix: np.ndarray):
    """Copy the lower triangle onto the upper one, in place."""
    for u in range(matrix.shape[0]):
        for v in range(u):
            matrix[v, u] = matrix[u, v]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1)


if hasattr(os, "register_at_fork"):  # a forked process has the pool, but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def chunks(work: int, items: int) -> list[tuple[int, int]]:
    """Cut ``items`` into ranges; the cut depends on the problem only, so sums are reproducible."""
    number = int(min(items, 16, work // _CHUNK)) or 1
    edges = np.linspace(0, items, number + 1).astype(int)
    return list(itertools.pairwise(edges))


def each_chunk(function: Callable, ranges: list[tuple[int, int]]):
    """Call ``function(first, last)`` for every range, on all cores."""
    if len(ranges) == 1:
        return [function(*ranges[0])]
    return list(_pool().map(lambda pair: function(*pair), ranges))


def reduce(
    designs: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    cross: np.ndarray,
    gram: np.ndarray,
    L: np.ndarray,
):
    """Eliminate the random effects at one relative covariance ``L L'``.

    Parameters
    ----------
    designs : (D, q, q) array
        The distinct ``Z_i'Z_i``.
    weights : (D,) array
        How many groups have each design.
    starts : (D + 1,) int array
        ``cross[starts[d]:starts[d + 1]]`` belongs to design d.
    cross : (K, q, w) array
        Cross-products ``Z_i'[X, y]``, pooled within designs.
    gram : (w, w) array
        ``[X, y]'[X, y]``.
    L : (q, q) array
        Lower Cholesky factor of the covariance of the random effects, divided by sigma^2.

    Returns
    -------
    log_det : float
        ``sum_i log|I + L'S_i L|``.
    Q : (w, w) array
        ``gram - sum_i c_i' J_i c_i``.
    B, D : arrays
        ``B_i`` for each design and ``D_i`` for each cross-product.
    """
    q, width = L.shape[0], gram.shape[0]
    B, T, D = np.empty_like(designs), np.empty_like(cross), np.empty_like(cross)
    parts = each_chunk(
        lambda first, last: _reduce_chunk(designs, weights, starts, cross, L, first, last, B, T, D),
        chunks(len(designs), len(designs)),
    )
    rows = T.reshape(-1, width) if q else np.empty((0, width))
    return float(sum(parts)), gram - rows.T @ rows, B, D


def reduce_draws(
    designs: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    cross: np.ndarray,
    gram: np.ndarray,
    L: np.ndarray,
):
    """``log_det`` (draws,) and ``Q`` (draws, w, w) of :func:`reduce` for L of shape (draws, q, q)."""
    log_det = np.zeros(len(L))
    Q = np.repeat(gram[None], len(L), axis=0)
    each_chunk(
        lambda first, last: _reduce_draws_chunk(designs, weights, starts, cross, L, first, last, log_det, Q),
        chunks(len(L) * max(len(cross), 1) // 20, len(L)),
    )
    return log_det, Q


def weigh(D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
    """``N_k = D_k^X J D_k^X' + scale e_k e_k'`` with ``e_k = D_k w``: (K, q, q).

    ``J`` (r, r) belongs to the columns of X, the first ones of D; J of size 0 leaves ``scale e e'``.
    """
    K, q = D.shape[:2]
    N = np.empty((K, q, q))
    each_chunk(
        lambda first, last: _weigh_chunk(D, J, w, scale, first, last, N),
        chunks(K * max(1, len(J) // 4), K),
    )
    return N


def design_products(D: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """``sum_k D_k' E_s D_k`` for every vech entry s: (nv, w, w)."""
    q, width = D.shape[1:]
    flat = D.reshape(len(D), q * width)
    full = (flat.T @ flat).reshape(q, width, q, width).transpose(0, 2, 1, 3)
    products = full[rows, cols]
    return np.where((rows == cols)[:, None, None], products, products + np.swapaxes(products, 1, 2))


def couple(B: np.ndarray, weights: np.ndarray, starts: np.ndarray, N: np.ndarray, rows: np.ndarray, cols: np.ndarray):
    """Sums over groups that the Hessian needs, as matrices over pairs of vech entries.

    With ``E_s`` the symmetric unit matrix of vech entry ``s = (rows[s], cols[s])``, returns
    ``sum_i tr(B_i E_s B_i E_t)`` and ``sum_i tr(B_i E_s N_i E_t) + tr(N_i E_s B_i E_t)``.
    """
    size = len(rows)

    def chunk(first: int, last: int):
        BB, BN = np.zeros((size, size)), np.zeros((size, size))
        _couple_chunk(B, weights, starts, N, rows, cols, first, last, BB, BN)
        return BB, BN

    parts = each_chunk(chunk, chunks(len(B), len(B)))
    scale = np.where(rows == cols, 0.5, 1.0)
    scale = 2.0 * scale[:, None] * scale
    return tuple(scale * mirror(sum(part[i] for part in parts)) for i in (0, 1))


def mirror(lower: np.ndarray):
    """The symmetric matrix with this lower triangle."""
    return np.tril(lower) + np.tril(lower, -1).T
