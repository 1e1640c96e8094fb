"""The marginal likelihood at many draws of (sigma, Sigma).

b and A are not in the likelihood, so one pass over the draws serves every b and A. Another lambda
needs the dense part again: exactly where that is small, else by an expansion around the lambda of the
draws' centre (:class:`Expansion`), which re-centring makes exact where the search ends.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels import dense, likelihood
from pmlmm.kernels.first import Eliminated
from pmlmm.kernels.likelihood import LOG_2PI, Crossproducts

# Numbers that a batch of matrices may take.
_BATCH = 20_000_000
#: Dense parts of so many columns are cheap enough (per draw) to be computed anew for every lambda.
SMALL = 40
#: From so many columns on, a draw at a time.
LARGE = 200


class DrawLikelihood(NamedTuple):
    """Values (draws,) and their gradient in log lambda (draws, G)."""

    value: np.ndarray
    gradient: np.ndarray


class Reduced(NamedTuple):
    """Draws after the first elimination.

    ``ridge`` holds penalised columns that were eliminated first: they belong to one lambda, and Q is
    the same (1, w, w) for all draws.
    """

    theta: np.ndarray
    log_det: np.ndarray
    Q: np.ndarray
    ridge: Eliminated | None


def reduce(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> Reduced:
    """First elimination at natural coordinates (draws, d); lambda is used only where penalised columns go first."""
    if data.ridges:
        ridge = data.first.eliminate(log_lambda[list(data.ridges)])
        return Reduced(theta, np.full(len(theta), ridge.log_det), ridge.Q[None], ridge)
    roots, _ = data.roots(theta)
    log_det, Q = data.first.eliminate_draws(np.ascontiguousarray(data.group_root(roots, (len(theta),))))
    return Reduced(theta, log_det, Q, None)


def evaluate(reduced: Reduced, log_lambda: np.ndarray, data: Crossproducts) -> DrawLikelihood:
    """log p(y | sigma, Sigma, lambda) of every draw; O(draws r^3).

    Far out in the tails of a proposal rounding can make P indefinite: such a draw gets the value ``-inf``.
    """
    theta, r = reduced.theta, data.columns
    roots, _ = data.roots(theta)
    blocks = data.block_roots(roots, log_lambda)
    P = _whitened(reduced.Q[:, :r, :r], blocks, data, len(theta)) + np.diag(dense.proper(data.blocks, r))
    P, lost = _positive_definite(P)
    chol, inverse = np.linalg.cholesky(P), np.linalg.inv(P)
    right = np.broadcast_to(reduced.Q[:, :r, r:], (len(theta), r, 1))
    right = dense.whiten_rows(right, data.blocks, blocks)[:, :, 0]
    standard = np.einsum("sij,sj->si", inverse, right)
    variance = theta[:, 0] ** 2
    log_det = reduced.log_det + 2.0 * np.sum(np.log(np.diagonal(chol, axis1=1, axis2=2)), axis=1)
    value = _value(log_det, reduced.Q[:, r, r] - np.sum(right * standard, axis=1), variance, data)
    value[lost] = -np.inf
    spread = np.diagonal(inverse, axis1=1, axis2=2) + standard**2 / variance[:, None]
    gradient = np.zeros((len(theta), len(log_lambda)))
    for block in data.blocks:
        if block.ridge:
            gradient[:, block.parameter] = -0.5 * (np.sum(spread[:, block.columns], axis=1) - block.levels)
    if reduced.ridge is not None:
        J = dense.whiten(inverse, data.blocks, [np.swapaxes(root, -1, -2) for root in blocks])
        w = np.ones((len(theta), r + 1))
        w[:, :r] = -dense.unwhiten(standard[:, :, None], data.blocks, blocks)[:, :, 0]
        slopes = reduced.ridge.slopes()
        total = reduced.ridge.gradient(np.zeros((0, 0)), np.zeros(r + 1), 0.0)
        total = total + np.tensordot(J, slopes[:, :r, :r], axes=([1, 2], [1, 2]))
        total += np.einsum("su,guv,sv->sg", w, slopes, w, optimize=True) / variance[:, None]
        gradient[:, list(data.ridges)] = -0.5 * total
    return DrawLikelihood(value, gradient)


def _whitened(Q: np.ndarray, blocks: list[np.ndarray], data: Crossproducts, number: int) -> np.ndarray:
    """``Lambda' Q Lambda`` of every draw; Q may be one for all."""
    return dense.whiten(np.broadcast_to(Q, (number, *Q.shape[1:])), data.blocks, blocks)


