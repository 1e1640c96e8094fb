"""Random effects of one factor's groups given everything else, for many draws of (sigma, Sigma)."""

import numpy as np

from pmlmm.kernels.jit import kernel
from pmlmm.kernels.small_matrices import factor

# Plain loops over so many effects of a group beat LAPACK's overhead.
_MOST_EFFECTS = 12


def group_factor(S: np.ndarray, L: np.ndarray) -> np.ndarray:
    """Lower factors of ``I + L'S L`` for (..., q, q) arrays, with or without the help of rounding.

    Where the products lose the identity beside them, the triangle of a QR decomposition of ``(I, R L)``, with R'R = S,
    keeps it.
    """
    M = np.eye(S.shape[-1]) + np.swapaxes(L, -1, -2) @ S @ L
    try:
        return np.linalg.cholesky(M)
    except np.linalg.LinAlgError:
        squares, axes = np.linalg.eigh(S)
        half = (np.sqrt(np.maximum(squares, 0.0))[..., None] * np.swapaxes(axes, -1, -2)) @ L
        stacked = np.concatenate([np.broadcast_to(np.eye(S.shape[-1]), half.shape), half], axis=-2)
        upper = np.linalg.qr(stacked, mode="r")
        signs = np.where(np.diagonal(upper, axis1=-2, axis2=-1) < 0.0, -1.0, 1.0)
        return np.swapaxes(upper * signs[..., None], -1, -2)


def conditional_covariances(S: np.ndarray, L: np.ndarray) -> np.ndarray:
    """``L (I + L'S L)^{-1} L'`` for (..., q, q) arrays: the effects' covariance over sigma^2."""
    factor = group_factor(S, L)
    half = np.linalg.solve(factor, np.broadcast_to(np.swapaxes(L, -1, -2), factor.shape))
    return np.swapaxes(half, -1, -2) @ half


def conditional_effects(S: np.ndarray, L: np.ndarray, residual: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Means or draws as :func:`group_effects` has them, (draws, m, q).

    Compiled where groups have few effects, and by the factors that rounding cannot spoil where it has to be.
    """
    if S.shape[-1] <= _MOST_EFFECTS:
        found, proper = group_effects(*map(np.ascontiguousarray, (S, L, residual, noise)))
        if proper:
            return found
    L = L[:, None]
    factor = group_factor(S, L)
    half = np.linalg.solve(factor, np.swapaxes(L, 2, 3) @ residual[..., None])
    if len(noise):
        half += noise[..., None]
    return (L @ np.linalg.solve(np.swapaxes(factor, 2, 3), half))[..., 0]


@kernel
def group_effects(S: np.ndarray, L: np.ndarray, residual: np.ndarray, noise: np.ndarray):
    """``L M^{-T} (M^{-1} L'r + noise)`` with ``M M' = I + L'S L``, and whether every M was found.

    Parameters
    ----------
    S : (m, q, q) array
        ``Z_i'Z_i``.
    L : (draws, q, q) array
        Lower factors of ``Sigma / sigma^2``.
    residual : (draws, m, q) array
        ``Z_i'(y_i - W_i a)``.
    noise : (draws, m, q) array
        sigma times standard normals for draws; with 0 draws means are returned.
    """
    draws, m, q = residual.shape
    result, M, half, T = np.empty((draws, m, q)), np.empty((q, q)), np.empty(q), np.empty((q, q))
    for s in range(draws):
        for i in range(m):
            for a in range(q):
                for b in range(q):
                    T[a, b] = 0.0
                    for k in range(b, q):
                        T[a, b] += S[i, a, k] * L[s, k, b]
            for a in range(q):
                half[a] = 0.0
                for k in range(a, q):
                    half[a] += L[s, k, a] * residual[s, i, k]
                for b in range(q):
                    M[a, b] = 1.0 if a == b else 0.0
                    for k in range(a, q):
                        M[a, b] += L[s, k, a] * T[k, b]
            if not factor(M):
                return result, False
            for a in range(q):
                for k in range(a):
                    half[a] -= M[a, k] * half[k]
                half[a] /= M[a, a]
            if noise.shape[0]:
                for a in range(q):
                    half[a] += noise[s, i, a]
            for a in range(q - 1, -1, -1):
                for k in range(a + 1, q):
                    half[a] -= M[k, a] * half[k]
                half[a] /= M[a, a]
            for a in range(q):
                result[s, i, a] = 0.0
                for k in range(a + 1):
                    result[s, i, a] += L[s, a, k] * half[k]
    return result, True
