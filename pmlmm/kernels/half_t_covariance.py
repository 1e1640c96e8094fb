r"""The log-density of a covariance whose standard deviations are half-t, with derivatives (Huang and Wand 2013).

``Sigma | a ~ IW(nu + q - 1, 2 nu diag(1 / a_k))`` and ``a_k ~ InvGamma(1/2, 1/s_k^2)``. The integral over each a_k
is a gamma function over a power, which leaves, with ``P = Sigma^{-1}`` and ``B_k = nu P_kk + 1/s_k^2``,

    p(Sigma) = c |Sigma|^{-(nu+2q)/2} prod_k B_k^{-(nu+q)/2} / s_k
    log c    = q (nu+q-1)/2 log nu - log Gamma_q((nu+q-1)/2) + q [log Gamma((nu+q)/2) - 1/2 log pi]

with Gamma_q the multivariate gamma function. The standard deviations are half-t with nu degrees of freedom and scales
s_k; at nu = 2, the only one here, correlations are uniform marginally.

References
----------
Huang, Wand (2013). Simple marginally noninformative prior distributions for covariance matrices. Bayesian Analysis
8(2), 439-452.
"""

import math

import numpy as np
from scipy.special import gammaln, multigammaln

from pmlmm.kernels.coordinates import unvech, vech_size, vech_slope
from pmlmm.kernels.derivatives import Derivatives, nowhere
from pmlmm.kernels.inverse_wishart import congruence
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.precision_factor import lower_factor
from pmlmm.kernels.small_matrices import factor, inverse_factor, outside, root_gram

#: Degrees of freedom.
NU = 2.0


def size_of(length: int) -> int:
    """q of ``w = (vech Sigma, log s)``, which has q(q+3)/2 entries."""
    return int((math.sqrt(8 * length + 9) - 3) / 2 + 0.5)


def log_constant(log_s: np.ndarray) -> float:
    """Log of all that does not depend on Sigma."""
    q = len(log_s)
    eta = NU + q - 1.0
    gammas = q * (gammaln((NU + q) / 2.0) - 0.5 * math.log(math.pi)) - multigammaln(eta / 2.0, q)
    return float(0.5 * q * eta * math.log(NU) + gammas - np.sum(log_s))


def log_densities(log_s: np.ndarray, precision: np.ndarray, log_det: np.ndarray | float) -> np.ndarray:
    """Log-density of many Sigma, given by their precisions (..., q, q) and log-determinants (...)."""
    q = len(log_s)
    logs = np.sum(np.log(bounds(log_s, precision)), axis=-1)
    return log_constant(log_s) - 0.5 * ((NU + 2 * q) * np.asarray(log_det) + (NU + q) * logs)


