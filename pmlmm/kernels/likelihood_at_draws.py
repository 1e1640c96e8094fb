"""The marginal likelihood at many draws of (sigma, Sigma).

b and A are not in the likelihood, so one pass over the draws serves every b and A. Another lambda
needs the dense part again: exactly where that is small, else by an expansion around the lambda of the
draws' centre (:class:`Expansion`), which re-centring makes exact where the search ends.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pmlmm.kernels import likelihood
from pmlmm.kernels.coordinates import positive_definite
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.derivatives import LOG_2PI
from pmlmm.kernels.eliminate.blocks import proper, unwhiten, whiten, whiten_rows
from pmlmm.kernels.eliminate.protocol import EliminatedDraws, EliminatedRidge

# Numbers that a batch of matrices may take.
_BATCH = 20_000_000
#: Dense parts of so many columns are cheap enough (per draw) to be computed anew for every lambda.
SMALL = 40
#: Beyond so many columns, a draw at a time.
LARGE = 200


def cheap(data: Crossproducts) -> bool:
    """Whether the dense part of every draw can be computed anew for every lambda."""
    return data.columns <= SMALL and not data.ridges


class DrawLikelihood(NamedTuple):
    """Values (draws,), their gradient in log lambda (draws, G) and, for expansions, Hessian (draws, G, G)."""

    value: np.ndarray
    gradient: np.ndarray | None
    hessian: np.ndarray | None = None


class Reduced(NamedTuple):
    """Draws (draws, d) after the first elimination: where penalised columns went first it belongs to one lambda."""

    theta: np.ndarray
    first: EliminatedDraws


def reduce(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> Reduced:
    """First elimination at natural coordinates (draws, d); lambda is used only where penalised columns go first."""
    return Reduced(theta, data.eliminate_draws(theta, log_lambda))


class _Whitened(NamedTuple):
    """The equations ``P standard = right`` of every draw's dense effects, in coordinates whitened by ``roots``."""

    P: np.ndarray
    right: np.ndarray
    roots: list[np.ndarray]


def _whitened(reduced: Reduced, log_lambda: np.ndarray, data: Crossproducts) -> _Whitened:
    theta, Q, W, Y = reduced.theta, reduced.first.Q, data.effects, data.responses
    relative = data.relative(log_lambda, theta[:, data.layout.sigma])
    roots = data.block_roots(data.roots(theta), relative)
    Q = np.broadcast_to(Q, (len(theta), *Q.shape[1:]))
    P = whiten(Q[:, W, W], data.blocks, roots) + np.diag(proper(data.blocks, data.columns))
    return _Whitened(P, whiten_rows(Q[:, W, Y], data.blocks, roots), roots)


def evaluate(reduced: Reduced, log_lambda: np.ndarray, data: Crossproducts, *, order: int = 1) -> DrawLikelihood:
    """log p(y | sigma, Sigma, lambda) of every draw, with ``order`` derivatives in log lambda; O(draws r^3).

    Far out in the tails of a proposal rounding can make P indefinite: such a draw gets the value ``-inf``.
    """
    theta, first, Y = reduced.theta, reduced.first, data.responses
    P, right, roots = _whitened(reduced, log_lambda, data)
    P, chol, lost = _positive_definite(P)
    right = np.where(lost[:, None], 0.0, right[:, :, 0])
    inverse = np.linalg.inv(P) if order else np.empty((0, 0, 0))
    standard = np.einsum("sij,sj->si", inverse, right) if order else np.linalg.solve(P, right[:, :, None])[:, :, 0]
    variance = theta[:, data.layout.sigma] ** 2
    log_det = first.log_det + 2.0 * np.sum(np.log(np.diagonal(chol, axis1=1, axis2=2)), axis=1)
    q_tilde = first.Q[:, Y, Y][:, 0, 0] - np.sum(right * standard, axis=1)
    power = likelihood.power(data, profile=False)
    value = -0.5 * (power * (LOG_2PI + np.log(variance)) - data.log_weights + log_det + q_tilde / variance)
    value[lost] = -np.inf
    if order == 0:
        return DrawLikelihood(value, None)
    sums = _Sums(inverse, standard, variance, roots)
    gradient = np.zeros((len(theta), len(log_lambda)))
    hessian = np.zeros((len(theta), len(log_lambda), len(log_lambda))) if order == 2 else None
    _dense_ridges(sums, data, gradient, hessian)
    if first.ridge is not None:
        _first_ridges(sums, first.ridge, data, gradient, hessian)
    for derivative in (gradient, hessian):
        if derivative is not None:
            derivative[lost] = 0.0
    return DrawLikelihood(value, gradient, hessian)


class _Sums(NamedTuple):
    """What the derivatives in log lambda need of every draw, in whitened coordinates."""

    inverse: np.ndarray
    standard: np.ndarray
    variance: np.ndarray
    roots: list[np.ndarray]


