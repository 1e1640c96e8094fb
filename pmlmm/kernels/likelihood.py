"""The likelihood with the random effects (and beta) integrated out: value, gradient, Hessian.

The coordinates are ``u = (sigma, vech Sigma_1, ..., vech Sigma_K, log lambda_1, ..., log lambda_G)``.
Two variants (``docs/mathematics.md``, "Collapsed likelihood"):

marginal
    ``log p(y | sigma, Sigma, lambda)``: gamma and beta integrated out.
profile
    ``max_beta log p(y, beta | sigma, Sigma, lambda)``: gamma integrated out, beta at its maximum.
    The talk's Laplace approximation over {beta, sigma, Sigma} is built on it.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels import crossproducts
from pmlmm.kernels.coordinates import block_diagonal, traces, unvech, vech_indices, vech_slices

LOG_2PI = float(np.log(2.0 * np.pi))


class Crossproducts(NamedTuple):
    """All that the likelihood needs of the data; see :func:`crossproducts.reduce`.

    ``penalty`` holds, for each of the r columns of X, the index of its penalty group, or -1 for a
    column with a flat prior (density 1). ``n`` is the number of rows.
    """

    designs: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    cross: np.ndarray
    gram: np.ndarray
    penalty: np.ndarray
    n: float


class Derivatives(NamedTuple):
    """Value, gradient (k,) and Hessian (k, k) of a scalar function."""

    value: float
    gradient: np.ndarray
    hessian: np.ndarray


class _Point(NamedTuple):
    """One evaluation of the elimination, in relative coordinates."""

    sigma: float
    relative: np.ndarray
    log_lambda: np.ndarray
    log_det_M: float
    Q: np.ndarray
    B: np.ndarray
    D: np.ndarray
    chol_P: np.ndarray
    root: np.ndarray  # of P^{-1}: root' root
    a: np.ndarray
    q_tilde: float


def penalties(log_lambda: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """lambda of every column, (..., r); 0 where the prior is flat."""
    if log_lambda.shape[-1] == 0:
        return np.zeros((*log_lambda.shape[:-1], len(penalty)))
    return np.where(penalty < 0, 0.0, np.exp(log_lambda[..., np.maximum(penalty, 0)]))


def _power(data: Crossproducts, profile: bool) -> float:
    """n* in ``(2 pi sigma^2)^(-n*/2)``: a ridge column adds one if beta stays, a flat one removes one."""
    flat = np.count_nonzero(data.penalty < 0)
    return float(data.n + len(data.penalty) - flat if profile else data.n - flat)


def _group_sizes(data: Crossproducts, groups: int) -> np.ndarray:
    return np.bincount(data.penalty[data.penalty >= 0], minlength=groups)


def _locate(u: np.ndarray, data: Crossproducts, sizes: tuple[int, ...]) -> _Point | None:
    """Eliminate gamma and beta at u; None where Sigma is not positive definite."""
    sigma = u[0]
    parts = vech_slices(sizes)
    stop = parts[-1].stop if parts else 1
    blocks = [unvech(u[part], q) for q, part in zip(sizes, parts, strict=True)]
    relative = block_diagonal(blocks) / sigma**2 if sizes else np.zeros((0, 0))
    r = len(data.penalty)
    try:
        L = np.linalg.cholesky(relative)
        log_det_M, Q, B, D = crossproducts.reduce(data.designs, data.weights, data.starts, data.cross, data.gram, L)
        P = Q[:r, :r] + np.diag(penalties(u[stop:], data.penalty))
        chol_P = np.linalg.cholesky(P)
    except np.linalg.LinAlgError:
        return None
    root = np.linalg.inv(chol_P)
    a = root.T @ (root @ Q[:r, r])
    q_tilde = float(Q[r, r] - Q[r, :r] @ a)
    return _Point(sigma, relative, u[stop:], log_det_M, Q, B, D, chol_P, root, a, q_tilde)


def _value(point: _Point, data: Crossproducts, profile: bool) -> float:
    log_det_P = 0.0 if profile else 2.0 * np.sum(np.log(np.diag(point.chol_P)))
    return -0.5 * float(
        _power(data, profile) * (LOG_2PI + 2.0 * np.log(point.sigma))
        + point.log_det_M
        + log_det_P
        - _group_sizes(data, len(point.log_lambda)) @ point.log_lambda
        + point.q_tilde / point.sigma**2
    )


def evaluate(u: np.ndarray, data: Crossproducts, sizes: tuple[int, ...], *, profile: bool, order: int):
    """Value, gradient and Hessian at u.

    Parameters
    ----------
    u : (k,) array
        sigma (units of y), the lower triangles of the covariances (units of y^2 over units of the
        columns of Z), log lambda of each penalty group.
    data : Crossproducts
    sizes : tuple of int
        Number of random effects per group of each term.
    profile : bool
        The profile variant instead of the marginal one.
    order : {0, 1, 2}
        Highest derivative wanted; what is not asked for is filled with nan.

    Returns
    -------
    Derivatives
        ``-inf`` and nan derivatives outside the support. O(D q^4 + K q^2 r^2) for D distinct
        designs and K cross-products.
    """
    u = np.asarray(u, dtype=float)
    size = len(u)
    gradient, hessian = np.full(size, np.nan), np.full((size, size), np.nan)
    point = _locate(u, data, sizes) if u[0] > 0 else None
    if point is None:
        return Derivatives(-np.inf, gradient, hessian)
    value = _value(point, data, profile)
    if order == 0:
        return Derivatives(value, gradient, hessian)
    slopes = _slopes(point, data)
    keep = _block_entries(sizes, len(point.log_lambda))
    gradient = _gradient(point, slopes, data, profile)[keep]
    hessian = np.full((size, size), np.nan)
    if order == 2:
        hessian = _hessian(point, slopes, data, profile)[np.ix_(keep, keep)]
    return Derivatives(value, *_to_absolute(gradient, hessian, u, sizes))


class _Slopes(NamedTuple):
    """What gradient and Hessian share; s runs over vech entries, g over penalty groups.

    ``E[s] = sum_i D_i^X' E_s D_i^X``, ``f[s] = sum_i D_i^X' E_s e_i``, ``ee[s] = sum_i e_i' E_s e_i``
    with ``e_i = D_i^y - D_i^X a``; ``PE``, ``PT`` are ``P^{-1}`` times E and times the penalty matrix
    of each group; ``Taa[g] = a' T_g a``.
    """

    f: np.ndarray
    ee: np.ndarray
    P_inverse: np.ndarray
    PE: np.ndarray
    PT: np.ndarray
    Ta: np.ndarray
    Taa: np.ndarray


def _slopes(point: _Point, data: Crossproducts) -> _Slopes:
    r, groups, a = len(data.penalty), len(point.log_lambda), point.a
    P_inverse = point.root.T @ point.root
    products = _design_products(point.D, *vech_indices(len(point.relative)))
    weighted = products @ np.append(-a, 1.0)
    T = np.where(data.penalty == np.arange(groups)[:, None], penalties(point.log_lambda, data.penalty), 0.0)
    return _Slopes(
        f=weighted[:, :r],
        ee=weighted[:, r] - weighted[:, :r] @ a,
        P_inverse=P_inverse,
        PE=P_inverse @ products[:, :r, :r],
        PT=P_inverse * T[:, None, :],
        Ta=T * a,
        Taa=T @ a**2,
    )


def _gradient(point: _Point, slopes: _Slopes, data: Crossproducts, profile: bool) -> np.ndarray:
    """In (log sigma, vech of the whole relative covariance, log lambda)."""
    rows, cols = vech_indices(len(point.relative))
    kappa, variance = 0.0 if profile else 1.0, point.sigma**2
    total_B = np.tensordot(data.weights, point.B, axes=1)[rows, cols]
    trace_PE, trace_PT = (np.trace(x, axis1=1, axis2=2) for x in (slopes.PE, slopes.PT))
    counts = _group_sizes(data, len(point.log_lambda))
    return np.concatenate(
        [
            [-_power(data, profile) + point.q_tilde / variance],
            -0.5 * (np.where(rows == cols, 1, 2) * total_B - kappa * trace_PE - slopes.ee / variance),
            -0.5 * (kappa * trace_PT - counts + slopes.Taa / variance),
        ]
    )


def _hessian(point: _Point, slopes: _Slopes, data: Crossproducts, profile: bool) -> np.ndarray:
    """In (log sigma, vech of the whole relative covariance, log lambda)."""
    rows, cols = vech_indices(len(point.relative))
    nv, groups, variance = len(rows), len(point.log_lambda), point.sigma**2
    kappa = 0.0 if profile else 1.0
    H = point.D @ _weights_of_e_and_beta(point, profile)
    BB, BN = crossproducts.couple(point.B, data.weights, data.starts, H, rows, cols)
    Pf = slopes.f @ slopes.P_inverse
    diagonal = kappa * np.trace(slopes.PT, axis1=1, axis2=2) + slopes.Taa / variance
    v, t = slice(1, 1 + nv), slice(1 + nv, None)
    hessian = np.empty((1 + nv + groups,) * 2)
    hessian[0, 0] = -2.0 * point.q_tilde / variance
    hessian[0, v] = -slopes.ee / variance
    hessian[0, t] = slopes.Taa / variance
    hessian[v, v] = 0.5 * (BB - BN + kappa * traces(slopes.PE, slopes.PE)) + slopes.f @ Pf.T / variance
    hessian[v, t] = -0.5 * kappa * traces(slopes.PE, slopes.PT) + Pf @ slopes.Ta.T / variance
    hessian[t, t] = 0.5 * (kappa * traces(slopes.PT, slopes.PT) - np.diag(diagonal))
    hessian[t, t] += slopes.Ta @ slopes.P_inverse @ slopes.Ta.T / variance
    lower = np.tril_indices(len(hessian), -1)
    hessian[lower] = hessian.T[lower]
    return hessian


def _weights_of_e_and_beta(point: _Point, profile: bool) -> np.ndarray:
    """U with ``U U' = [kappa P^{-1}, 0; 0, 0] + w w'/sigma^2``, w = (-a, 1)."""
    r = len(point.a)
    e_weights = np.append(-point.a, 1.0)[:, None] / point.sigma
    if profile or r == 0:
        return e_weights
    return np.hstack([np.vstack([point.root.T, np.zeros((1, r))]), e_weights])


def _design_products(D: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """``sum_i D_i' E_s D_i`` for every vech entry s: (nv, w, w)."""
    q, width = D.shape[1:]
    flat = D.reshape(len(D), q * width)
    full = (flat.T @ flat).reshape(q, width, q, width).transpose(0, 2, 1, 3)
    products = full[rows, cols]
    return np.where((rows == cols)[:, None, None], products, products + np.swapaxes(products, 1, 2))