def bounds(log_s: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """``B_k = nu P_kk + 1 / s_k^2`` of (..., q, q) precisions: (..., q)."""
    return NU * np.diagonal(precision, axis1=-2, axis2=-1) + np.exp(-2.0 * log_s)


def scale_slope(log_s: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Derivative of the log-densities in log s, (..., q)."""
    return (NU + len(log_s)) * np.exp(-2.0 * log_s) / bounds(log_s, precision) - 1.0


def log_density(w: np.ndarray) -> Derivatives:
    """Log-density at ``w = (vech Sigma, log s)`` with gradient and Hessian; ``-inf`` and nan outside ``Sigma > 0``.

    With ``W = diag((nu+q) nu / (2 B_k))`` the first differential in Sigma is ``tr(dSigma (P W P - (nu+2q)/2 P))``.
    """
    q = size_of(len(w))
    nv = vech_size(q)
    Sigma, log_s = unvech(w[:nv], q), w[nv:]
    try:
        root, precision = np.linalg.cholesky(Sigma), np.linalg.inv(Sigma)
    except np.linalg.LinAlgError:
        return nowhere(len(w))
    value = log_densities(log_s, precision, 2.0 * np.sum(np.log(np.diag(root))))
    B, half, power = bounds(log_s, precision), 0.5 * (NU + q), 0.5 * (NU + 2 * q)
    weight, share = half * NU / B, np.exp(-2.0 * log_s) / B
    sandwich = (precision * weight) @ precision
    # how each -P_kk moves with Sigma
    moves = np.array([vech_slope(np.outer(column, column)) for column in precision])
    gradient, hessian = np.empty(len(w)), np.zeros((len(w),) * 2)
    v, s = slice(0, nv), slice(nv, None)
    gradient[v] = vech_slope(sandwich - power * precision)
    gradient[s] = scale_slope(log_s, precision)
    hessian[v, v] = power * congruence(precision, precision) + (moves.T * (weight**2 / half)) @ moves
    hessian[v, v] -= congruence(precision, sandwich) + congruence(sandwich, precision)
    hessian[v, s] = moves.T * (2.0 * weight * share)
    hessian[s, v] = hessian[v, s].T
    hessian[s, s] = np.diag(-4.0 * half * share * (1.0 - share))
    return Derivatives(float(value), gradient, hessian)


@kernel
def value_and_gradient(w: np.ndarray):
    """The numbers of :func:`log_density`, compiled, without the Hessian."""
    q = int((math.sqrt(8 * w.shape[0] + 9) - 3) / 2 + 0.5)
    size = q * (q + 1) // 2
    left = np.empty((q, q))
    for a in range(q):
        for b in range(a + 1):
            left[a, b] = left[b, a] = w[a * (a + 1) // 2 + b]
    if not factor(left):
        return outside(w)
    precision, eta, half = root_gram(inverse_factor(left)), NU + q - 1.0, 0.5 * (NU + q)
    value = 0.5 * q * eta * np.log(NU) - 0.25 * q * (q - 1) * np.log(np.pi)
    value += q * (math.lgamma(half) - 0.5 * np.log(np.pi))
    gradient, weight = np.empty(w.shape[0]), np.empty(q)
    for a in range(q):
        own = np.exp(-2.0 * w[size + a])
        B = NU * precision[a, a] + own
        weight[a] = half * NU / B
        value -= math.lgamma(0.5 * (eta - a)) + (NU + 2 * q) * np.log(left[a, a]) + half * np.log(B) + w[size + a]
        gradient[size + a] = 2.0 * half * own / B - 1.0
    for a in range(q):
        for b in range(a + 1):
            total = -0.5 * (NU + 2 * q) * precision[a, b]
            for k in range(q):
                total += precision[a, k] * weight[k] * precision[k, b]
            gradient[a * (a + 1) // 2 + b] = total if a == b else 2.0 * total
    return value, gradient


@kernel
def add_to_slope(x: np.ndarray, gradient: np.ndarray, starts: np.ndarray, sizes: np.ndarray, packed: np.ndarray):
    """Log-density of covariances in unconstrained coordinates but for its constant; its slope is added to ``gradient``.

    With ``Sigma^{-1} = C C'`` it is ``(nu+2q) sum log C_aa - (nu+q)/2 sum log(nu |C_a.|^2 + 1/s_a^2)``. ``packed`` has
    log s of one covariance after the other.
    """
    value, at = 0.0, 0
    for k in range(starts.shape[0]):
        q, own = sizes[k], starts[k]
        C = lower_factor(x, own, q)
        for a in range(q):
            squares = 0.0
            for b in range(a + 1):
                squares += C[a, b] * C[a, b]
            B = NU * squares + np.exp(-2.0 * packed[at + a])
            value -= 0.5 * (NU + q) * np.log(B)
            for b in range(a + 1):
                slope = -(NU + q) * NU * C[a, b] / B
                if a == b:
                    value += (NU + 2 * q) * x[own]
                    slope = slope * C[a, a] + NU + 2 * q
                gradient[own] += slope
                own += 1
        at += q
    return value
