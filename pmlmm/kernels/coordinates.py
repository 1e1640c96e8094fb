"""Natural and unconstrained coordinates of (sigma, Sigma_1, ..., Sigma_K), and the chain rule.

Natural: ``theta = (sigma, vech Sigma_1, ..., vech Sigma_K)``, vech row by row over the lower
triangle. Unconstrained: ``x = (log sigma, vech C_1, ..., vech C_K)`` where ``C`` is the lower
Cholesky factor of the precision, ``Sigma^{-1} = C C'``, with logarithms on its diagonal. In the
latter an inverse-Wishart is Bartlett's product of log-chi-squares and normals, hence close to
Gaussian.
"""

import contextlib
import itertools
from functools import cache

import numpy as np

LOG_2 = float(np.log(2.0))
# Logarithms beyond this overflow when products of covariances are formed.
_LARGEST_EXPONENT = 150.0


def vech_size(q: int) -> int:
    """Number of entries on and below the diagonal of a q x q matrix."""
    return q * (q + 1) // 2


@cache
def vech_indices(q: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lower triangle, row by row."""
    return np.tril_indices(q)


def vech(matrix: np.ndarray) -> np.ndarray:
    """Lower triangle of (..., q, q) matrices, row by row: (..., q(q+1)/2)."""
    rows, cols = vech_indices(matrix.shape[-1])
    return matrix[..., rows, cols]


def vech_slope(G: np.ndarray) -> np.ndarray:
    """Derivative in vech X of ``tr(G X)``, G symmetric: entries below the diagonal count twice."""
    rows, cols = vech_indices(len(G))
    return np.where(rows == cols, 1.0, 2.0) * G[rows, cols]


def unvech(vector: np.ndarray, q: int) -> np.ndarray:
    """Symmetric (..., q, q) matrices from their lower triangles (..., q(q+1)/2)."""
    rows, cols = vech_indices(q)
    matrix = np.empty((*vector.shape[:-1], q, q))
    matrix[..., rows, cols] = vector
    matrix[..., cols, rows] = vector
    return matrix


def vech_slices(sizes: tuple[int, ...], offset: int = 1) -> list[slice]:
    """Where each term's covariance entries stand in theta or x (after sigma)."""
    edges = offset + np.cumsum([0, *(vech_size(q) for q in sizes)])
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def block_diagonal(blocks: list[np.ndarray]) -> np.ndarray:
    """Stack (..., q_k, q_k) blocks into (..., sum q_k, sum q_k)."""
    total = sum(block.shape[-1] for block in blocks)
    leading = blocks[0].shape[:-2] if blocks else ()
    matrix = np.zeros((*leading, total, total))
    start = 0
    for block in blocks:
        stop = start + block.shape[-1]
        matrix[..., start:stop, start:stop] = block
        start = stop
    return matrix


def precision_cholesky(x: np.ndarray, q: int) -> np.ndarray:
    """Lower factor C of the precision from (..., q(q+1)/2) unconstrained values."""
    rows, cols = vech_indices(q)
    C = np.zeros((*x.shape[:-1], q, q))
    C[..., rows, cols] = np.where(rows == cols, np.exp(np.where(rows == cols, x, 0.0)), x)
    return C


def from_natural(theta: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Unconstrained coordinates of (..., d) natural ones; LinAlgError where a Sigma is not positive definite."""
    parts = [np.log(theta[..., :1])]
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        lower = np.linalg.cholesky(np.linalg.inv(unvech(theta[..., part], q)))
        rows, cols = vech_indices(q)
        values = lower[..., rows, cols]
        parts.append(np.where(rows == cols, np.log(np.where(rows == cols, values, 1.0)), values))
    return np.concatenate(parts, axis=-1)


def to_natural(x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Natural coordinates (..., d) of unconstrained ones (..., d)."""
    parts = [np.exp(x[..., :1])]
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        inverse = np.linalg.inv(precision_cholesky(x[..., part], q))
        parts.append(vech(np.swapaxes(inverse, -1, -2) @ inverse))
    return np.concatenate(parts, axis=-1)


def natural_draws(x: np.ndarray, sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Natural coordinates of draws (draws, d), and which of them are :func:`proper`; the others are nan."""
    logs = [0]
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        rows, cols = vech_indices(q)
        logs += (part.start + np.flatnonzero(rows == cols)).tolist()
    near = np.isfinite(x).all(axis=1) & (np.max(np.abs(x[:, logs]), axis=1) < _LARGEST_EXPONENT)
    theta = np.full(x.shape, np.nan)
    try:
        theta[near] = to_natural(x[near], sizes)
    except np.linalg.LinAlgError:  # some factor is singular to rounding: one after the other
        for k in np.flatnonzero(near):
            with contextlib.suppress(np.linalg.LinAlgError):
                theta[k] = to_natural(x[k], sizes)
    good = proper(theta, sizes)
    theta[~good] = np.nan
    return theta, good


def proper(theta: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Which of (draws, d) natural coordinates are finite, with covariances that are not singular to rounding."""
    good = np.isfinite(theta).all(axis=1)
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        good[good] = positive_definite(unvech(theta[good][:, part], q) / theta[good, :1, None] ** 2)
    return good


def positive_definite(matrices: np.ndarray) -> np.ndarray:
    """Which of (draws, q, q) matrices have a Cholesky factor."""
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.zeros(1, dtype=bool)
        return np.concatenate([positive_definite(matrix[None]) for matrix in matrices])
    return np.ones(len(matrices), dtype=bool)


def log_jacobian_gradient(sizes: tuple[int, ...]) -> np.ndarray:
    """Gradient in x of ``log|d theta / d x|``, which is linear in x.

    For one q x q covariance with ``x_aa = log C_aa``, a = 0..q-1, the log-Jacobian is
    ``q log 2 + sum_a (q - a + 1) x_aa - 2 (q + 1) sum_a x_aa``: the first part is that of
    ``x -> Sigma^{-1}``, the second that of ``Sigma^{-1} -> Sigma``.
    """
    parts = [np.ones(1)]
    for q in sizes:
        rows, cols = vech_indices(q)
        parts.append(np.where(rows == cols, -(q + 1.0) - rows, 0.0))
    return np.concatenate(parts)


def log_jacobian(x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """``log|d theta / d x|`` of (..., d) unconstrained coordinates."""
    return sum(sizes) * LOG_2 + x @ log_jacobian_gradient(sizes)


def _inverse_gram_derivatives(x: np.ndarray, q: int, G: np.ndarray):
    """Jacobian of ``vech (C C')^{-1}`` in x, and the Hessian in x of ``tr(G Sigma)``, G symmetric.

    With ``K = C^{-1}``, ``Sigma = K'K``, ``A_s = K dC_s`` and ``W_s = A_s + A_s'``::

        dSigma_s   = -K'W_s K
        d2Sigma_st = K'[A_t'W_s + W_s A_t + A_t A_s + (A_t A_s)']K

    A diagonal entry is ``exp(x)``: its own second derivative adds ``dSigma_s`` at s = t.
    """
    rows, cols = vech_indices(q)
    size, diagonal = len(rows), rows == cols
    C = precision_cholesky(x, q)
    K = np.linalg.inv(C)
    step = np.where(diagonal, C[rows, cols], 1.0)
    A = np.zeros((size, q, q))
    A[np.arange(size), :, cols] = K[:, rows].T * step[:, None]
    W = A + np.swapaxes(A, 1, 2)
    first = -(K.T @ W @ K)
    inner = K @ G @ K.T
    second = 2.0 * (traces(W, A @ inner) + traces(A, inner @ A))
    second[np.diag_indices(size)] += np.where(diagonal, traces(first, G[None])[:, 0], 0.0)
    return vech(first).T, 0.5 * (second + second.T)


def _inverse_gram_jacobian(x: np.ndarray, q: int) -> np.ndarray:
    """The Jacobian alone: ``vech(-K'W_s K)``, where K'A_s K is an outer product of a column of K'K and a row of K."""
    rows, cols = vech_indices(q)
    C = precision_cholesky(x, q)
    K = np.linalg.inv(C)
    step = np.where(rows == cols, C[rows, cols], 1.0)
    half = (K.T @ K)[:, rows].T[:, :, None] * (step[:, None] * K[cols])[:, None, :]
    return -vech(half + np.swapaxes(half, 1, 2)).T


def traces(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``tr(left_s right_t)`` for two stacks of matrices: (len(left), len(right))."""
    return np.tensordot(left, right, axes=([1, 2], [2, 1]))


def pull_back(x: np.ndarray, sizes: tuple[int, ...], gradient: np.ndarray, hessian: np.ndarray):
    """Chain rule: gradient and Hessian in x of a function given by those in theta.

    Parameters
    ----------
    x : (d,) array
        Unconstrained coordinates.
    sizes : tuple of int
        q of each term.
    gradient : (d,) array
    hessian : (d, d) array
        Derivatives in the natural coordinates at ``to_natural(x)``.

    Returns
    -------
    gradient, hessian, jacobian : arrays
        In x; ``jacobian`` is d theta / d x, (d, d).
    """
    size = len(x)
    jacobian, curvature = np.zeros((size, size)), np.zeros((size, size))
    sigma = np.exp(x[0])
    jacobian[0, 0] = sigma
    curvature[0, 0] = gradient[0] * sigma
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        rows, cols = vech_indices(q)
        # An entry below the diagonal stands twice in tr(G Sigma).
        G = unvech(gradient[part] * np.where(rows == cols, 1.0, 0.5), q)
        jacobian[part, part], curvature[part, part] = _inverse_gram_derivatives(x[part], q, G)
    return jacobian.T @ gradient, jacobian.T @ hessian @ jacobian + curvature, jacobian


def push_forward(x: np.ndarray, sizes: tuple[int, ...], gradient: np.ndarray, hessian: np.ndarray):
    """Inverse of :func:`pull_back`: derivatives in theta from those in x.

    Returns
    -------
    gradient, hessian, inverse : arrays
        In theta; ``inverse`` is d x / d theta, (d, d).
    """
    jacobian = np.zeros_like(hessian)
    jacobian[0, 0] = np.exp(x[0])
    for q, part in zip(sizes, vech_slices(sizes), strict=True):
        jacobian[part, part] = _inverse_gram_jacobian(x[part], q)
    inverse = np.linalg.inv(jacobian)
    natural = inverse.T @ gradient
    _, curvature, _ = pull_back(x, sizes, natural, np.zeros_like(hessian))
    return natural, inverse.T @ (hessian - curvature) @ inverse, inverse
