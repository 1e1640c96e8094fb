"""The inverse-Wishart log-density with derivatives in the matrix and in its hyperparameters."""

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from pmlmm.kernels.coordinates import unvech, vech_indices, vech_size, vech_slope
from pmlmm.kernels.derivatives import Derivatives, nowhere

LOG_2, LOG_PI = float(np.log(2.0)), float(np.log(np.pi))


def log_normaliser(eta: float, log_det_Phi: float, q: int) -> float:
    """Log of the constant in front of ``|Sigma|^{-(eta+q+1)/2} exp(-tr(Phi Sigma^{-1})/2)``."""
    j = np.arange(q)
    log_gamma = vech_size(q - 1) / 2 * LOG_PI + np.sum(gammaln((eta - j) / 2))
    return float(eta / 2 * log_det_Phi - eta * q / 2 * LOG_2 - log_gamma)


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
    hessian[v, v] = 0.5 * (eta + q + 1) * _congruence(precision, precision)
    hessian[v, v] -= 0.5 * (_congruence(precision, sandwich) + _congruence(sandwich, precision))
    hessian[e, e] = -0.25 * np.sum(polygamma(1, half))
    hessian[v, e] = hessian[e, v] = -0.5 * vech_slope(precision)
    hessian[f, e] = hessian[e, f] = 0.5 * vech_slope(Phi_inverse)
    hessian[v, f] = 0.5 * _congruence(precision, precision)
    hessian[f, v] = hessian[v, f].T
    hessian[f, f] = -0.5 * eta * _congruence(Phi_inverse, Phi_inverse)
    return Derivatives(float(value), gradient, hessian)


def log_densities(eta: float, Phi: np.ndarray, precision: np.ndarray, log_det_Sigma: np.ndarray) -> np.ndarray:
    """Log-density of many Sigma, given by their precisions (..., q, q) and log-determinants (...)."""
    q = len(Phi)
    quadratic = np.sum(precision * Phi, axis=(-2, -1))
    return log_normaliser(eta, np.linalg.slogdet(Phi)[1], q) - 0.5 * ((eta + q + 1.0) * log_det_Sigma + quadratic)


def hyperparameter_gradient(eta: float, Phi: np.ndarray, precision: np.ndarray, log_det_Sigma: float) -> np.ndarray:
    """Gradient of the log-density in (eta, vech Phi); linear in the precision and in log|Sigma|."""
    q = len(Phi)
    half = (eta - np.arange(q)) / 2
    log_det_Phi = np.linalg.slogdet(Phi)[1]
    slope = 0.5 * (log_det_Phi - log_det_Sigma - q * LOG_2 - np.sum(digamma(half)))
    return np.concatenate([[slope], vech_slope(0.5 * (eta * np.linalg.inv(Phi) - precision))])


def _congruence(G: np.ndarray, K: np.ndarray) -> np.ndarray:
    """``tr(G E_s K E_t)`` symmetrised in G and K, over pairs of vech entries."""
    rows, cols = vech_indices(len(G))
    scale = np.where(rows == cols, 0.5, 1.0)
    a, b, c, d = rows[:, None], cols[:, None], rows, cols
    total = G[d, a] * K[b, c] + G[d, b] * K[a, c] + G[c, a] * K[b, d] + G[c, b] * K[a, d]
    return 0.5 * scale[:, None] * scale * (total + total.T)
