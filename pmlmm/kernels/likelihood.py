"""The likelihood with the random effects (and beta) integrated out: value, gradient, Hessian.

The coordinates are ``u = (sigma, vech Sigma_1, ..., vech Sigma_K, log lambda_1, ..., log lambda_G)``.
Two variants (``docs/mathematics.md``, "Collapsed likelihood"):

marginal
    ``log p(y | sigma, Sigma, lambda)``: gamma and beta integrated out.
profile
    ``max_beta log p(y, beta | sigma, Sigma, lambda)``: gamma integrated out, beta at its maximum.
    The talk's Laplace approximation over {beta, sigma, Sigma} is built on it.

Two stages: one factor's groups, or penalised columns, are eliminated first (:mod:`pmlmm.kernels.first`),
everything else together in one dense factorisation (:mod:`pmlmm.kernels.dense`).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pmlmm.kernels import dense
from pmlmm.kernels.coordinates import block_diagonal, unvech, vech_size, vech_slices
from pmlmm.kernels.dense import Block
from pmlmm.kernels.derivatives import LOG_2PI, Derivatives
from pmlmm.kernels.first import Eliminated, Groups, Kernels, Rotated, SparseGroups

# The residual sum of squares is a small difference of large sums where sigma is far below the size of y. Rounding may
# move the log-likelihood by so many nats, and by so many a row (sigma 1e-5 of the size of y).
_MOST_ROUNDING, _MOST_ROUNDING_A_ROW = 1e-2, 2.2e-6


@dataclass(frozen=True, eq=False)
class Crossproducts:
    """All that the likelihood needs of the data, and where each parameter enters.

    Attributes
    ----------
    first : Groups, SparseGroups, Rotated or Kernels
        What is eliminated first; it holds the cross-products of the dense columns W.
    sizes, levels : tuples of int
        q and number of groups of each random-effect term.
    grouped : tuple of int
        Terms that are eliminated first, group by group; in the order of ``first.sizes``.
    ridges : tuple of int
        Penalty groups that are eliminated first, in the order of ``first``.
    blocks : tuple of Block
        Blocks of W with a proper prior; random effects come before coefficients.
    gammas : int
        Number of columns of W that are random effects.
    counts : (G,) array
        Number of coefficients of each penalty group.
    n : float
        Number of rows.
    """

    first: Groups | SparseGroups | Rotated | Kernels
    sizes: tuple[int, ...]
    levels: tuple[int, ...]
    grouped: tuple[int, ...]
    ridges: tuple[int, ...]
    blocks: tuple[Block, ...]
    gammas: int
    counts: np.ndarray
    n: float
    _last: dict[bool, tuple[np.ndarray, int, Derivatives]] = field(default_factory=dict, repr=False)

    @property
    def parameters(self) -> int:
        """Length of theta: 1 + sum of q(q+1)/2."""
        return 1 + sum(vech_size(q) for q in self.sizes)

    @property
    def columns(self) -> int:
        """Number of dense columns, r."""
        return self.first.width - 1

    @cached_property
    def flat(self) -> int:
        """Number of columns with a flat prior."""
        covered = self.blocks[-1].columns.stop if self.blocks else 0
        return self.columns - covered

    def rounding(self, sigma: float) -> float:
        """How far rounding moves the log-likelihood at sigma (nats), to within a factor of about ten."""
        return float(np.finfo(float).eps * self.first.column_squares[-1] / sigma**2)

    def lost(self, sigma: float) -> bool:
        """Whether what is left of y beside its effects is lost in rounding."""
        return self.rounding(sigma) > min(_MOST_ROUNDING, _MOST_ROUNDING_A_ROW * self.n)

    def seconds(self) -> float:
        """What one evaluation with its Hessian takes on an ordinary core, about."""
        if self.grouped:
            loops, passes = self.first.work() / 3e8, sum(vech_size(q) for q in self.first.sizes)
        else:
            loops, passes = 0.0, len(self.ridges)
        return loops + (1.0 + 2.0 * passes) * self.columns**3 / 3e10

    @property
    def ridge_columns(self) -> int:
        """Number of dense columns with a ridge."""
        return sum(block.levels for block in self.blocks if block.ridge)

    @cached_property
    def order(self) -> np.ndarray:
        """Position in u of each parameter of the two stages: (sigma, first elimination, dense blocks)."""
        slices, d = vech_slices(self.sizes), self.parameters
        terms = [np.arange(part.start, part.stop) for part in slices]
        parts = [np.zeros(1, dtype=int), *(terms[k] for k in self.grouped)]
        parts += [np.array([d + g]) for g in self.ridges]
        parts += [np.array([d + b.parameter]) if b.ridge else terms[b.parameter] for b in self.blocks]
        return np.concatenate(parts)

    def roots(self, u: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Lower factors of every term's Sigma / sigma^2 at (..., k) values of u, and lambda's log."""
        d = self.parameters
        variance = u[..., :1, None] ** 2
        pairs = zip(self.sizes, vech_slices(self.sizes), strict=True)
        return [np.linalg.cholesky(unvech(u[..., part], q) / variance) for q, part in pairs], u[..., d:]

    def block_roots(self, roots: list[np.ndarray], log_lambda: np.ndarray) -> list[np.ndarray]:
        """Lower factor of the prior covariance of each dense block, over sigma^2."""
        return [
            np.exp(-0.5 * log_lambda[..., b.parameter])[..., None, None] if b.ridge else roots[b.parameter]
            for b in self.blocks
        ]

    def group_root(self, roots: list[np.ndarray], leading: tuple[int, ...] = ()) -> np.ndarray:
        """Lower factor of the covariance of all effects of one group of the factor eliminated first."""
        chosen = [roots[k] for k in self.grouped]
        return block_diagonal(chosen) if chosen else np.zeros((*leading, 0, 0))