def _dense_ridges(sums: _Sums, data: Crossproducts, gradient: np.ndarray, hessian: np.ndarray | None) -> None:
    """Derivatives in the lambdas of penalised columns that are among the dense ones."""
    ridges = [block for block in data.blocks if block.ridge]
    variance = sums.variance
    for block in ridges:
        own, g = block.columns, block.parameter
        square = np.sum(sums.standard[:, own] ** 2, axis=1) / variance
        steep = block.levels - np.trace(sums.inverse[:, own, own], axis1=1, axis2=2) - square
        gradient[:, g] = 0.5 * steep
        if hessian is None:
            continue
        for other in ridges:
            B = (block is other) * np.eye(block.levels, other.levels) - sums.inverse[:, own, other.columns]
            bend = np.einsum("si,sij,sj->s", sums.standard[:, own], B, sums.standard[:, other.columns], optimize=True)
            total = 2.0 * bend / variance - np.sum(B**2, axis=(1, 2))
            hessian[:, g, other.parameter] = -0.5 * (total + (block is other) * steep)


def _first_ridges(
    sums: _Sums, ridge: EliminatedRidge, data: Crossproducts, gradient: np.ndarray, hessian: np.ndarray | None
) -> None:
    """Derivatives in the lambdas of penalised columns that were eliminated first."""
    W, groups = data.effects, list(data.ridges)
    J = whiten(sums.inverse, data.blocks, [np.swapaxes(root, -1, -2) for root in sums.roots])
    w = np.ones((len(J), data.first.width))
    w[:, W] = -unwhiten(sums.standard[:, :, None], data.blocks, sums.roots)[:, :, 0]
    slopes = ridge.slopes
    own, bent = ridge.derivatives(np.zeros((0, 0)), np.zeros(w.shape[1]), 0.0, 1 if hessian is None else 2)
    moved = np.einsum("guv,sv->sgu", slopes, w, optimize=True)
    first = own + np.tensordot(J, slopes[:, W, W], axes=([1, 2], [1, 2]))
    gradient[:, groups] = -0.5 * (first + np.einsum("sgu,su->sg", moved, w) / sums.variance[:, None])
    if hessian is None:
        return
    seconds = ridge.seconds
    total = bent + np.tensordot(J, seconds[:, :, W, W], axes=([1, 2], [2, 3]))
    quadratic = np.einsum("su,ghuv,sv->sgh", w, seconds, w, optimize=True)
    quadratic -= 2.0 * np.einsum("sgu,suv,shv->sgh", moved[..., W], J, moved[..., W], optimize=True)
    total = total + quadratic / sums.variance[:, None, None]
    products = [J @ slope[W, W] for slope in slopes]
    for g, left in enumerate(products):
        for h, right in enumerate(products):
            total[:, g, h] -= np.sum(left * np.swapaxes(right, 1, 2), axis=(1, 2))
    hessian[np.ix_(np.arange(len(J)), groups, groups)] = -0.5 * total
    pulled = moved[..., W] @ J
    for block, root in zip(data.blocks, sums.roots, strict=True):
        if not block.ridge:
            continue
        at, scale = block.columns, root[..., 0, 0]
        for g, product in zip(groups, products, strict=True):
            trace = np.einsum("suv,suv->s", product[:, at], J[:, at]) / scale**2
            bend = np.sum(pulled[:, groups.index(g), at] * sums.standard[:, at], axis=1) / scale
            mixed = 0.5 * (trace - 2.0 * bend / sums.variance)
            hessian[:, g, block.parameter] = hessian[:, block.parameter, g] = mixed


class Expansion:
    """Every draw's likelihood at one lambda, and its second-order expansion in log lambda around that."""

    def __init__(self, theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts):
        self.theta, self.centre, self.data = theta, log_lambda, data

    def values(self, log_lambda: np.ndarray) -> np.ndarray:
        """Log-likelihoods (draws,), without what only other lambdas need."""
        return self._values if np.array_equal(log_lambda, self.centre) else self(log_lambda).value

    def __call__(self, log_lambda: np.ndarray) -> DrawLikelihood:
        step, at = log_lambda - self.centre, self._at
        bend = at.hessian @ step
        return DrawLikelihood(at.value + (at.gradient + 0.5 * bend) @ step, at.gradient + bend)

    @cached_property
    def _values(self) -> np.ndarray:
        return self._at.value if self.data.columns > LARGE else values(self.theta, self.centre, self.data)

    @cached_property
    def _at(self) -> DrawLikelihood:
        if self.data.columns > LARGE:
            return _each(self.theta, self.centre, self.data)
        return _in_batches(self.theta, self.centre, self.data)


class Exact:
    """Every draw's likelihood at any lambda, computed anew for each."""

    def __init__(self, theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts):
        self.reduced, self.data = reduce(theta, log_lambda, data), data

    def values(self, log_lambda: np.ndarray) -> np.ndarray:
        """Log-likelihoods (draws,)."""
        return self(log_lambda).value

    def __call__(self, log_lambda: np.ndarray) -> DrawLikelihood:
        return evaluate(self.reduced, log_lambda, self.data)


