"""The half Student-t log-density, the default prior on sigma."""

import numpy as np
from scipy.special import gammaln

from pmlmm.kernels.derivatives import Derivatives, nowhere


def log_density(sigma: float, nu: float, scale: float) -> Derivatives:
    """Log-density at sigma > 0 with derivatives in it; ``-inf`` and nan elsewhere."""
    if sigma <= 0:
        return nowhere(1)
    spread = nu * scale**2
    total = spread + sigma**2
    slope = -(nu + 1.0) * sigma / total
    curvature = -(nu + 1.0) * (spread - sigma**2) / total**2
    return Derivatives(float(log_densities(sigma, nu, scale)), np.array([slope]), np.array([[curvature]]))


def log_densities(sigma: np.ndarray | float, nu: float, scale: float) -> np.ndarray:
    """Log-density of many sigma > 0."""
    constant = np.log(2.0) + gammaln((nu + 1.0) / 2.0) - gammaln(nu / 2.0) - 0.5 * np.log(nu * np.pi)
    return constant - np.log(scale) - (nu + 1.0) / 2.0 * np.log1p((np.asarray(sigma) / scale) ** 2 / nu)
