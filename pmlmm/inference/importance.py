"""Importance sampling from the Laplace approximation: evidence for every Theta from one set of draws.

The proposal is a multivariate Student-t around the mode of the marginal log-posterior in
unconstrained coordinates. The likelihood of a draw does not depend on the priors of the covariances, and on lambda only
through an r x r problem, so the evidence at every other Theta is a re-weighting, smooth in Theta.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from pmlmm.inference.laplace import Mode
from pmlmm.kernels import coordinates, half_student_t
from pmlmm.kernels import likelihood_at_draws as draws
from pmlmm.kernels.coordinates import vech_slices
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.layout import SIGMA
from pmlmm.kernels.pareto import smooth_tail
from pmlmm.kernels.remember import Last
from pmlmm.priors.flat import Flat
from pmlmm.priors.search_space import Space
from pmlmm.priors.stated import HalfStudentT
from pmlmm.priors.theta import Theta

#: Degrees of freedom of the proposal: heavy tails, at little cost in effective draws, for skew posteriors.
PROPOSAL_NU = 5.0
#: Above it the importance weights are not to be trusted (Vehtari et al. 2024, JMLR 25(72)).
LARGEST_K_HAT = 0.7


# A draw so many nats below the best one has no weight; -inf would spoil the smoothing.
_NO_WEIGHT = 1e4
# Fewer weights have no tail to smooth: their Pareto shape is not known.
_FEWEST_TO_SMOOTH = 25
# Sum of squared weights beyond which a single draw has them all.
_ONE_DRAW = 1.0 - 1e-9
# With a smaller share of draws that have any weight, the weights say nothing.
_FEWEST_DRAWS = 0.1


@dataclass(frozen=True)
class BaseDraws:
    """Standard multivariate Student-t draws (draws, d), their log-density (draws,), and the normals behind them."""

    values: np.ndarray
    log_density: np.ndarray
    normal: np.ndarray


def base_draws(number: int, size: int, rng: np.random.Generator) -> BaseDraws:
    """Draws that every re-centring reuses: common random numbers."""
    nu = PROPOSAL_NU
    normal = rng.standard_normal((number, size))
    values = normal * np.sqrt(nu / rng.chisquare(nu, size=(number, 1)))
    constant = gammaln((nu + size) / 2) - gammaln(nu / 2) - size / 2 * np.log(nu * np.pi)
    kernel = -(nu + size) / 2 * np.log1p(np.sum(values**2, axis=1) / nu)
    return BaseDraws(values, constant + kernel, normal)


@dataclass(frozen=True)
class Weights:
    """Pareto-smoothed weights at one Theta.

    Attributes
    ----------
    log_evidence : float
        Log of the mean weight.
    error : float
        Its Monte Carlo standard error (nats).
    k_hat : float
        Pareto shape of the largest weights.
    normalized : (draws,) array
        Weights that sum to 1.
    """

    log_evidence: float
    error: float
    k_hat: float
    normalized: np.ndarray

    @property
    def reliable(self) -> bool:
        return self.k_hat <= LARGEST_K_HAT


@dataclass(frozen=True, eq=False)
class DrawnCovariances:
    """Draws of (sigma, Sigma) with all that their priors need of them.

    Attributes
    ----------
    x, natural : (draws, d) arrays
        In unconstrained and natural coordinates.
    precisions, log_dets : lists of (draws, q, q) and (draws,) arrays
        Inverses of each term's Sigma, and log-determinants of these Sigma.
    log_constant : (draws,) array
        log p(sigma) and the Jacobian of the unconstrained coordinates; ``-inf`` where a Sigma is singular to rounding.
    """

    x: np.ndarray
    natural: np.ndarray
    precisions: list[np.ndarray]
    log_dets: list[np.ndarray]
    log_constant: np.ndarray

    @classmethod
    def at(cls, x: np.ndarray, mode: Mode, sizes: tuple[int, ...], prior: HalfStudentT | Flat) -> "DrawnCovariances":
        """At x (draws, d); far in the tails a Sigma can be singular to rounding: the mode stands for such a draw."""
        natural, good = coordinates.natural_draws(x, sizes)
        x = np.where(good[:, None], x, mode.x)
        natural[~good] = mode.natural
        precisions, log_dets = [], []
        for q, part in zip(sizes, vech_slices(sizes), strict=True):
            C = coordinates.precision_cholesky(x[:, part], q)
            precisions.append(C @ np.swapaxes(C, 1, 2))
            log_dets.append(-2.0 * np.sum(np.log(np.diagonal(C, axis1=1, axis2=2)), axis=1))
        log_constant = _log_sigma_prior(natural[:, SIGMA], prior) + coordinates.log_jacobian(x, sizes)
        return cls(x, natural, precisions, log_dets, np.where(good, log_constant, -np.inf))


class ImportanceSample:
    """Draws from the proposal at one mode, with all of the density that Theta does not touch.

    ``precision`` (d, d) is the proposal's, in unconstrained coordinates, and ``centre`` (d,) is its centre where that
    is not the mode.
    """

    def __init__(
        self,
        mode: Mode,
        precision: np.ndarray,
        base: BaseDraws,
        data: Crossproducts,
        log_lambda: np.ndarray,
        sigma_prior: HalfStudentT | Flat,
        centre: np.ndarray | None = None,
    ):
        self.data, self.sigma_prior = data, sigma_prior
        factor = np.linalg.cholesky(precision)
        x = (mode.x if centre is None else centre) + np.linalg.solve(factor.T, base.values.T).T
        drawn = DrawnCovariances.at(x, mode, data.sizes, sigma_prior)
        self.x, self.natural, self.precisions, self.log_dets = drawn.x, drawn.natural, drawn.precisions, drawn.log_dets
        self._likelihood = (draws.Exact if draws.cheap(data) else draws.Expansion)(self.natural, log_lambda, data)
        self._constant = drawn.log_constant - base.log_density - float(np.sum(np.log(np.diag(factor))))
        self._last = Last()

    def moments(self, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean (d,) and covariance (d, d) of the draws in unconstrained coordinates.

        Raises
        ------
        LinAlgError
            A single draw has all the weight.
        """
        if np.sum(weights.normalized**2) > _ONE_DRAW:
            raise np.linalg.LinAlgError("one draw has all the weight")
        mean = weights.normalized @ self.x
        return mean, np.cov(self.x.T, aweights=weights.normalized).reshape(len(mean), len(mean))

    def likelihood(self, log_lambda: np.ndarray) -> draws.DrawLikelihood:
        """Likelihood of the draws, remembered for the last lambda."""
        last = self._last.find(log_lambda)
        return self._last.keep(self._likelihood(log_lambda), log_lambda) if last is None else last

    def log_weights(self, theta: Theta) -> np.ndarray:
        """log p(y, draw | Theta) - log proposal(draw): (draws,)."""
        return self._add_priors(self._likelihood.values(theta.log_lambda), theta)

    def _add_priors(self, log_likelihood: np.ndarray, theta: Theta) -> np.ndarray:
        total = self._constant + log_likelihood
        for density, precision, log_det in zip(theta.covariances, self.precisions, self.log_dets, strict=True):
            total = total + density.log_densities(precision, log_det)
        return total

    def log_evidence(self, theta: Theta) -> tuple[float, np.ndarray]:
        """Raw importance-sampled log evidence, and its gradient in ``theta.packed``."""
        likelihood = self.likelihood(theta.log_lambda)
        log_weights = self._add_priors(likelihood.value, theta)
        value = float(logsumexp(log_weights)) - np.log(len(log_weights))
        weights = np.exp(log_weights - logsumexp(log_weights))
        parts = [weights @ likelihood.gradient]
        for density, precision, log_det in zip(theta.covariances, self.precisions, self.log_dets, strict=True):
            parts.append(density.weighted_gradient(precision, log_det, weights))
        return value, np.concatenate(parts)

    def weights(self, theta: Theta) -> Weights:
        """Pareto-smoothed weights at Theta; k-hat is infinite where hardly a draw has a likelihood."""
        raw = np.nan_to_num(self.log_weights(theta), nan=-np.inf, neginf=-np.inf)
        number = len(raw)
        if np.count_nonzero(raw > np.max(raw) - _NO_WEIGHT) < _FEWEST_DRAWS * number:
            return Weights(np.nan, np.nan, np.inf, np.full(number, 1.0 / number))
        normalized, k_hat, log_total = smooth(raw)
        error = float(np.sqrt(max(np.sum(normalized**2) - 1.0 / number, 0.0)))
        return Weights(log_total - np.log(number), error, k_hat, normalized)


