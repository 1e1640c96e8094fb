"""The collapsed log-posterior in unconstrained coordinates, with its gradient: what a sampler calls.

``x`` are the coordinates of :mod:`pmlmm.kernels.coordinates`. In them an inverse-Wishart prior is short:
with ``Sigma^{-1} = C C'``, ``log|Sigma| = -2 sum log C_aa`` and ``tr(Phi Sigma^{-1}) = tr(Phi C C')``.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pmlmm.kernels import half_student_t
from pmlmm.kernels.coordinates import LOG_2, vech
from pmlmm.kernels.interrupts import interruptible
from pmlmm.kernels.inverse_wishart import hyperparameter_gradient, log_normaliser
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.likelihood_compiled import FUNCTIONS, FlatCrossproducts
from pmlmm.kernels.small_matrices import factor, inverse_factor, outside, root_gram


class Priors(NamedTuple):
    """Priors as arrays: degrees of freedom and scale of each covariance, padded to (K,) and (K, q, q).

    A flat prior has ``proper`` False. ``sigma_nu`` is 0 where the prior of sigma is flat.
    """

    proper: np.ndarray
    eta: np.ndarray
    Phi: np.ndarray
    sigma_nu: float
    sigma_scale: float
    constant: float


def pack_priors(covariances: Sequence, sizes: tuple[int, ...], sigma_nu: float, sigma_scale: float) -> Priors:
    """The priors with all normalising constants; ``covariances`` have ``eta`` and ``Phi``, or are None where flat."""
    largest, count = max(sizes, default=1), len(sizes)
    proper, eta, Phi = np.zeros(count, dtype=bool), np.zeros(count), np.zeros((count, largest, largest))
    constant = sum(sizes) * LOG_2
    for k, value in enumerate(covariances):
        if value is not None:
            q = value.q
            proper[k], eta[k], Phi[k, :q, :q] = True, value.eta, value.Phi
            constant += log_normaliser(value.eta, float(np.linalg.slogdet(value.Phi)[1]), q)
    if sigma_nu:
        constant += float(half_student_t.log_densities(np.zeros(1), sigma_nu, sigma_scale)[0])
    return Priors(proper, eta, Phi, float(sigma_nu), float(sigma_scale), constant)


@kernel
def _factor_of_precision(x: np.ndarray, at: int, q: int):
    """C from its entries in x, and its inverse."""
    C, inverse = np.zeros((q, q)), np.zeros((q, q))
    for a in range(q):
        for b in range(a + 1):
            C[a, b] = np.exp(x[at]) if a == b else x[at]
            at += 1
    for b in range(q):
        inverse[b, b] = 1.0 / C[b, b]
        for a in range(b + 1, q):
            for k in range(b, a):
                inverse[a, b] -= C[a, k] * inverse[k, b]
            inverse[a, b] /= C[a, a]
    return C, inverse


@kernel
def natural(x: np.ndarray, sizes: np.ndarray, log_lambda: np.ndarray):
    """``u = (sigma, vech Sigma_1, ..., log lambda)`` at x."""
    d = x.shape[0]
    u, at = np.empty(d + log_lambda.shape[0]), 1
    u[0] = np.exp(x[0])
    u[d:] = log_lambda
    for q in sizes:
        _, K = _factor_of_precision(x, at, q)
        for a in range(q):
            for b in range(a + 1):
                u[at] = 0.0
                for k in range(a, q):
                    u[at] += K[k, a] * K[k, b]
                at += 1
    return u


@kernel
def _sandwich(C: np.ndarray, K: np.ndarray, slope: np.ndarray, at: int):
    """``-2 Sigma G Sigma C = -2 Sigma G K'`` with G from the gradient in vech Sigma: the gradient in C."""
    q = C.shape[0]
    G, half, result = np.empty((q, q)), np.zeros((q, q)), np.zeros((q, q))
    for a in range(q):
        for b in range(a + 1):
            G[a, b] = G[b, a] = slope[at] * (1.0 if a == b else 0.5)
            at += 1
    for a in range(q):
        for b in range(q):
            for k in range(q):
                half[a, b] += G[a, k] * K[b, k]
    for a in range(q):
        for b in range(q):
            for k in range(q):
                for j in range(q):
                    result[a, b] -= 2.0 * K[k, a] * K[k, j] * half[j, b]
    return result


