"""The marginal likelihood at many draws of (sigma, Sigma), for every lambda at little cost.

The groups are visited once a draw; what is left, ``Q`` (w, w) and ``sum log|M|``, does not depend
on lambda, and b and A are not in the likelihood at all.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels import crossproducts
from pmlmm.kernels.coordinates import block_diagonal, unvech, vech_slices
from pmlmm.kernels.likelihood import LOG_2PI, Crossproducts, penalties


class Reduced(NamedTuple):
    """Draws after the elimination of the random effects."""

    sigma: np.ndarray
    log_det: np.ndarray
    Q: np.ndarray


class DrawLikelihood(NamedTuple):
    """Values (draws,), their gradient in log lambda (draws, G), and beta's conditional law.

    beta given a draw is ``N(a, sigma^2 P^{-1})``; ``chol_P`` is lower.
    """

    value: np.ndarray
    gradient: np.ndarray
    a: np.ndarray
    chol_P: np.ndarray


def relative_cholesky(theta: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Lower factors of Sigma / sigma^2 for natural coordinates (draws, d): (draws, q, q)."""
    if not sizes:
        return np.zeros((len(theta), 0, 0))
    blocks = [
        np.linalg.cholesky(unvech(theta[:, part], q) / theta[:, :1, None] ** 2)
        for q, part in zip(sizes, vech_slices(sizes), strict=True)
    ]
    return block_diagonal(blocks)


def reduce(theta: np.ndarray, data: Crossproducts, sizes: tuple[int, ...]) -> Reduced:
    """Eliminate gamma at natural coordinates (draws, d); O(draws (D q^3 + K q w^2))."""
    L = np.ascontiguousarray(relative_cholesky(theta, sizes))
    log_det, Q = crossproducts.reduce_draws(data.designs, data.weights, data.starts, data.cross, data.gram, L)
    return Reduced(theta[:, 0], log_det, Q)


def evaluate(reduced: Reduced, log_lambda: np.ndarray, data: Crossproducts) -> DrawLikelihood:
    """log p(y | sigma, Sigma, lambda) of every draw; O(draws r^3).

    Far out in the tails of a proposal rounding can make P indefinite: such a draw gets the value ``-inf``.
    """
    r, groups = len(data.penalty), len(log_lambda)
    lam = penalties(log_lambda, data.penalty)
    P = reduced.Q[:, :r, :r] + np.diag(lam)
    P, lost = _positive_definite(P)
    chol_P = np.linalg.cholesky(P)
    Q_Wy = reduced.Q[:, :r, r]
    inverse = np.linalg.inv(P)
    a = np.einsum("sij,sj->si", inverse, Q_Wy)
    q_tilde = reduced.Q[:, r, r] - np.sum(Q_Wy * a, axis=1)
    variance = reduced.sigma**2
    member = (data.penalty == np.arange(groups)[:, None]).astype(float)
    counts = member.sum(axis=1)
    power = data.n - np.count_nonzero(data.penalty < 0)
    log_det_P = 2.0 * np.sum(np.log(np.diagonal(chol_P, axis1=1, axis2=2)), axis=1)
    value = -0.5 * (
        power * (LOG_2PI + np.log(variance)) + reduced.log_det + log_det_P - counts @ log_lambda + q_tilde / variance
    )
    value[lost] = -np.inf
    spread = np.diagonal(inverse, axis1=1, axis2=2) + a**2 / variance[:, None]
    gradient = -0.5 * ((spread * lam) @ member.T - counts)
    return DrawLikelihood(value, gradient, a, chol_P)


def _positive_definite(P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrices, those that are not finite and positive definite replaced by I, and which ones they are."""
    lost = ~np.isfinite(P).all(axis=(1, 2))
    P = np.where(lost[:, None, None], np.eye(P.shape[1]), P)
    try:
        np.linalg.cholesky(P)
    except np.linalg.LinAlgError:
        lost |= np.linalg.eigvalsh(P)[:, 0] <= 1e-14 * np.trace(P, axis1=1, axis2=2)
        P = np.where(lost[:, None, None], np.eye(P.shape[1]), P)
    return P, lost
