"""Where the search for the hyperparameters starts."""

from dataclasses import replace

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.graph.build import Source
from pmlmm.inference.em import em
from pmlmm.inference.empirical_bayes import MANY_GROUPS, LaplaceEvidence, maximize_evidence
from pmlmm.inference.space import Space
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels.coordinates import unvech, vech_slices
from pmlmm.kernels.inverse_wishart import hyperparameter_gradient, log_densities
from pmlmm.priors import Hyperprior
from pmlmm.theta import Theta

_EM_STEPS = 3
_WEAK_LAMBDA = 1e-4


def crude_start(source: Source, theta: Theta, profile: bool) -> np.ndarray:
    """Unconstrained: a few EM steps at Theta, from half of the variance of y shared by the random effects.

    Each term starts at a multiple of ``(Z'Z / n)^{-1}``, so that the start does not depend on where a
    covariate has its zero: raw years start with the correlation that they need. Where the columns are too
    close to collinear for that, its diagonal counterpart serves.

    Raises
    ------
    ConvergenceError
        EM leaves the space of covariances from either start.
    """
    sizes, variance = source.design.sizes, float(np.var(source.design.y))
    moments = source.statistics.mean_products_z()
    data = source.statistics.crossproducts(source.priors.penalty)
    for shape in (np.linalg.inv, lambda block: np.diag(1.0 / np.diag(block))):
        crude, first = [np.array([np.sqrt(0.5 * variance)])], 0
        for q in sizes:
            block = moments[first : first + q, first : first + q]
            crude.append(coordinates.vech(0.5 * variance / sum(sizes) * shape(block)))
            first += q
        start = np.concatenate(crude)
        try:
            with np.errstate(all="ignore"):  # what overflows is not finite, and refused
                better, _ = em(start, theta, source.priors.sigma, data, sizes, profile=profile, steps=_EM_STEPS)
                x = coordinates.from_natural(better, sizes)
        except np.linalg.LinAlgError:
            continue
        if np.isfinite(x).all():
            return x
    raise ConvergenceError(
        "The random effects have no usable start: a covariance collapses at once. Centre and rescale the columns of "
        "the random effects (poly() does), and check that the response is not fitted exactly."
    )


def first_phi(source: Source, space: Space, evidence: LaplaceEvidence, profile: bool) -> np.ndarray:
    """A start of the search near its end: the phi that fits the parameters at some mode best.

    The evidence can have two maxima in lambda: coefficients shrunk to nothing, their effect left to the
    groups, or hardly shrunk. So a mode is found under a strong and under a weak penalty, and the better
    of the two starts wins.
    """
    if not len(space.start):
        evidence.restart(crude_start(source, space.fixed, profile))
        return space.start
    learns_lambda = any(c.kind == "lambda" for c in space.coordinates)
    # many groups leave no doubt about the coefficients
    levels = (0.0, np.log(_WEAK_LAMBDA)) if learns_lambda and space.m < MANY_GROUPS else (0.0,)
    candidates, error = [], None
    for level in levels:
        try:
            candidates.append(_candidate(source, space, evidence, profile, level, compare=len(levels) > 1))
        except ConvergenceError as failure:
            error = failure
    if not candidates:
        raise error
    _, phi, x = max(candidates, key=lambda candidate: candidate[0])
    evidence.restart(x)
    return phi


def _candidate(source: Source, space: Space, evidence: LaplaceEvidence, profile: bool, level: float, compare: bool):
    """Value (if it is to be compared), phi and mode of the start with ``log lambda = level``."""
    problem = evidence.problem
    phi = np.array([level if c.kind == "lambda" else c.start for c in space.coordinates])
    theta = space.theta(phi)
    found = LaplaceEvidence(problem, space, crude_start(source, theta, profile), evidence.find).mode(phi)
    beta = likelihood.condition(np.concatenate([found.theta, theta.log_lambda]), problem.data, problem.sizes).a
    known = plug_in(space, found.theta, beta, source.priors.penalty)
    phi, _ = maximize_evidence(known, space, phi, "start", tolerance=0.1)
    if not compare:
        return 0.0, phi, found.x
    mode = LaplaceEvidence(problem, space, found.x, evidence.find).mode(phi)
    return mode.log_evidence + space.log_hyperprior(phi)[0], phi, mode.x


def plug_in(space: Space, theta: np.ndarray, beta: np.ndarray, penalty: np.ndarray):
    """Log-density of given parameters as a function of phi, hyperprior included, with its gradient.

    Maximising it gives a start for the search: the hyperparameters that would be best if sigma, Sigma
    (natural coordinates ``theta``) and beta were known. It never touches the data.
    """
    sizes = tuple(len(squares) for squares in space.z_square)
    Sigmas = [unvech(theta[part], q) for q, part in zip(sizes, vech_slices(sizes), strict=True)]
    precisions, log_dets = [np.linalg.inv(S) for S in Sigmas], [np.linalg.slogdet(S)[1] for S in Sigmas]
    groups = len(space.fixed.log_lambda)
    member = penalty == np.arange(groups)[:, None]
    squares, counts = member @ beta**2 / theta[0] ** 2, member.sum(axis=1)
    regularized = space if space.hyperprior is not None else replace(space, hyperprior=Hyperprior())

    def function(phi: np.ndarray) -> tuple[float, np.ndarray]:
        value = space.theta(phi)
        lam = np.exp(value.log_lambda)
        total = 0.5 * float(counts @ value.log_lambda - lam @ squares)
        parts = [0.5 * (counts - lam * squares)]
        for hyper, precision, log_det in zip(value.covariances, precisions, log_dets, strict=True):
            if hyper is not None:
                total += float(log_densities(hyper.eta, hyper.Phi, precision, log_det))
                parts.append(hyperparameter_gradient(hyper.eta, hyper.Phi, precision, log_det))
        log_prior, slope = regularized.log_hyperprior(phi)
        return total + log_prior, np.concatenate(parts) @ space.pack_jacobian(phi) + slope

    return function
