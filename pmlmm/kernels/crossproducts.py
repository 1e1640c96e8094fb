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
from numba import njit

# Below this many (design, column) pairs a thread costs more than it saves.
_CHUNK = 4_000


@njit(cache=True, nogil=True, error_model="numpy")
def _factor_design(S: np.ndarray, L: np.ndarray, V: np.ndarray, R: np.ndarray, J: np.ndarray, B: np.ndarray):
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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
        total += weight[d] * _factor_design(S[d], L, V, R, J, B[d])
        for k in range(start[d], start[d + 1]):
            _apply(V, cross[k], T[k])
            _apply(R, cross[k], D[k])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
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
            log_det[s] += weight[d] * _factor_design(S[d], L[s], V, R, J, B)
            for k in range(start[d], start[d + 1]):
                _apply(V, cross[k], T)
                for a in range(q):
                    for u in range(width):
                        for v in range(u + 1):
                            Q[s, u, v] -= T[a, u] * T[a, v]
        for u in range(width):
            for v in range(u):
                Q[s, v, u] = Q[s, u, v]


@njit(cache=True, nogil=True, error_model="numpy")
def _couple_chunk(
    B: np.ndarray,
    weight: np.ndarray,
    start: np.ndarray,
    H: np.ndarray,
    rows: np.ndarray,
    cols: np.ndarray,
    first: int,
    last: int,
    BB: np.ndarray,
    BN: np.ndarray,
):
    """Add the symmetrised sums of B x B and of B x N, N = sum_k H_k H_k', over vech pairs."""
    q, width = H.shape[1], H.shape[2]
    N = np.empty((q, q))
    for d in range(first, last):
        b_ = B[d]
        for i in range(q):
            for j in range(i + 1):
                value = 0.0
                for k in range(start[d], start[d + 1]):
                    for u in range(width):
                        value += H[k, i, u] * H[k, j, u]
                N[i, j] = value
                N[j, i] = value
        for s in range(rows.shape[0]):
            a, b = rows[s], cols[s]
            for t in range(s + 1):
                c, e = rows[t], cols[t]
                BB[s, t] += weight[d] * (b_[a, c] * b_[b, e] + b_[a, e] * b_[b, c])
                BN[s, t] += b_[a, c] * N[b, e] + b_[a, e] * N[b, c] + b_[b, c] * N[a, e] + b_[b, e] * N[a, c]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1)


def _chunks(work: int, items: int) -> list[tuple[int, int]]:
    """Cut ``items`` into ranges; the cut depends on the problem only, so sums are reproducible."""
    number = int(min(items, 16, work // _CHUNK)) or 1
    edges = np.linspace(0, items, number + 1).astype(int)
    return list(itertools.pairwise(edges))


def _each_chunk(function: Callable, chunks: list[tuple[int, int]]):
    if len(chunks) == 1:
        return [function(*chunks[0])]
    return list(_pool().map(lambda chunk: function(*chunk), chunks))


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
    parts = _each_chunk(
        lambda first, last: _reduce_chunk(designs, weights, starts, cross, L, first, last, B, T, D),
        _chunks(len(designs), len(designs)),
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
    _each_chunk(
        lambda first, last: _reduce_draws_chunk(designs, weights, starts, cross, L, first, last, log_det, Q),
        _chunks(len(L) * max(len(cross), 1) // 20, len(L)),
    )
    return log_det, Q


def couple(B: np.ndarray, weights: np.ndarray, starts: np.ndarray, H: np.ndarray, rows: np.ndarray, cols: np.ndarray):
    """Sums over groups that the Hessian needs, as matrices over pairs of vech entries.

    With ``E_s`` the symmetric unit matrix of vech entry ``s = (rows[s], cols[s])``, returns
    ``sum_i tr(B_i E_s B_i E_t)`` and ``sum_i tr(B_i E_s N_i E_t) + tr(N_i E_s B_i E_t)`` where
    ``N_i = H_i H_i'``.
    """
    size = len(rows)

    def chunk(first: int, last: int):
        BB, BN = np.zeros((size, size)), np.zeros((size, size))
        _couple_chunk(B, weights, starts, H, rows, cols, first, last, BB, BN)
        return BB, BN

    parts = _each_chunk(chunk, _chunks(len(B), len(B)))
    scale = np.where(rows == cols, 0.5, 1.0)
    scale = 2.0 * scale[:, None] * scale
    return tuple(scale * _mirror(sum(part[i] for part in parts)) for i in (0, 1))


def _mirror(lower: np.ndarray):
    return lower + np.tril(lower, -1).T
