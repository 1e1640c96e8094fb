"""Small dense matrices in compiled code, where calling LAPACK would take longer than the work."""

import numpy as np

from pmlmm.kernels.jit import kernel

# Up to so many columns plain loops beat LAPACK's overhead.
_SMALL = 12


@kernel
def factor(P: np.ndarray):
    """Lower Cholesky factor in place, zeros above; whether P is finite and positive definite."""
    n = P.shape[0]
    if n <= _SMALL:
        for a in range(n):
            for b in range(a + 1):
                value = P[a, b]
                for k in range(b):
                    value -= P[a, k] * P[b, k]
                if a != b:
                    P[a, b] = value / P[b, b]
                elif 0.0 < value < np.inf:
                    P[a, a] = np.sqrt(value)
                else:
                    return False
            P[a, a + 1 :] = 0.0
        return True
    if not np.isfinite(P).all():
        return False
    try:
        P[:] = np.linalg.cholesky(P)
    except Exception:
        return False
    return True


@kernel
def inverse_factor(chol: np.ndarray):
    """Inverse of a lower triangular matrix."""
    n = chol.shape[0]
    if n > _SMALL:
        return np.ascontiguousarray(np.linalg.inv(chol))
    inverse = np.zeros((n, n))
    for b in range(n):
        inverse[b, b] = 1.0 / chol[b, b]
        for a in range(b + 1, n):
            value = 0.0
            for k in range(b, a):
                value -= chol[a, k] * inverse[k, b]
            inverse[a, b] = value / chol[a, a]
    return inverse


@kernel
def root_gram(root: np.ndarray):
    """``root' root``."""
    n = root.shape[0]
    if n > _SMALL:
        return root.T @ root
    result = np.zeros((n, n))
    for k in range(n):
        for a in range(n):
            for b in range(n):
                result[a, b] += root[k, a] * root[k, b]
    return result


@kernel
def congruence(root: np.ndarray, T: np.ndarray):
    """``root' T root`` of small matrices."""
    q = root.shape[0]
    half, result = np.zeros((q, q)), np.zeros((q, q))
    for a in range(q):
        for b in range(q):
            for k in range(q):
                half[a, b] += T[a, k] * root[k, b]
    for a in range(q):
        for b in range(q):
            for k in range(q):
                result[a, b] += root[k, a] * half[k, b]
    return result


@kernel
def outside(u: np.ndarray):
    """Value and gradient where there is no density."""
    return -np.inf, np.full(u.shape[0], np.nan)
