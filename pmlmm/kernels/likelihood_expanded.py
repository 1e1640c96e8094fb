"""The log-likelihood near one point, as a parabola.

In unconstrained coordinates the likelihood of many groups is close to one. Where an evaluation is
costly, a search over hyperparameters runs on the expansion around a mode and is repeated around the
mode where it ends, until the two agree.
"""

import numpy as np

from pmlmm.kernels import coordinates
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.derivatives import Derivatives, nowhere
from pmlmm.kernels.likelihood import evaluate


class Expansion:
    """Second-order expansion in (unconstrained coordinates, log lambda), evaluated like the likelihood itself.

    Parameters
    ----------
    x : (d,) array
        Unconstrained coordinates of the centre.
    log_lambda : (G,) array
    data : Crossproducts
        Of the likelihood that is expanded.
    """

    def __init__(self, x: np.ndarray, log_lambda: np.ndarray, data: Crossproducts):
        self.sizes, self._parameters, d = data.sizes, data.parameters, len(x)
        self._centre = np.concatenate([x, log_lambda])
        u = np.concatenate([coordinates.to_natural(x, self.sizes), log_lambda])
        at = evaluate(u, data, profile=False, order=2)
        self._value = at.value
        gradient, hessian, jacobian = coordinates.pull_back(x, self.sizes, at.gradient[:d], at.hessian[:d, :d])
        self._gradient = np.concatenate([gradient, at.gradient[d:]])
        self._hessian = at.hessian.copy()
        self._hessian[:d, :d] = hessian
        self._hessian[:d, d:] = jacobian.T @ at.hessian[:d, d:]
        self._hessian[d:, :d] = self._hessian[:d, d:].T

    def evaluate(self, u: np.ndarray) -> Derivatives:
        """Value, gradient and Hessian in natural coordinates u."""
        d = self._parameters
        try:
            x = coordinates.from_natural(u[:d], self.sizes)
        except np.linalg.LinAlgError:
            return nowhere(len(u))
        step = np.concatenate([x, u[d:]]) - self._centre
        bend = self._hessian @ step
        gradient, hessian = self._gradient + bend, self._hessian.copy()
        natural, inner, inverse = coordinates.push_forward(x, self.sizes, gradient[:d], hessian[:d, :d])
        gradient[:d], hessian[:d, :d] = natural, inner
        hessian[:d, d:] = inverse.T @ self._hessian[:d, d:]
        hessian[d:, :d] = hessian[:d, d:].T
        value = self._value + self._gradient @ step + 0.5 * step @ bend
        return Derivatives(float(value), gradient, hessian)
