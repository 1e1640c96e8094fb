"""The collapsed log-posterior in unconstrained coordinates, with its gradient: what a sampler calls.

``x`` are the coordinates of :mod:`pmlmm.kernels.coordinates`. In them a prior on a covariance is short: with
``Sigma^{-1} = C C'``, ``log|Sigma| = -2 sum log C_aa`` and ``tr(Phi Sigma^{-1}) = tr(Phi C C')``.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from pmlmm.kernels import half_student_t
from pmlmm.kernels.coordinates import LOG_2, precision_cholesky, vech_slices
from pmlmm.kernels.interrupts import interruptible
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.likelihood_compiled import FUNCTIONS, FlatCrossproducts
from pmlmm.kernels.precision_factor import factor_of_precision
from pmlmm.kernels.small_matrices import outside


class CovarianceTerm(Protocol):
    """The prior of one covariance, as :class:`pmlmm.priors.covariance.CovarianceDensity` has it."""

    sampled: ClassVar[Callable]

    @property
    def packed(self) -> np.ndarray:
        """Its parameters (h,)."""

    @property
    def log_constant(self) -> float:
        """Log of all that does not depend on Sigma."""

    def gradient(self, precision: np.ndarray, log_det: float) -> np.ndarray:
        """Of the log-density in its parameters, (h,)."""


class Values(Protocol):
    """The hyperparameters at their values."""

    @property
    def log_lambda(self) -> np.ndarray:
        """(G,)."""

    @property
    def covariances(self) -> Sequence[CovarianceTerm]:
        """The prior of each term."""


class Priors(NamedTuple):
    """The prior of sigma, that of the covariances kind by kind, and all constants.

    ``sigma_nu`` is 0 where the prior of sigma is flat. Of each kind there is the compiled slope, and its arrays
    ``(starts, sizes, packed)``.
    """

    sigma_nu: float
    sigma_scale: float
    constant: float
    covariances: list[tuple[Callable, tuple[np.ndarray, np.ndarray, np.ndarray]]]


def pack_priors(
    covariances: Sequence[CovarianceTerm], sizes: tuple[int, ...], sigma_nu: float, sigma_scale: float
) -> Priors:
    """The priors with all normalising constants, that of the Jacobian included."""
    constant = sum(sizes) * LOG_2 + sum(density.log_constant for density in covariances)
    if sigma_nu:
        constant += float(half_student_t.log_densities(np.zeros(1), sigma_nu, sigma_scale)[0])
    kinds: dict[Callable, list[int]] = {}
    for k, density in enumerate(covariances):
        kinds.setdefault(density.sampled, []).append(k)
    starts = [part.start for part in vech_slices(sizes)]
    together = []
    for sampled, members in kinds.items():
        where, q = np.array([starts[k] for k in members]), np.array([sizes[k] for k in members])
        together.append((sampled, (where, q, np.concatenate([covariances[k].packed for k in members]))))
    return Priors(float(sigma_nu), float(sigma_scale), float(constant), together)


@kernel
def natural(x: np.ndarray, sizes: np.ndarray, log_lambda: np.ndarray):
    """``u = (sigma, vech Sigma_1, ..., log lambda)`` at x."""
    d = x.shape[0]
    u, at = np.empty(d + log_lambda.shape[0]), 1
    u[0] = np.exp(x[0])
    u[d:] = log_lambda
    for q in sizes:
        _, K = factor_of_precision(x, at, q)
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
def _add_common(
    x: np.ndarray, slope: np.ndarray, sizes: np.ndarray, sigma_nu: float, sigma_scale: float, constant: float
):
    """:func:`add_priors` without those of the covariances."""
    gradient, sigma, at = np.empty(x.shape[0]), np.exp(x[0]), 1
    value, gradient[0] = constant + x[0], 1.0 + slope[0] * sigma
    if sigma_nu > 0.0:
        scaled = (sigma / sigma_scale) ** 2 / sigma_nu
        value -= 0.5 * (sigma_nu + 1.0) * np.log1p(scaled)
        gradient[0] -= (sigma_nu + 1.0) * scaled / (1.0 + scaled)
    for q in sizes:
        C, K = factor_of_precision(x, at, q)
        moved = _sandwich(C, K, slope, at)
        for a in range(q):
            for b in range(a + 1):
                gradient[at] = moved[a, b]
                if a == b:
                    own = -(q + 1.0) - a
                    value += own * x[at]
                    gradient[at] = moved[a, b] * C[a, a] + own
                at += 1
    return value, gradient


def add_priors(x: np.ndarray, slope: np.ndarray, sizes: np.ndarray, priors: Priors) -> tuple[float, np.ndarray]:
    """Log prior density of x with Jacobian, and the gradient in x of it plus that of a function of u.

    ``slope`` is the gradient of that function in u.
    """
    value, gradient = _add_common(x, slope, sizes, priors.sigma_nu, priors.sigma_scale, priors.constant)
    for sampled, arrays in priors.covariances:
        value += sampled(x, gradient, *arrays)
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
        Priors of the covariances.
    sigma_prior : (nu, scale)
        Half Student-t; nu = 0 for a flat prior.
    """

    def __init__(
        self,
        packed: FlatCrossproducts,
        log_lambda: np.ndarray,
        covariances: Sequence[CovarianceTerm],
        sigma_prior: tuple[float, float],
    ):
        self._function, self._arrays, self._sizes = FUNCTIONS[packed.kind], (packed.plan, packed.first), packed.plan[0]
        self._log_lambda = np.asarray(log_lambda, dtype=float)
        self._priors = pack_priors(covariances, tuple(self._sizes.tolist()), *sigma_prior)

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        u = natural(x, self._sizes, self._log_lambda)
        with interruptible:
            likelihood, slope = self._function(u, *self._arrays)
            prior, gradient = add_priors(x, slope, self._sizes, self._priors)
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
        phi to Theta; to the derivative of (log lambda, parameters of each covariance); to the log-density of the
        hyperprior with its gradient.
    """

    def __init__(
        self,
        packed: FlatCrossproducts,
        sigma_prior: tuple[float, float],
        size: int,
        theta: Callable[[np.ndarray], Values],
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
            prior, gradient = add_priors(x, slope, self._sizes, priors)
        hyperprior, own = self._log_hyperprior(phi)
        parts = [slope[d:]]
        terms = zip(self._sizes.tolist(), vech_slices(tuple(self._sizes.tolist())), theta.covariances, strict=True)
        for q, part, density in terms:
            C = precision_cholesky(x[part], q)
            parts.append(density.gradient(C @ C.T, -2.0 * float(np.sum(np.log(np.diag(C))))))
        slope_phi = np.concatenate(parts) @ self._jacobian(phi) + own
        return likelihood + prior + hyperprior, np.concatenate([gradient, slope_phi])