def _block_entries(sizes: tuple[int, ...], groups: int) -> np.ndarray:
    """Positions of sigma, of the blocks' vech entries and of log lambda in the full vech."""
    q = sum(sizes)
    rows, cols = vech_indices(q)
    term = np.repeat(np.arange(len(sizes)), sizes)
    inside = np.flatnonzero(term[rows] == term[cols]) if q else np.zeros(0, dtype=int)
    return np.concatenate([[0], 1 + inside, 1 + len(rows) + np.arange(groups)])


def _to_absolute(gradient: np.ndarray, hessian: np.ndarray, u: np.ndarray, sizes: tuple[int, ...]):
    """From (log sigma, vech Sigma/sigma^2, log lambda) to (sigma, vech Sigma, log lambda).

    ``jacobian`` is that of the inverse map; only log sigma enters non-linearly:
    ``v = V exp(-2 s)``, so d2v/ds2 = 4v and d2v/ds dV = -2 exp(-2 s) I; d2s/dsigma2 = -1/sigma^2.
    """
    sigma, size = u[0], len(u)
    stop = 1 + sum(q * (q + 1) // 2 for q in sizes)
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


class Conditional(NamedTuple):
    """beta given (sigma, Sigma, lambda) and y: N(a, sigma^2 P^{-1}), chol_P lower."""

    a: np.ndarray
    chol_P: np.ndarray


def condition(u: np.ndarray, data: Crossproducts, sizes: tuple[int, ...]) -> Conditional:
    """Conditional law of beta at u, on the scale of the columns behind ``data``.

    Raises
    ------
    LinAlgError
        u is outside the support.
    """
    point = _locate(np.asarray(u, dtype=float), data, sizes)
    if point is None:
        raise np.linalg.LinAlgError("A covariance is not positive definite.")
    return Conditional(point.a, point.chol_P)
