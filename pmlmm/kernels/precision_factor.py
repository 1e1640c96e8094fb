"""The Cholesky factor of a precision from unconstrained coordinates, compiled."""

import numpy as np

from pmlmm.kernels.jit import kernel


@kernel
def lower_factor(x: np.ndarray, at: int, q: int):
    """C from its entries in x, which start at ``at``."""
    C = np.zeros((q, q))
    for a in range(q):
        for b in range(a + 1):
            C[a, b] = np.exp(x[at]) if a == b else x[at]
            at += 1
    return C


@kernel
def factor_of_precision(x: np.ndarray, at: int, q: int):
    """C from its entries in x, and its inverse."""
    C, inverse = lower_factor(x, at, q), np.zeros((q, q))
    for b in range(q):
        inverse[b, b] = 1.0 / C[b, b]
        for a in range(b + 1, q):
            for k in range(b, a):
                inverse[a, b] -= C[a, k] * inverse[k, b]
            inverse[a, b] /= C[a, a]
    return C, inverse
