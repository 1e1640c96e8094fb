"""Where the search for the hyperparameters starts."""

from dataclasses import replace

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.inference.em import em
from pmlmm.inference.empirical_bayes import LaplaceEvidence, maximize_evidence
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels.coordinates import unvech, vech_slices
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.layout import SIGMA
from pmlmm.priors.hyperprior import Hyperprior
from pmlmm.priors.search_space import Space
from pmlmm.priors.theta import Theta
from pmlmm.problem import Problem

_EM_STEPS = 3
_WEAK_LAMBDA = 1e-4
# So many groups leave no doubt about the coefficients, or about the mode.
_MANY_GROUPS = 1_000


def crude_start(problem: Problem, theta: Theta, profile: bool) -> np.ndarray:
    """Unconstrained: a few EM steps at Theta, from half of the variance of y shared by the random effects.

    Each term starts at a multiple of ``(Z'Z / n)^{-1}``, so that the start does not depend on where a
    covariate has its zero: raw years start with the correlation that they need. Where the columns are too
    close to collinear for that, its diagonal counterpart serves.

    Raises
    ------
    ConvergenceError
        EM leaves the space of covariances from either start.
    """
    design, sizes = problem.design, problem.design.sizes
    variance = float(design.variance(design.net))
    sigma = np.sqrt(0.5 * variance * design.typical_weight)
    data = problem.statistics.crossproducts(profile)
    for shape in (np.linalg.inv, lambda block: np.diag(1.0 / np.diag(block))):
        shapes = [0.5 * variance / sum(sizes) * shape(moments) for moments in problem.statistics.columns.moments]
        start = np.concatenate([np.array([sigma]), *map(coordinates.vech, shapes)])
        try:
            with np.errstate(all="ignore"):  # what overflows is not finite, and refused
                better, _ = em(start, theta, problem.priors.sigma, data, profile=profile, steps=_EM_STEPS)
                x = coordinates.from_natural(better, sizes)
        except np.linalg.LinAlgError:
            continue
        if np.isfinite(x).all():
            return x
    raise ConvergenceError(
        "The random effects have no usable start: a covariance collapses at once. Centre and rescale the columns of "
        "the random effects (poly() does), and check that the response is not fitted exactly."
    )


def first_phi(problem: Problem, space: Space, evidence: LaplaceEvidence, profile: bool) -> np.ndarray:
    """A start of the search near its end: the phi that fits the parameters at some mode best.

    The evidence can have two maxima in lambda: coefficients shrunk to nothing, their effect left to the
    groups, or hardly shrunk. So a mode is found under a strong and under a weak penalty, and the better
    of the two starts wins.
    """
    if not len(space.start):
        evidence.restart(crude_start(problem, space.fixed, profile))
        return space.start
    learns_lambda = len(space.learned_groups) > 0
    # many groups leave no doubt about the coefficients
    levels = (0.0, np.log(_WEAK_LAMBDA)) if learns_lambda and space.fewest_groups < _MANY_GROUPS else (0.0,)
    candidates, failures = [], []
    for level in levels:
        try:
            candidates.append(_candidate(problem, space, evidence, profile, level, compare=len(levels) > 1))
        except ConvergenceError as failure:
            failures.append(failure)
    if not candidates:
        raise failures[-1]
    _, phi, x = max(candidates, key=lambda candidate: candidate[0])
    evidence.restart(x)
    return phi


def _candidate(problem: Problem, space: Space, evidence: LaplaceEvidence, profile: bool, level: float, compare: bool):
    """Value (if it is to be compared), phi and mode of the start with log lambda moved by ``level``."""
    laplace = evidence.laplace
    phi = space.start
    phi[: len(space.learned_groups)] += level
    theta = space.theta(phi)
    found = evidence.from_start(crude_start(problem, theta, profile)).mode(phi)
    u = np.concatenate([found.natural, theta.log_lambda])
    wide = np.array([group.block is not None for group in problem.priors.penalty_groups])
    known = plug_in(space, found.natural, *_square_sums(u, laplace.data, wide))
    phi, _ = maximize_evidence(known, space, phi, "start", tolerance=0.1)
    if not compare:
        return 0.0, phi, found.x
    mode = evidence.from_start(found.x).mode(phi)
    return mode.log_evidence + space.log_prior(phi)[0], phi, mode.x


def _square_sums(u: np.ndarray, data: Crossproducts, wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``|beta|^2 / sigma^2`` of every penalty group given (sigma, Sigma, lambda), and its number of terms.

    Of the conditional means; in wide blocks their uncertainty counts too, read off the score:
    ``2 dl / dlog lambda = count - lambda E|beta|^2 / sigma^2``.
    """
    d, groups = data.parameters, len(data.counts)
    sums, counts = np.zeros(groups), np.minimum(data.counts, data.n)
    posterior = likelihood.condition(u, data)
    counts = np.where(data.absolute, 0.0, counts)  # nothing is learned of them
    for block in data.blocks:
        if block.ridge and not data.absolute[block.parameter]:
            sums[block.parameter] = np.sum(posterior.mean[block.columns] ** 2) / u[SIGMA] ** 2
    if wide.any():
        score = likelihood.evaluate(u, data, profile=False, order=1).gradient[d:]
        sums[wide] = ((counts - 2.0 * score) * np.exp(-u[d:]))[wide]
    return sums, counts


def plug_in(space: Space, theta: np.ndarray, squares: np.ndarray, counts: np.ndarray):
    """Log-density of given parameters as a function of phi, hyperprior included, with its gradient.

    Maximising it gives a start for the search: the hyperparameters that would be best if sigma, Sigma
    (natural coordinates ``theta``) and beta were known, of which only ``squares = |beta|^2 / sigma^2`` and
    ``counts`` of each penalty group matter. It never touches the data.
    """
    sizes = space.sizes
    Sigmas = [unvech(theta[part], q) for q, part in zip(sizes, vech_slices(sizes), strict=True)]
    precisions, log_dets = [np.linalg.inv(S) for S in Sigmas], [np.linalg.slogdet(S)[1] for S in Sigmas]
    regularized = space if space.hyperprior is not None else replace(space, hyperprior=Hyperprior())

    def function(phi: np.ndarray) -> tuple[float, np.ndarray]:
        value = space.theta(phi)
        lam = np.exp(value.log_lambda)
        total = 0.5 * float(counts @ value.log_lambda - lam @ squares)
        parts = [0.5 * (counts - lam * squares)]
        for density, precision, log_det in zip(value.covariances, precisions, log_dets, strict=True):
            total += float(density.log_densities(precision, log_det))
            parts.append(density.gradient(precision, log_det))
        log_prior, slope = regularized.log_prior(phi)
        return total + log_prior, np.concatenate(parts) @ space.pack_jacobian(phi) + slope

    return function
