"""The compiled density of (sigma, Sigma) around a mode that is known: for samplers and for bridges to their draws."""

import numpy as np

from pmlmm.inference.learned import Learned
from pmlmm.kernels.likelihood_compiled import flatten
from pmlmm.kernels.log_posterior import CollapsedDensity, HyperparameterDensity
from pmlmm.priors.flat import Flat
from pmlmm.priors.stated import HalfStudentT


class Conditional:
    """The law of (sigma, Sigma) given any hyperparameters, and where its mode is.

    Attributes
    ----------
    x : (d,) array
        The mode at the learned hyperparameters, in unconstrained coordinates.
    scale : (d, d) array
        A root of the covariance there.
    slopes : (d, k) array
        How the mode moves with phi.
    """

    def __init__(self, learned: Learned):
        self.space, self._packed = learned.space, flatten(learned.data)
        self._sigma_prior = _student(learned.problem.priors.sigma)
        mode = learned.proposal
        self.x, self.scale = mode.x, np.linalg.inv(np.linalg.cholesky(mode.curvature)).T
        self.slopes = mode.slopes(self.space.pack_jacobian(learned.phi))

    def density(self, phi: np.ndarray) -> CollapsedDensity:
        """log p(y, x | phi) with its gradient in x."""
        theta = self.space.theta(phi)
        return CollapsedDensity(self._packed, theta.log_lambda, theta.covariances, self._sigma_prior)

    def hyperparameter_density(self) -> HyperparameterDensity:
        """log p(y, x, phi), with its gradient in both."""
        space = self.space
        return HyperparameterDensity(
            self._packed, self._sigma_prior, len(self.x), space.theta, space.pack_jacobian, space.log_prior
        )


def _student(prior: HalfStudentT | Flat) -> tuple[float, float]:
    """(nu, scale) of the prior of sigma as the compiled density takes it; nu = 0 where it is flat."""
    return (0.0, 1.0) if isinstance(prior, Flat) else prior.student
