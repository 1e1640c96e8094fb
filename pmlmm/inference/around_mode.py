"""What the second derivatives at a mode say of the parameters and the hyperparameters together."""

from collections.abc import Callable

import numpy as np

from pmlmm.inference.laplace import Mode
from pmlmm.priors.search_space import Space

_STEP = 1e-3
# A direction of the hyperparameters in which the evidence is flatter than this (nats per unit squared) is held to be
# so curved.
_LEAST_CURVATURE = 0.2


def profile_gradient(mode: Mode, space: Space, phi: np.ndarray) -> Callable:
    """Gradient in phi of ``max_psi log p(y, psi | phi)`` + hyperprior, to first order around a mode.

    Its curvature is that of the Laplace evidence but for the change of log|H|, a fraction d / m of it;
    no pass over the groups is needed.
    """
    hessian, d = mode.at.hessian, len(mode.x)
    across = hessian[d:, :d] @ np.linalg.solve(hessian[:d, :d], hessian[:d, d:])
    centre = space.theta(phi).packed

    def function(point: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = mode.at.gradient[d:] + (hessian[d:, d:] - across) @ (space.theta(point).packed - centre)
        return np.nan, gradient @ space.pack_jacobian(point) + space.log_prior(point)[1]

    return function


def joint_covariance(mode: Mode, space: Space, phi: np.ndarray) -> np.ndarray:
    """Covariance (d + k, d + k) of (x, phi) around a mode: x given phi, and phi, with which the mode moves."""
    gradient, d = profile_gradient(mode, space, phi), len(mode.x)
    units = np.eye(len(phi)) * _STEP
    rows = [(gradient(phi - unit)[1] - gradient(phi + unit)[1]) / (2.0 * _STEP) for unit in units]
    curvature = np.reshape(rows, (len(phi), len(phi)))
    values, axes = np.linalg.eigh((curvature + curvature.T) / 2.0)
    of_phi = (axes / np.maximum(values, _LEAST_CURVATURE)) @ axes.T
    moves = np.vstack([mode.slopes(space.pack_jacobian(phi)), np.eye(len(phi))])
    covariance = moves @ of_phi @ moves.T
    covariance[:d, :d] += np.linalg.inv(mode.curvature)
    return covariance