class _Point(NamedTuple):
    """One evaluation of both eliminations."""

    sigma: float
    log_lambda: np.ndarray
    first: Eliminated
    posterior: dense.ConditionalEffects


def power(data: Crossproducts, profile: bool) -> float:
    """n* in ``(2 pi sigma^2)^(-n*/2)``: a ridge column adds one if beta stays, a flat one removes one."""
    return data.n + float(np.sum(data.counts)) if profile else data.n - data.flat


def _locate(u: np.ndarray, data: Crossproducts, profile: bool) -> _Point | None:
    """Eliminate gamma and beta at u; None where Sigma is not positive definite."""
    try:
        roots, log_lambda = data.roots(u)
        if data.ridges:
            first = data.first.eliminate(log_lambda[list(data.ridges)])
        else:
            first = data.first.eliminate(data.group_root(roots))
        blocks = data.block_roots(roots, log_lambda)
        posterior = dense.ConditionalEffects(first.Q, data.blocks, blocks, data.gammas, profile)
    except np.linalg.LinAlgError:
        return None
    return _Point(u[0], log_lambda, first, posterior)


def _value(point: _Point, data: Crossproducts, profile: bool) -> float:
    prior = float(data.counts @ point.log_lambda) if profile else 0.0
    return -0.5 * float(
        power(data, profile) * (LOG_2PI + 2.0 * np.log(point.sigma))
        + point.first.log_det
        + point.posterior.log_det
        - prior
        + point.posterior.q_tilde / point.sigma**2
    )


def evaluate(u: np.ndarray, data: Crossproducts, *, profile: bool, order: int) -> Derivatives:
    """Value, gradient and Hessian at u.

    Parameters
    ----------
    u : (k,) array
        sigma (units of y), the lower triangles of the covariances (units of y^2 over units of the
        columns of Z), log lambda of each penalty group.
    data : Crossproducts
    profile : bool
        The profile variant instead of the marginal one; it needs every coefficient among the dense
        columns (``data.ridges`` empty).
    order : {0, 1, 2}
        Highest derivative wanted; what is not asked for may be filled with nan.

    Returns
    -------
    Derivatives
        ``-inf`` and nan derivatives outside the support. O(D q^4 + K q^2 r^2 + r^3) for D distinct
        designs, K cross-products and r dense columns; the Hessian takes r^3 more for every
        parameter of the first elimination.
    """
    # A change of b or A alone leaves u as it was: the last evaluation then serves again.
    u, last = np.array(u, dtype=float), data._last.get(profile)
    if last is None or last[1] < order or not np.array_equal(last[0], u):
        last = data._last[profile] = (u, order, _evaluate(u, data, profile, order))
    return last[2]


def _evaluate(u: np.ndarray, data: Crossproducts, profile: bool, order: int) -> Derivatives:
    size = len(u)
    gradient, hessian = np.full(size, np.nan), np.full((size, size), np.nan)
    point = _locate(u, data, profile) if u[0] > 0 else None
    if point is None:
        return Derivatives(-np.inf, gradient, hessian)
    value = _value(point, data, profile)
    if order == 0:
        return Derivatives(value, gradient, hessian)
    inner, second = _derivatives(point, data, profile, order)
    gradient[data.order] = inner
    if order == 2:
        hessian[np.ix_(data.order, data.order)] = second
    if profile:  # coefficients that the rotation left out: only their prior's constant is there
        d = data.parameters
        in_blocks = np.zeros(len(data.counts))
        for block in data.blocks:
            if block.ridge:
                in_blocks[block.parameter] += block.levels
        gradient[d:] += 0.5 * (data.counts - in_blocks)
    return Derivatives(value, *_to_absolute(gradient, hessian, u, data.parameters))