def _value(log_det: np.ndarray, q_tilde: np.ndarray, variance: np.ndarray, data: Crossproducts) -> np.ndarray:
    power = likelihood.power(data, profile=False)
    return -0.5 * (power * (LOG_2PI + np.log(variance)) + log_det + q_tilde / variance)


def evaluate_once(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> DrawLikelihood:
    """The same at one lambda only, in batches that fit in memory; draw by draw where the dense part is large."""
    if data.columns > LARGE:
        return _each(theta, log_lambda, data)
    step = max(1, _BATCH // (data.columns + 1) ** 2)
    parts = [
        evaluate(reduce(theta[first : first + step], log_lambda, data), log_lambda, data)
        for first in range(0, len(theta), step)
    ]
    return DrawLikelihood(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def _each(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> DrawLikelihood:
    values = np.full(len(theta), -np.inf)
    gradient = np.zeros((len(theta), len(log_lambda)))
    for s, point in enumerate(theta):
        at = likelihood.evaluate(np.concatenate([point, log_lambda]), data, profile=False, order=1)
        if np.isfinite(at.value):
            values[s], gradient[s] = at.value, at.gradient[data.parameters :]
    return DrawLikelihood(values, gradient)


class Expansion:
    """Second-order expansion in log lambda: every draw's own value and slope, the centre's curvature."""

    def __init__(self, centre: np.ndarray, at: DrawLikelihood, curvature: np.ndarray):
        self.centre, self.at, self.curvature = centre, at, curvature

    def __call__(self, log_lambda: np.ndarray) -> DrawLikelihood:
        step = log_lambda - self.centre
        bend = self.curvature @ step
        return DrawLikelihood(self.at.value + self.at.gradient @ step + 0.5 * step @ bend, self.at.gradient + bend)


class Effects(NamedTuple):
    """Conditional means of the dense effects given each draw, and draws of them: (draws, r)."""

    mean: np.ndarray
    drawn: np.ndarray


def effects(
    theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts, rng: np.random.Generator | None = None
) -> Effects:
    """Law of the dense effects given each draw; ``drawn`` is the mean where ``rng`` is None."""
    r = data.columns
    mean = np.empty((len(theta), r))
    drawn = mean if rng is None else np.empty((len(theta), r))
    step = 1 if r > LARGE else max(1, _BATCH // (r + 1) ** 2)
    for first in range(0, len(theta), step):
        part = slice(first, first + step)
        noise = None if rng is None else rng.standard_normal((len(theta[part]), r, 1))
        if r > LARGE:
            law = likelihood.condition(np.concatenate([theta[first], log_lambda]), data)
            mean[part] = law.mean
            deviation = None if noise is None else law.draw(noise[0]).T
        else:
            mean[part], deviation = _batch(theta[part], log_lambda, data, noise)
        if deviation is not None:
            drawn[part] = mean[part] + theta[part, :1] * deviation
    return Effects(mean, drawn)


def _batch(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts, noise: np.ndarray | None):
    """Means of the dense effects and, of standard normals, deviations over sigma."""
    Q, r = reduce(theta, log_lambda, data).Q, data.columns
    roots, _ = data.roots(theta)
    blocks = data.block_roots(roots, log_lambda)
    P = _whitened(Q[:, :r, :r], blocks, data, len(theta)) + np.diag(dense.proper(data.blocks, r))
    right = dense.whiten_rows(np.broadcast_to(Q[:, :r, r:], (len(theta), r, 1)), data.blocks, blocks)
    mean = dense.unwhiten(np.linalg.solve(P, right), data.blocks, blocks)[:, :, 0]
    if noise is None:
        return mean, None
    half = np.linalg.solve(np.swapaxes(np.linalg.cholesky(P), 1, 2), noise)
    return mean, dense.unwhiten(half, data.blocks, blocks)[:, :, 0]


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
