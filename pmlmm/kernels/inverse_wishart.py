"""The inverse-Wishart log-density with derivatives in the matrix and in its hyperparameters."""

import math

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from pmlmm.kernels.coordinates import unvech, vech_indices, vech_size, vech_slope
from pmlmm.kernels.derivatives import Derivatives, nowhere
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.precision_factor import lower_factor
from pmlmm.kernels.small_matrices import factor, inverse_factor, outside, root_gram

LOG_2, LOG_PI = float(np.log(2.0)), float(np.log(np.pi))


def log_normaliser[X: (float, np.ndarray)](eta: X, log_det_Phi: X, q: int) -> X:
    """Log of the constant in front of ``|Sigma|^{-(eta+q+1)/2} exp(-tr(Phi Sigma^{-1})/2)``; of one or of several."""
    log_gamma = vech_size(q - 1) / 2 * LOG_PI + sum(gammaln((eta - j) / 2) for j in range(q))
    return eta / 2 * log_det_Phi - eta * q / 2 * LOG_2 - log_gamma


def log_density(w: np.ndarray, q: int) -> Derivatives:
    """Log-density of Sigma ~ IW(eta, Phi) with gradient and Hessian.

    Parameters
    ----------
    w : (2 q(q+1)/2 + 1,) array
        ``(vech Sigma, eta, vech Phi)``.
    q : int

    Returns
    -------
    Derivatives
        In w; ``-inf`` and nan outside ``Sigma, Phi > 0``, ``eta > q - 1``.
    """
    nv = vech_size(q)
    Sigma, eta, Phi = unvech(w[:nv], q), w[nv], unvech(w[nv + 1 :], q)
    if eta <= q - 1:
        return nowhere(len(w))
    try:
        chol_Sigma, chol_Phi = np.linalg.cholesky(Sigma), np.linalg.cholesky(Phi)
        precision, Phi_inverse = np.linalg.inv(Sigma), np.linalg.inv(Phi)
    except np.linalg.LinAlgError:
        return nowhere(len(w))
    log_det_Sigma, log_det_Phi = (2 * np.sum(np.log(np.diag(x))) for x in (chol_Sigma, chol_Phi))
    value = log_normaliser(eta, log_det_Phi, q) - 0.5 * ((eta + q + 1) * log_det_Sigma + np.sum(precision * Phi))
    gradient, hessian = np.empty(len(w)), np.zeros((len(w),) * 2)
    sandwich = precision @ Phi @ precision
    half = (eta - np.arange(q)) / 2
    v, e, f = slice(0, nv), nv, slice(nv + 1, None)
    gradient[v] = vech_slope(0.5 * (sandwich - (eta + q + 1) * precision))
    gradient[nv:] = hyperparameter_gradient(eta, Phi, precision, log_det_Sigma)
    hessian[v, v] = 0.5 * (eta + q + 1) * congruence(precision, precision)
    hessian[v, v] -= 0.5 * (congruence(precision, sandwich) + congruence(sandwich, precision))
    hessian[e, e] = -0.25 * np.sum(polygamma(1, half))
    hessian[v, e] = hessian[e, v] = -0.5 * vech_slope(precision)
    hessian[f, e] = hessian[e, f] = 0.5 * vech_slope(Phi_inverse)
    hessian[v, f] = 0.5 * congruence(precision, precision)
    hessian[f, v] = hessian[v, f].T
    hessian[f, f] = -0.5 * eta * congruence(Phi_inverse, Phi_inverse)
    return Derivatives(float(value), gradient, hessian)


def log_densities(eta: float, Phi: np.ndarray, precision: np.ndarray, log_det_Sigma: np.ndarray | float) -> np.ndarray:
    """Log-density of many Sigma, given by their precisions (..., q, q) and log-determinants (...)."""
    q = len(Phi)
    quadratic = np.sum(precision * Phi, axis=(-2, -1))
    return log_normaliser(eta, np.linalg.slogdet(Phi)[1], q) - 0.5 * ((eta + q + 1.0) * log_det_Sigma + quadratic)


def log_density_pairs(eta: np.ndarray, Phi: np.ndarray, precision: np.ndarray, log_det_Sigma: np.ndarray) -> np.ndarray:
    """The same under each of several priors (priors,), (priors, q, q): (draws, priors)."""
    q = Phi.shape[-1]
    quadratic = precision.reshape(len(precision), -1) @ Phi.reshape(len(Phi), -1).T
    normaliser = log_normaliser(eta, np.linalg.slogdet(Phi)[1], q)
    return normaliser - 0.5 * (np.multiply.outer(log_det_Sigma, eta + q + 1.0) + quadratic)


def hyperparameter_gradient(eta: float, Phi: np.ndarray, precision: np.ndarray, log_det_Sigma: float) -> np.ndarray:
    """Gradient of the log-density in (eta, vech Phi); linear in the precision and in log|Sigma|."""
    q = len(Phi)
    half = (eta - np.arange(q)) / 2
    log_det_Phi = np.linalg.slogdet(Phi)[1]
    slope = 0.5 * (log_det_Phi - log_det_Sigma - q * LOG_2 - np.sum(digamma(half)))
    return np.concatenate([[slope], vech_slope(0.5 * (eta * np.linalg.inv(Phi) - precision))])


def congruence(G: np.ndarray, K: np.ndarray) -> np.ndarray:
    """``tr(G E_s K E_t)`` symmetrised in G and K, over pairs of vech entries."""
    rows, cols = vech_indices(len(G))
    scale = np.where(rows == cols, 0.5, 1.0)
    a, b, c, d = rows[:, None], cols[:, None], rows, cols
    total = G[d, a] * K[b, c] + G[d, b] * K[a, c] + G[c, a] * K[b, d] + G[c, b] * K[a, d]
    return 0.5 * scale[:, None] * scale * (total + total.T)


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
def value_and_gradient(w: np.ndarray):
    """Log-density of ``w = (vech Sigma, eta, vech Phi)`` and its gradient; ``-inf`` and nan outside of its support.

    The numbers of :func:`log_density`, compiled, without the Hessian.
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


@kernel
def add_to_slope(x: np.ndarray, gradient: np.ndarray, starts: np.ndarray, sizes: np.ndarray, packed: np.ndarray):
    """Log-density of covariances in unconstrained coordinates but for its constant; its slope is added to ``gradient``.

    With ``Sigma^{-1} = C C'`` it is ``(eta + q + 1) sum log C_aa - tr(Phi C C') / 2``. ``packed`` has (eta, vech Phi)
    of one covariance after the other.
    """
    value, at = 0.0, 0
    for k in range(starts.shape[0]):
        q, start, power = sizes[k], starts[k], packed[at] + sizes[k] + 1.0
        C = lower_factor(x, start, q)
        for a in range(q):
            for b in range(a + 1):
                total, own = 0.0, start + a * (a + 1) // 2 + b
                for j in range(b, q):
                    low, high = min(a, j), max(a, j)
                    total += packed[at + 1 + high * (high + 1) // 2 + low] * C[j, b]
                value -= 0.5 * C[a, b] * total
                if a == b:
                    value += power * x[own]
                    total = total * C[a, a] - power
                gradient[own] -= total
        at += 1 + q * (q + 1) // 2
    return value