def _derivatives(point: _Point, data: Crossproducts, profile: bool, order: int):
    """Gradient and Hessian in (log sigma, relative covariances or log lambda, stage by stage)."""
    variance, posterior = point.sigma**2, point.posterior
    jacobian, curvature = dense.to_parameters(posterior)
    steep, squares = dense.gradient(posterior, variance)
    J = posterior.det_weights if data.gammas or not profile else np.zeros((0, 0))
    weights = (J, posterior.residual_weights, 1.0 / variance)
    gradient = np.concatenate(
        [
            [2.0 * (power(data, profile) - posterior.q_tilde / variance)],
            point.first.gradient(*weights),
            steep @ jacobian,
        ]
    )
    if order < 2:
        return -0.5 * gradient, None
    first_squares, own, mixed = dense.coupling(posterior, point.first.slopes(), variance)
    n = 1 + len(own)
    hessian = np.zeros((len(gradient),) * 2)
    hessian[0, 0] = 4.0 * posterior.q_tilde / variance
    hessian[0, 1:] = hessian[1:, 0] = -2.0 * np.concatenate([first_squares, squares @ jacobian]) / variance
    hessian[1:n, 1:n] = own + point.first.curvature(*weights)
    hessian[1:n, n:] = mixed @ jacobian
    hessian[n:, 1:n] = hessian[1:n, n:].T
    hessian[n:, n:] = jacobian.T @ dense.hessian(posterior, variance) @ jacobian + np.diag(curvature * steep)
    return -0.5 * gradient, -0.5 * hessian


def _to_absolute(gradient: np.ndarray, hessian: np.ndarray, u: np.ndarray, stop: int):
    """From (log sigma, vech Sigma/sigma^2, log lambda) to (sigma, vech Sigma, log lambda).

    ``jacobian`` is that of the inverse map; only log sigma enters non-linearly:
    ``v = V exp(-2 s)``, so d2v/ds2 = 4v and d2v/ds dV = -2 exp(-2 s) I; d2s/dsigma2 = -1/sigma^2.
    """
    sigma, size = u[0], len(u)
    v = slice(1, stop)
    relative = u[v] / sigma**2
    jacobian = np.eye(size)
    jacobian[0, 0] = 1.0 / sigma
    jacobian[v, 0] = -2.0 * relative / sigma
    jacobian[v, v] = np.eye(stop - 1) / sigma**2
    curvature = np.zeros((size, size))
    curvature[0, 0] = (-gradient[0] + 6.0 * relative @ gradient[v]) / sigma**2
    curvature[0, v] = curvature[v, 0] = -2.0 * gradient[v] / sigma**3
    return jacobian.T @ gradient, jacobian.T @ hessian @ jacobian + curvature


def residual(u: np.ndarray, data: Crossproducts) -> tuple[float, float]:
    """``q_tilde``, the penalised residual sum of squares, and the log-determinant with it; nan outside the support."""
    point = _locate(u, data, profile=False)
    return (
        (np.nan, np.nan) if point is None else (point.posterior.q_tilde, point.first.log_det + point.posterior.log_det)
    )


def evaluate_lambda(u: np.ndarray, data: Crossproducts) -> Derivatives:
    """Marginal log-likelihood with its derivatives in log lambda alone, those of dense columns: O(r^3)."""
    point, groups = _locate(u, data, profile=False), len(data.counts)
    gradient, hessian = np.zeros(groups), np.zeros((groups, groups))
    if point is None:
        return Derivatives(-np.inf, gradient, hessian)
    if data.ridges:
        d, full = data.parameters, evaluate(u, data, profile=False, order=2)
        return Derivatives(full.value, full.gradient[d:], full.hessian[d:, d:])
    variance, posterior = point.sigma**2, point.posterior
    jacobian, curvature = dense.to_parameters(posterior)
    steep, _ = dense.gradient(posterior, variance)
    second = jacobian.T @ dense.hessian(posterior, variance) @ jacobian + np.diag(curvature * steep)
    edges = np.cumsum([0, *(vech_size(block.q) for block in data.blocks)])
    own = [(int(at), block.parameter) for at, block in zip(edges, data.blocks, strict=False) if block.ridge]
    for at, g in own:
        gradient[g] = -0.5 * steep[at] * jacobian[at, at]
        for other, h in own:
            hessian[g, h] = -0.5 * second[at, other]
    return Derivatives(_value(point, data, profile=False), gradient, hessian)


def condition(u: np.ndarray, data: Crossproducts) -> dense.ConditionalEffects:
    """Law of the effects of the dense columns at u, given y: mean, and draws over sigma.

    Raises
    ------
    LinAlgError
        u is outside the support.
    """
    point = _locate(np.asarray(u, dtype=float), data, profile=False)
    if point is None:
        raise np.linalg.LinAlgError("A covariance is not positive definite.")
    return point.posterior