@kernel
def add_priors(
    x: np.ndarray,
    slope: np.ndarray,
    sizes: np.ndarray,
    proper: np.ndarray,
    eta: np.ndarray,
    Phi: np.ndarray,
    sigma_nu: float,
    sigma_scale: float,
    constant: float,
):
    """Log prior density of x with Jacobian, and the gradient in x of it plus that of a function of u.

    ``slope`` is the gradient of that function in u.
    """
    gradient, sigma, at = np.empty(x.shape[0]), np.exp(x[0]), 1
    value, gradient[0] = constant + x[0], 1.0 + slope[0] * sigma
    if sigma_nu > 0.0:
        scaled = (sigma / sigma_scale) ** 2 / sigma_nu
        value -= 0.5 * (sigma_nu + 1.0) * np.log1p(scaled)
        gradient[0] -= (sigma_nu + 1.0) * scaled / (1.0 + scaled)
    for k in range(sizes.shape[0]):
        q = sizes[k]
        C, K = _factor_of_precision(x, at, q)
        moved = _sandwich(C, K, slope, at)
        for a in range(q):
            for b in range(a + 1):
                total = moved[a, b]
                if proper[k]:
                    for j in range(q):
                        total -= Phi[k, a, j] * C[j, b]
                        value -= 0.5 * C[a, b] * Phi[k, a, j] * C[j, b]
                if a == b:
                    own = -(q + 1.0) - a
                    if proper[k]:
                        own += eta[k] + q + 1.0
                    value += own * x[at]
                    total = total * C[a, a] + own
                gradient[at] = total
                at += 1
    return value, gradient


@kernel
def _digamma(x: float):
    """By recurrence up to 10 and then its asymptotic series (DLMF 5.11.2); compiled code has no SciPy."""
    total = 0.0
    while x < 10.0:
        total -= 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760)))))
    return total + np.log(x) - 0.5 / x - series


@kernel
def inverse_wishart(w: np.ndarray):
    """Log-density of ``w = (vech Sigma, eta, vech Phi)`` and its gradient; ``-inf`` and nan outside of its support.

    The numbers of :func:`pmlmm.kernels.inverse_wishart.log_density`, without the Hessian.
    """
    q = 0
    while (q + 1) * (q + 2) < w.shape[0]:
        q += 1
    size = q * (q + 1) // 2
    eta, Sigma, Phi = w[size], np.empty((q, q)), np.empty((q, q))
    for a in range(q):
        for b in range(a + 1):
            at = a * (a + 1) // 2 + b
            Sigma[a, b] = Sigma[b, a] = w[at]
            Phi[a, b] = Phi[b, a] = w[size + 1 + at]
    left, right = Sigma.copy(), Phi.copy()
    if not (eta > q - 1.0 and factor(left) and factor(right)):
        return outside(w)
    precision, scatter = root_gram(inverse_factor(left)), root_gram(inverse_factor(right))
    value = -0.5 * eta * q * np.log(2.0) - q * (q - 1) / 4.0 * np.log(np.pi)
    slope = -0.5 * q * np.log(2.0)
    for a in range(q):
        value -= math.lgamma(0.5 * (eta - a)) + (eta + q + 1.0) * np.log(left[a, a]) - eta * np.log(right[a, a])
        slope -= 0.5 * _digamma(0.5 * (eta - a)) + np.log(left[a, a]) - np.log(right[a, a])
    gradient, sandwich = np.empty(w.shape[0]), np.zeros((q, q))
    half = precision @ Phi
    for a in range(q):
        value -= 0.5 * half[a, a]
        for b in range(q):
            for k in range(q):
                sandwich[a, b] += half[a, k] * precision[k, b]
    gradient[size] = slope
    for a in range(q):
        for b in range(a + 1):
            at, twice = a * (a + 1) // 2 + b, 1.0 if a == b else 2.0
            gradient[at] = 0.5 * twice * (sandwich[a, b] - (eta + q + 1.0) * precision[a, b])
            gradient[size + 1 + at] = 0.5 * twice * (eta * scatter[a, b] - precision[a, b])
    return value, gradient