def smooth(log_weights: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Pareto-smoothed weights that sum to 1, their Pareto shape, and the log of the smoothed weights' sum."""
    raw = np.maximum(log_weights, np.max(log_weights) - _NO_WEIGHT)
    smoothed, k_hat = smooth_tail(raw) if len(raw) >= _FEWEST_TO_SMOOTH else (raw, np.inf)
    total = float(logsumexp(smoothed))
    return np.exp(smoothed - total), k_hat, total


class ImportanceEvidence:
    """Importance-sampled evidence plus hyperprior as a function of phi, for fixed draws."""

    def __init__(self, sample: ImportanceSample, space: Space):
        self.sample, self.space = sample, space

    def __call__(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self.sample.log_evidence(self.space.theta(phi))
        log_prior, slope = self.space.log_prior(phi)
        return value + log_prior, gradient @ self.space.pack_jacobian(phi) + slope


def _log_sigma_prior(sigma: np.ndarray, prior: HalfStudentT | Flat) -> np.ndarray:
    if isinstance(prior, Flat):
        return np.zeros(len(sigma))
    return half_student_t.log_densities(sigma, *prior.student)


def work(number: int, data: Crossproducts) -> float:
    """Floating-point operations that ``number`` draws cost, about, those of matrix products counted as a fifth."""
    r = data.columns
    first = 0.0 if data.ridges else data.first.work()
    return float(number) * (first + r**3 / 5.0 + 200.0)