def _batches(number: int, data: Crossproducts) -> Iterator[slice]:
    """So many draws at a time as fit in memory, one at a time where dense parts are large."""
    step = 1 if data.columns > LARGE else max(1, _BATCH // data.first.width**2)
    return (slice(first, min(first + step, number)) for first in range(0, number, step))


def _in_batches(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> DrawLikelihood:
    batches = (reduce(theta[part], log_lambda, data) for part in _batches(len(theta), data))
    parts = [evaluate(batch, log_lambda, data, order=2) for batch in batches]
    return DrawLikelihood(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def _each(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> DrawLikelihood:
    """Draw by draw, where a batch of dense parts would not fit."""
    groups = len(log_lambda)
    values, gradient = np.full(len(theta), -np.inf), np.zeros((len(theta), groups))
    hessian = np.zeros((len(theta), groups, groups))
    for s, point in enumerate(theta):
        at = likelihood.evaluate_lambda(np.concatenate([point, log_lambda]), data)
        if np.isfinite(at.value):
            values[s], gradient[s], hessian[s] = at
    return DrawLikelihood(values, gradient, hessian)


def values(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> np.ndarray:
    """log p(y | sigma, Sigma, lambda) of every draw, (draws,); ``log_lambda`` is (G,), or (draws, G).

    A draw at a time where a penalised column with a lambda of each draw's own is eliminated first.
    """
    if data.columns > LARGE or (log_lambda.ndim == 2 and data.ridges):
        rows = zip(theta, np.broadcast_to(log_lambda, (len(theta), log_lambda.shape[-1])), strict=True)
        each = (likelihood.evaluate(np.concatenate(row), data, profile=False, order=0).value for row in rows)
        return np.fromiter(each, dtype=float, count=len(theta))
    found = np.empty(len(theta))
    for part in _batches(len(theta), data):
        own = log_lambda if log_lambda.ndim == 1 else log_lambda[part]
        found[part] = evaluate(reduce(theta[part], own, data), own, data, order=0).value
    return found


class Effects(NamedTuple):
    """Conditional means of the dense effects given each draw, and draws of them: (draws, r)."""

    mean: np.ndarray
    drawn: np.ndarray


def effects(
    theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts, rng: np.random.Generator | None = None
) -> Effects:
    """Law of the dense effects given each draw; ``drawn`` is the mean where ``rng`` is None.

    ``log_lambda`` is (G,), or (draws, G) where no penalised column is eliminated first.
    """
    r = data.columns
    mean = np.empty((len(theta), r))
    drawn = mean if rng is None else np.empty((len(theta), r))
    for part in _batches(len(theta), data):
        noise = None if rng is None else rng.standard_normal((len(theta[part]), r, 1))
        own = log_lambda if log_lambda.ndim == 1 else log_lambda[part]
        if r > LARGE:
            law = likelihood.condition(np.concatenate([theta[part.start], own.ravel()]), data)
            mean[part] = law.mean
            deviation = None if noise is None else law.draw(noise[0]).T
        else:
            mean[part], deviation = _batch(theta[part], own, data, noise)
        if deviation is not None:
            drawn[part] = mean[part] + theta[part, :1] * deviation
    return Effects(mean, drawn)


def _batch(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts, noise: np.ndarray | None):
    """Means of the dense effects and, of standard normals, deviations over sigma."""
    P, right, roots = _whitened(reduce(theta, log_lambda, data), log_lambda, data)
    chol = np.linalg.cholesky(P)
    upper = np.swapaxes(chol, 1, 2)
    mean = unwhiten(np.linalg.solve(upper, np.linalg.solve(chol, right)), data.blocks, roots)[:, :, 0]
    if noise is None:
        return mean, None
    return mean, unwhiten(np.linalg.solve(upper, noise), data.blocks, roots)[:, :, 0]


def _positive_definite(P: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices, those that are not finite and positive definite replaced by I, their factors, and which ones."""
    lost = ~np.isfinite(P).all(axis=(1, 2))
    if lost.any():
        P = np.where(lost[:, None, None], np.eye(P.shape[1]), P)
    try:
        return P, np.linalg.cholesky(P), lost
    except np.linalg.LinAlgError:
        lost |= ~positive_definite(P)
        P = np.where(lost[:, None, None], np.eye(P.shape[1]), P)
        return P, np.linalg.cholesky(P), lost


def conditionable(theta: np.ndarray, log_lambda: np.ndarray, data: Crossproducts) -> np.ndarray:
    """Which of (draws, d) natural coordinates have a likelihood; given the others no effect has a law: (draws,).

    ``log_lambda`` is (G,), or (draws, G) where no penalised column is eliminated first.
    """
    with np.errstate(all="ignore"):  # what overflows has no likelihood
        return np.isfinite(values(theta, log_lambda, data))