class Whitened:
    """A density in coordinates z, ``x = centre + scale z``; arrays of the lengths d and (d, d)."""

    def __init__(self, density: Callable, centre: np.ndarray, scale: np.ndarray):
        self.density, self.centre, self.scale = density, centre, scale

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Log-density of x, and its gradient in z; ``-inf`` and nan where there is none."""
        with np.errstate(all="ignore"):  # what overflows is far outside
            value, gradient = self.density(self.point(z))
            return (float(value), gradient @ self.scale) if np.isfinite(value) else outside(z)

    def point(self, z: np.ndarray) -> np.ndarray:
        """x at z (..., d)."""
        return self.centre + z @ self.scale.T


class CollapsedDensity:
    """log p(y, x | Theta) of one model and its gradient, as a function of x.

    Parameters
    ----------
    packed : FlatCrossproducts
        The model's cross-products.
    log_lambda : (G,) array
    covariances : sequence
        Priors of the covariances, as in :func:`pack_priors`.
    sigma_prior : (nu, scale)
        Half Student-t; nu = 0 for a flat prior.
    """

    def __init__(
        self, packed: FlatCrossproducts, log_lambda: np.ndarray, covariances: Sequence, sigma_prior: tuple[float, float]
    ):
        self._function, self._arrays, self._sizes = FUNCTIONS[packed.kind], (packed.plan, packed.first), packed.plan[0]
        self._log_lambda = np.asarray(log_lambda, dtype=float)
        self._priors = pack_priors(covariances, tuple(self._sizes.tolist()), *sigma_prior)

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        u = natural(x, self._sizes, self._log_lambda)
        with interruptible:
            likelihood, slope = self._function(u, *self._arrays)
            prior, gradient = add_priors(x, slope, self._sizes, *self._priors)
        return likelihood + prior, gradient


class HyperparameterDensity:
    """log p(y, x, phi): the hyperparameters are unknowns too, behind x in one vector (x, phi).

    Parameters
    ----------
    packed : FlatCrossproducts
    sigma_prior : (nu, scale)
    size : int
        Length of x.
    theta, jacobian, log_hyperprior : callables
        phi to Theta; to the derivative of (log lambda, eta_1, vech Phi_1, ...); to the log-density of the
        hyperprior with its gradient.
    """

    def __init__(
        self,
        packed: FlatCrossproducts,
        sigma_prior: tuple[float, float],
        size: int,
        theta: Callable,
        jacobian: Callable,
        log_hyperprior: Callable,
    ):
        self._sigma, self._size = sigma_prior, size
        self._theta, self._jacobian, self._log_hyperprior = theta, jacobian, log_hyperprior
        self._function, self._arrays, self._sizes = FUNCTIONS[packed.kind], (packed.plan, packed.first), packed.plan[0]

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        d = self._size
        x, phi = np.ascontiguousarray(point[:d]), point[d:]
        theta = self._theta(phi)
        log_lambda = np.asarray(theta.log_lambda, dtype=float)
        priors = pack_priors(theta.covariances, tuple(self._sizes.tolist()), *self._sigma)
        with interruptible:
            likelihood, slope = self._function(natural(x, self._sizes, log_lambda), *self._arrays)
            prior, gradient = add_priors(x, slope, self._sizes, *priors)
        hyperprior, own = self._log_hyperprior(phi)
        parts, at = [slope[d:]], 1
        for q, value in zip(self._sizes, theta.covariances, strict=True):
            with interruptible:
                C, _ = _factor_of_precision(x, at, q)
            at += len(vech(C))
            if value is not None:
                log_det = -2.0 * float(np.sum(np.log(np.diag(C))))
                parts.append(hyperparameter_gradient(value.eta, value.Phi, C @ C.T, log_det))
        slope_phi = np.concatenate(parts) @ self._jacobian(phi) + own
        return likelihood + prior + hyperprior, np.concatenate([gradient, slope_phi])
