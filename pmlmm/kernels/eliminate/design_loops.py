"""What the loops over groups have in common: the factors of one design, couplings of covariances, threads.

Notation of ``docs/mathematics.md``: for one distinct design ``S = Z'Z`` and the relative
covariance ``L L'``::

    M = I + L'S L      V = chol(M)^{-1} L'      J = V'V      R = I - S J      B = R S

and for every cross-product ``c = Z'[W, Y]`` that has this design, ``D = R c``.
"""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from pmlmm.kernels.coordinates import vech_indices
from pmlmm.kernels.jit import kernel

# Below this many (design, column) pairs a thread costs more than it saves.
_CHUNK = 4_000


@kernel
def factor_design(S: np.ndarray, L: np.ndarray, V: np.ndarray, R: np.ndarray, J: np.ndarray, B: np.ndarray):
    """Fill V, R, J, B for one design (all q x q) and return log|M|; needs L lower triangular. O(q^3).

    One function of plain loops, as every function that it called would be compiled by itself in a first fit.
    """
    q = S.shape[0]
    for a in range(q):  # R holds S L
        for b in range(q):
            value = 0.0
            for k in range(b, q):
                value += S[a, k] * L[k, b]
            R[a, b] = value
    for a in range(q):  # the lower triangle of B holds M
        for b in range(a + 1):
            value = 1.0 if a == b else 0.0
            for k in range(a, q):
                value += L[k, a] * R[k, b]
            B[a, b] = value
    log_det = 0.0
    for a in range(q):  # and now chol(M)
        for b in range(a + 1):
            value = B[a, b]
            for k in range(b):
                value -= B[a, k] * B[b, k]
            if a == b:
                B[a, a] = np.sqrt(value)
                log_det += np.log(value)
            else:
                B[a, b] = value / B[b, b]
    for b in range(q):  # V = chol(M)^{-1} L', column by column
        for a in range(q):
            value = L[b, a]
            for k in range(a):
                value -= B[a, k] * V[k, b]
            V[a, b] = value / B[a, a]
    for a in range(q):  # J = V'V
        for b in range(a + 1):
            value = 0.0
            for k in range(q):
                value += V[k, a] * V[k, b]
            J[a, b] = value
            J[b, a] = value
    for a in range(q):  # R = I - S J
        for b in range(q):
            value = 1.0 if a == b else 0.0
            for k in range(q):
                value -= S[a, k] * J[k, b]
            R[a, b] = value
    for a in range(q):  # B = R S, symmetric
        for b in range(a + 1):
            value = 0.0
            for k in range(q):
                value += R[a, k] * S[k, b]
            B[a, b] = value
            B[b, a] = value
    return log_det


@kernel
def mirror_in_place(matrix: np.ndarray):
    """Copy the lower triangle onto the upper one, in place."""
    for u in range(matrix.shape[0]):
        for v in range(u):
            matrix[v, u] = matrix[u, v]


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


def couple(
    B: np.ndarray, weights: np.ndarray, starts: np.ndarray, N: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> np.ndarray:
    """Second derivatives along pairs of vech entries, of what depends on designs and cross-products alone.

    With ``E_s`` the symmetric unit matrix of vech entry ``s = (rows[s], cols[s])``, returns
    ``sum_i tr(B_i E_s N_i E_t) + tr(N_i E_s B_i E_t) - tr(B_i E_s B_i E_t)``. O(D q^4).
    """
    size = len(rows)

    def chunk(first: int, last: int):
        BB, BN = np.zeros((size, size)), np.zeros((size, size))
        _couple_chunk(B, weights, starts, N, rows, cols, first, last, BB, BN)
        return BB, BN

    parts = each_chunk(chunk, chunks(len(B), len(B)))
    BB, BN = (sum(part[i] for part in parts) for i in (0, 1))
    scale = np.where(rows == cols, 0.5, 1.0)
    lower = 2.0 * scale[:, None] * scale * (BN - BB)
    return np.tril(lower) + np.tril(lower, -1).T


def vech_entries(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the vech entries of a block-diagonal matrix, block after block."""
    rows, cols, offset = [np.zeros(0, dtype=int)], [np.zeros(0, dtype=int)], 0
    for q in sizes:
        a, b = vech_indices(q)
        rows.append(offset + a)
        cols.append(offset + b)
        offset += q
    return np.concatenate(rows), np.concatenate(cols)


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
