"""The law of (sigma, Sigma) given the hyperparameters, near a mode that is known.

Integration visits hundreds of settings of the hyperparameters. The compiled density serves there: its
gradient costs microseconds, and a Hessian of a few dozen of them is good enough for a proposal. Where an
evaluation is costly, the expansion of the likelihood around the known mode takes its place.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pmlmm.inference.expanded_search import COSTLY
from pmlmm.inference.importance import BaseDraws
from pmlmm.inference.laplace import Laplace, Mode
from pmlmm.inference.learned import Learned
from pmlmm.inference.newton import maximize
from pmlmm.inference.weak_directions import measured_precision
from pmlmm.kernels.derivatives import LOG_2PI, Derivatives
from pmlmm.kernels.likelihood_compiled import FlatCrossproducts, flatten
from pmlmm.kernels.log_posterior import CollapsedDensity, HyperparameterDensity, Whitened
from pmlmm.priors.flat import Flat
from pmlmm.priors.search_space import Space
from pmlmm.priors.stated import HalfStudentT

# Step of the differences, in standard deviations; and the expected gain (nats) at which a mode is near enough:
# for a proposal, whose weights correct it, and where evidence is to be differenced.
_STEP, _NEAR, _EXACT = 1e-3, 1e-3, 1e-6


class Node(NamedTuple):
    """The mode at one setting of the hyperparameters.

    ``density`` is log p(y, x | phi) with its gradient; ``root`` (d, d) a root of the covariance at the mode.
    """

    x: np.ndarray
    root: np.ndarray
    log_evidence: float
    density: Callable[[np.ndarray], tuple[float, np.ndarray]]

    def draw(self, base: BaseDraws, corrected: bool) -> tuple[np.ndarray, np.ndarray]:
        """Draws (draws, d) with the logarithms of their importance weights, or plain Laplace draws."""
        if not corrected:
            return self.x + base.normal @ self.root.T, np.full(len(base.normal), self.log_evidence)
        x = self.x + base.values @ self.root.T
        with np.errstate(all="ignore"):  # what overflows has no weight
            values = np.array([self.density(point)[0] for point in x])
        log_weights = values - base.log_density + np.linalg.slogdet(self.root)[1]
        return x, np.nan_to_num(log_weights, nan=-np.inf, neginf=-np.inf)


class Conditional:
    """Modes at every phi, searched from one that is known.

    Parameters
    ----------
    space : Space
    packed : FlatCrossproducts
        The model's cross-products.
    sigma_prior : HalfStudentT or Flat
    phi : (k,) array
    mode : Mode
        At phi, in the default approximation.
    corrected : bool
        Whether draws get importance weights.
    """

    def __init__(
        self,
        space: Space,
        packed: FlatCrossproducts,
        sigma_prior: HalfStudentT | Flat,
        phi: np.ndarray,
        mode: Mode,
        corrected: bool = True,
    ):
        self.space, self.packed, self.sigma_prior, self.corrected = space, packed, sigma_student(sigma_prior), corrected
        self.phi, self.x = phi, mode.x
        d = len(mode.x)
        precision = mode.curvature
        self.scale = np.linalg.inv(np.linalg.cholesky(precision)).T
        self.slopes = np.linalg.solve(precision, mode.at.hessian[:d, d:] @ space.pack_jacobian(phi))

    @property
    def size(self) -> int:
        """Number of parameters d."""
        return len(self.x)

    @property
    def sizes(self) -> tuple[int, ...]:
        """q of each term."""
        return tuple(self.packed.plan[0].tolist())

    def density(self, phi: np.ndarray) -> CollapsedDensity:
        """log p(y, x | phi) with its gradient in x."""
        theta = self.space.theta(phi)
        return CollapsedDensity(self.packed, theta.log_lambda, theta.covariances, self.sigma_prior)

    def at(self, phi: np.ndarray, exact: bool = False) -> Node:
        """The mode at phi, near enough for a proposal or exactly.

        Raises
        ------
        ConvergenceError
            No mode is found.
        LinAlgError
            Minus the Hessian is not positive definite there.
        """
        density = self.density(phi)
        whitened = Whitened(density, self.x, self.scale)
        start = np.linalg.solve(self.scale, self.slopes @ (phi - self.phi))
        if not whitened(start)[0] > whitened(np.zeros(self.size))[0]:
            start = np.zeros(self.size)
        found = maximize(lambda z: _with_hessian(whitened, z), start, _EXACT if exact else _NEAR)
        precision = measured_precision(lambda z: whitened(z)[0], found.x, -found.at.hessian)
        chol = np.linalg.cholesky(precision)
        root = self.scale @ np.linalg.inv(chol).T
        volume = 0.5 * self.size * LOG_2PI + np.linalg.slogdet(root)[1]
        return Node(whitened.point(found.x), root, found.at.value + volume, density)


class ExpandedConditional(Conditional):
    """The same on the expansion of the likelihood around the known mode."""

    def __init__(
        self,
        space: Space,
        packed: FlatCrossproducts,
        sigma_prior: HalfStudentT | Flat,
        phi: np.ndarray,
        mode: Mode,
        corrected: bool,
        laplace: Laplace,
    ):
        super().__init__(space, packed, sigma_prior, phi, mode, corrected)
        self._problem = laplace.expanded(mode, space.theta(phi).packed)

    def at(self, phi: np.ndarray, exact: bool = False) -> Node:
        hyper = self.space.theta(phi).packed
        mode = self._problem.find_mode(self.x + self.slopes @ (phi - self.phi), hyper)
        root = np.linalg.inv(np.linalg.cholesky(mode.curvature)).T
        return Node(mode.x, root, mode.log_evidence, self.density(phi))


def conditional(learned: Learned) -> Conditional:
    """The law of (sigma, Sigma) given the hyperparameters, around the learned ones."""
    data, prior = learned.data, learned.problem.priors.sigma
    around = learned.space, flatten(data), prior, learned.phi, learned.proposal, learned.sample is not None
    return ExpandedConditional(*around, learned.proposals.laplace) if data.seconds() > COSTLY else Conditional(*around)


def hyperparameter_density(near: Conditional) -> HyperparameterDensity:
    """log p(y, x, phi) of the model of a conditional law."""
    space = near.space
    return HyperparameterDensity(
        near.packed, near.sigma_prior, near.size, space.theta, space.pack_jacobian, space.log_prior
    )


def sigma_student(prior: HalfStudentT | Flat) -> tuple[float, float]:
    """(nu, scale) of the prior of sigma as the compiled density takes it; nu = 0 where it is flat."""
    return (0.0, 1.0) if isinstance(prior, Flat) else prior.student


def _with_hessian(function: Whitened, z: np.ndarray) -> Derivatives:
    """Value, gradient and one-sided differences of the gradient."""
    value, gradient = function(z)
    hessian = np.array([(function(z + unit)[1] - gradient) / _STEP for unit in np.eye(len(z)) * _STEP])
    return Derivatives(value, gradient, (hessian + hessian.T) / 2.0)
