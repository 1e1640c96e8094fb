"""The likelihood with the random effects (and beta) integrated out: value, gradient, Hessian.

The coordinates are ``u = (sigma, vech Sigma_1, ..., vech Sigma_K, log lambda_1, ..., log lambda_G)``.
Two variants (``docs/mathematics.md``, "Collapsed likelihood"):

marginal
    ``log p(y | sigma, Sigma, lambda)``: gamma and beta integrated out.
profile
    ``max_beta log p(y, beta | sigma, Sigma, lambda)``: gamma integrated out, beta at its maximum.
    The talk's Laplace approximation over {beta, sigma, Sigma} is built on it.

Two stages: one factor's groups, or penalised columns, are eliminated first
(:mod:`pmlmm.kernels.eliminate.protocol`), everything else together in one dense factorisation
(:mod:`pmlmm.kernels.eliminate.dense`).

Values and gradients come from here too, not from :mod:`pmlmm.kernels.likelihood_compiled`, which is many times
faster on a small model: compiling that takes longer than a first fit, and a fit hardly asks for a gradient alone.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels.coordinates import vech_size
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.derivatives import LOG_2PI, Derivatives, nowhere
from pmlmm.kernels.eliminate import dense
from pmlmm.kernels.eliminate.protocol import Eliminated


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
        roots, layout = data.roots(u), data.layout
        log_lambda = data.relative(u[layout.log_lambda], u[layout.sigma])
        first = data.eliminate(roots, log_lambda)
        blocks = data.block_roots(roots, log_lambda)
        posterior = dense.ConditionalEffects(first.Q, data.blocks, blocks, data.gammas, profile)
    except np.linalg.LinAlgError:
        return None
    return _Point(u[layout.sigma], log_lambda, first, posterior)


def _value(point: _Point, data: Crossproducts, profile: bool) -> float:
    prior = float(data.counts @ point.log_lambda) if profile else 0.0
    return -0.5 * float(
        power(data, profile) * (LOG_2PI + 2.0 * np.log(point.sigma))
        - data.log_weights
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
        columns of Z), log lambda of each penalty group (``-log tau^2`` where it is in the units of y).
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
    u, last = np.array(u, dtype=float), data.last[profile]
    kept: tuple[int, Derivatives] | None = last.find(u)
    if kept is None or kept[0] < order:
        kept = last.keep((order, _evaluate(u, data, profile, order)), u)
    return kept[1]


def _evaluate(u: np.ndarray, data: Crossproducts, profile: bool, order: int) -> Derivatives:
    layout, (_, gradient, hessian) = data.layout, nowhere(len(u))
    point = _locate(u, data, profile) if u[layout.sigma] > 0 else None
    if point is None:
        return nowhere(len(u))
    value = _value(point, data, profile)
    if order == 0:
        return Derivatives(value, gradient, hessian)
    inner, second = _derivatives(point, data, profile, order)
    gradient[data.order] = inner
    if order == 2:
        hessian[np.ix_(data.order, data.order)] = second
    if profile:  # coefficients that the rotation left out: only their prior's constant is there
        in_blocks = np.zeros(len(data.counts))
        for block in data.blocks:
            if block.ridge:
                in_blocks[block.parameter] += block.levels
        gradient[layout.log_lambda] += 0.5 * (data.counts - in_blocks)
    return Derivatives(value, *_to_absolute(gradient, hessian, u, data))


def _derivatives(point: _Point, data: Crossproducts, profile: bool, order: int):
    """Gradient and Hessian in (log sigma, relative covariances or log lambda, stage by stage)."""
    variance, posterior = point.sigma**2, point.posterior
    jacobian, curvature = dense.to_parameters(posterior)
    steep, squares = dense.gradient(posterior, variance)
    J = posterior.det_weights if data.gammas or not profile else np.zeros((0, 0))
    first, bent = point.first.derivatives(J, posterior.residual_weights, 1.0 / variance, order)
    scale = 2.0 * (power(data, profile) - posterior.q_tilde / variance)
    gradient = np.concatenate([[scale], first, steep @ jacobian])
    if order < 2:
        return -0.5 * gradient, None
    first_squares, own, mixed = dense.coupling(posterior, point.first.slopes, variance)
    n = 1 + len(own)
    hessian = np.zeros((len(gradient),) * 2)
    hessian[0, 0] = 4.0 * posterior.q_tilde / variance
    hessian[0, 1:] = hessian[1:, 0] = -2.0 * np.concatenate([first_squares, squares @ jacobian]) / variance
    hessian[1:n, 1:n] = own + bent
    hessian[1:n, n:] = mixed @ jacobian
    hessian[n:, 1:n] = hessian[1:n, n:].T
    hessian[n:, n:] = jacobian.T @ dense.hessian(posterior, variance) @ jacobian + np.diag(curvature * steep)
    return -0.5 * gradient, -0.5 * hessian


def _to_absolute(gradient: np.ndarray, hessian: np.ndarray, u: np.ndarray, data: Crossproducts):
    """From (log sigma, vech Sigma/sigma^2, log lambda) to u.

    ``jacobian`` is that of the inverse map; only log sigma enters non-linearly:
    ``v = V exp(-2 s)``, so d2v/ds2 = 4v and d2v/ds dV = -2 exp(-2 s) I; d2s/dsigma2 = -1/sigma^2. log lambda of a group
    in the units of y is linear in s.
    """
    layout = data.layout
    at, v, absolute = layout.sigma, layout.covariances, layout.log_lambda.start + np.flatnonzero(data.absolute)
    sigma = u[at]
    relative = u[v] / sigma**2
    jacobian, curvature = np.eye(layout.size), np.zeros((layout.size, layout.size))
    jacobian[at, at] = 1.0 / sigma
    jacobian[v, at] = -2.0 * relative / sigma
    jacobian[v, v] = np.eye(len(relative)) / sigma**2
    jacobian[absolute, at] = 2.0 / sigma
    curvature[at, at] = (-gradient[at] + 6.0 * relative @ gradient[v] - 2.0 * gradient[absolute].sum()) / sigma**2
    curvature[at, v] = curvature[v, at] = -2.0 * gradient[v] / sigma**3
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
        full, at = evaluate(u, data, profile=False, order=2), data.layout.log_lambda
        return Derivatives(full.value, full.gradient[at], full.hessian[at, at])
    variance, posterior = point.sigma**2, point.posterior
    jacobian, curvature = dense.to_parameters(posterior)
    steep, _ = dense.gradient(posterior, variance)
    second = jacobian.T @ dense.hessian(posterior, variance) @ jacobian + np.diag(curvature * steep)
    edges = np.cumsum([0, *(vech_size(block.q) for block in data.blocks)])
    own = [(int(at), block.parameter) for at, block in zip(edges, data.blocks, strict=False) if block.ridge]
    for entry, g in own:
        gradient[g] = -0.5 * steep[entry] * jacobian[entry, entry]
        for other, h in own:
            hessian[g, h] = -0.5 * second[entry, other]
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
