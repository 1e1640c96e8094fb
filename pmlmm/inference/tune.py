"""The whole inference of one model: start, empirical Bayes on Laplace, refinement, final mode."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.graph.build import Source
from pmlmm.graph.compiled import compile_log_posterior, pack
from pmlmm.inference.em import em
from pmlmm.inference.empirical_bayes import (
    MANY_GROUPS,
    SLOPE_ERROR,
    LaplaceEvidence,
    SearchRecord,
    maximize_evidence,
)
from pmlmm.inference.importance import (
    LARGEST_K_HAT,
    ImportanceEvidence,
    ImportanceSample,
    Weights,
    base_draws,
    work,
)
from pmlmm.inference.laplace import Approximation, Coordinates, LaplaceProblem, Mode
from pmlmm.inference.space import Space, plug_in
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels.likelihood import Crossproducts
from pmlmm.theta import Theta

# Importance sampling is skipped above so many floating-point operations (about a second), or where
# the draws' r x r problems would take more than this many numbers.
_MOST_WORK = 1e9
_MOST_NUMBERS = 2e8
_EM_START_STEPS = 3
_ROUNDS = 10
_NEAR_BOUND = np.log(10.0)
_BOX = 1.0
_SETTLED = 0.01
# The Laplace search only has to come close where the refinement follows.
_COARSE = 0.03
_WEAK_LAMBDA = 1e-4
# A fresh start must find a mode with so much more evidence (nats) to be followed.
_BETTER_MODE = 0.05


Progress = Callable[[str], None] | None


@dataclass(frozen=True)
class Options:
    """What a user chose for :meth:`pmlmm.Model.fit`."""

    approximation: Approximation
    coordinates: Coordinates
    refine: bool | Literal["auto"]
    draws: int
    random_seed: int
    optimizer: Literal["newton", "em"]


@dataclass(frozen=True)
class Tuned:
    """Learned hyperparameters, the mode there, and how all that was found.

    Attributes
    ----------
    phi : (k,) array
        Learned hyperparameters on the search scale.
    mode : Mode
        In the approximation and coordinates that were asked for.
    sample, weights
        Importance draws at the final Theta and their weights; None where skipped.
    refined : bool
        Whether phi maximises the importance-sampled evidence.
    refinement : str
        What was done, in words.
    """

    theta: Theta
    phi: np.ndarray
    mode: Mode
    proposal: Mode
    sample: ImportanceSample | None
    weights: Weights | None
    refined: bool
    refinement: str
    records: tuple[SearchRecord, ...]
    evidence: LaplaceEvidence


def tune(source: Source, space: Space, options: Options, progress: Progress = None) -> Tuned:
    """Learn the hyperparameters of one model and find its mode."""
    profile = options.approximation == "joint"
    data = source.statistics.crossproducts(source.priors.penalty)
    problem = LaplaceProblem(
        compile_log_posterior(source, profile=profile),
        data,
        source.design.sizes,
        options.approximation,
        options.coordinates,
    )
    finder = _em_finder(source, problem) if options.optimizer == "em" else None
    evidence = LaplaceEvidence(problem, space, np.empty(0), finder)
    phi = _first_phi(source, space, evidence, profile)
    reason = _reason_to_skip(options, problem)
    may_refine = _may_refine(options) and not reason
    fine = SLOPE_ERROR if space.m >= MANY_GROUPS else 1e-3
    phi, records = _search(source, space, evidence, phi, _COARSE if may_refine else fine, progress)
    refinement, refined = reason, False
    proposals = evidence if _is_default(options) else _default_evidence(source, space, evidence.mode(phi).x)
    sampler = None if reason else _Sampler(source, space, proposals, options, data)
    if may_refine and len(phi):
        phi, refined, refinement, more = _refine(sampler, phi, progress)
        records += more
        if not refined:
            phi, more = _search(source, space, evidence, phi, fine, progress)
            records += more
    elif not reason:
        refinement = "not refined" + ("" if len(phi) else ": nothing to learn")
    proposal = proposals.mode(phi)
    mode = proposal if proposals is evidence else evidence.mode(phi)
    sample = sampler.at(proposal) if sampler is not None else None
    theta = space.theta(phi)
    weights = sample.weights(theta) if sample is not None else None
    return Tuned(theta, phi, mode, proposal, sample, weights, refined, refinement, tuple(records), evidence)


class _Sampler:
    """Importance samples around the default approximation's mode, from common random numbers."""

    def __init__(self, source: Source, space: Space, proposals: LaplaceEvidence, options: Options, data: Crossproducts):
        self.source, self.space, self.proposals, self.data = source, space, proposals, data
        rng = np.random.default_rng(options.random_seed)
        self.base = base_draws(options.draws, proposals.problem.size, rng)

    def at(self, mode: Mode) -> ImportanceSample:
        return ImportanceSample(mode, self.base, self.data, self.source.design.sizes, self.source.priors.sigma)


def _refine(sampler: _Sampler, phi: np.ndarray, progress: Progress):
    """Maximise the importance-sampled evidence, re-centring the draws until phi settles.

    Each round stays within a box around its centre, where the draws still speak for phi; it has settled
    when a round gains less than twice the Monte Carlo error, or than a hundredth of a nat.
    """
    records, first, space = [], phi, sampler.space
    for rounds in range(1, _ROUNDS + 1):
        try:
            sample = sampler.at(sampler.proposals.mode(phi))
        except ConvergenceError as error:
            return first, False, f"Laplace evidence kept: no proposal in round {rounds} ({error})", records
        weights = sample.weights(space.theta(phi))
        if not weights.reliable:
            words = f"Laplace evidence kept: Pareto k-hat {weights.k_hat:.2f} is above {LARGEST_K_HAT}"
            return first, False, words, records
        near = [(max(low, x - _BOX), min(high, x + _BOX)) for (low, high), x in zip(space.bounds, phi, strict=True)]
        new, record = maximize_evidence(
            ImportanceEvidence(sample, space),
            space,
            phi,
            "importance-sampled evidence",
            bounds=near,
            progress=progress,
        )
        records.append(record)
        if _pinned(space, phi) and _pinned(space, new):
            words = "Laplace evidence kept: importance sampling leaves b near its upper bound: Sigma is pinned to A"
            return first, False, words, records
        gain, phi = record.gain, new
        if gain < max(_SETTLED, 2.0 * weights.error):
            return (
                phi,
                True,
                f"refined on the importance-sampled evidence, settled in round {rounds}",
                records,
            )
    words = (
        f"Laplace evidence kept: after {_ROUNDS} rounds importance sampling still moved along a flat direction "
        f"(last gain {gain:.2g} nats)"
    )
    return first, False, words, records


def _pinned(space: Space, phi: np.ndarray) -> bool:
    """Whether some b is near its upper bound: draws of Sigma then hardly spread, so re-weighting cannot move A."""
    return any(
        c.kind == "eta" and value >= c.upper - _NEAR_BOUND for c, value in zip(space.coordinates, phi, strict=True)
    )


def _is_default(options: Options) -> bool:
    return (
        options.approximation == "marginal" and options.coordinates == "unconstrained" and options.optimizer == "newton"
    )


def _may_refine(options: Options) -> bool:
    return options.refine is True or (options.refine == "auto" and _is_default(options))


def _reason_to_skip(options: Options, problem: LaplaceProblem) -> str:
    """Why importance sampling does not pay here; empty if it does."""
    if options.refine is True:
        return ""
    needed = work(options.draws, problem.data)
    if needed > _MOST_WORK:
        groups = int(np.sum(problem.data.weights))
        return (
            f"not refined: {options.draws} draws over {groups} groups would cost {needed:.1g} operations, and the "
            "Laplace error vanishes as the groups grow (refine=True insists)"
        )
    r = len(problem.data.penalty)
    if options.draws * r * r > _MOST_NUMBERS:
        return f"not refined: {options.draws} draws of {r} fixed effects would need too much memory"
    return ""


def _crude_start(source: Source, theta: Theta, profile: bool) -> np.ndarray:
    """Unconstrained: a few EM steps at Theta, from half of the variance of y shared by the random effects.

    Each term starts at a multiple of ``(Z'Z / n)^{-1}``, so that the start does not depend on where a
    covariate has its zero: raw years start with the correlation that they need.
    """
    sizes, first = source.design.sizes, 0
    variance, moments = float(np.var(source.design.y)), source.statistics.mean_products_z()
    crude = [np.array([np.sqrt(0.5 * variance)])]
    for q in sizes:
        block = moments[first : first + q, first : first + q]
        crude.append(coordinates.vech(0.5 * variance / sum(sizes) * np.linalg.inv(block)))
        first += q
    data = source.statistics.crossproducts(source.priors.penalty)
    with np.errstate(all="ignore"):  # a start that overflows is refused by Newton, in words
        better, _ = em(
            np.concatenate(crude), theta, source.priors.sigma, data, sizes, profile=profile, steps=_EM_START_STEPS
        )
    try:
        return coordinates.from_natural(better, sizes)
    except np.linalg.LinAlgError:
        raise ConvergenceError(
            "The random effects have no usable start: a covariance collapses at once. Centre and rescale the columns "
            "of the random effects (poly() does), and check that the response is not fitted exactly."
        ) from None


def _first_phi(source: Source, space: Space, evidence: LaplaceEvidence, profile: bool) -> np.ndarray:
    """A start of the search near its end: the phi that fits the parameters at some mode best.

    The evidence can have two maxima in lambda: coefficients shrunk to nothing, their effect left to the
    groups, or hardly shrunk. So a mode is found under a strong and under a weak penalty, and the better
    of the two starts wins.
    """
    if not len(space.start):
        evidence.restart(_crude_start(source, space.fixed, profile))
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
    found = LaplaceEvidence(problem, space, _crude_start(source, theta, profile), evidence.find).mode(phi)
    beta = likelihood.condition(np.concatenate([found.theta, theta.log_lambda]), problem.data, problem.sizes).a
    known = plug_in(space, found.theta, beta, source.priors.penalty)
    phi, _ = maximize_evidence(known, space, phi, "start", tolerance=0.1)
    if not compare:
        return 0.0, phi, found.x
    mode = LaplaceEvidence(problem, space, found.x, evidence.find).mode(phi)
    return mode.log_evidence + space.log_hyperprior(phi)[0], phi, mode.x


def _search(
    source: Source, space: Space, evidence: LaplaceEvidence, phi: np.ndarray, tolerance: float, progress: Progress
):
    """Maximise the Laplace evidence, and again from a better mode if a fresh start finds one at the end."""
    records = []
    for _ in range(3):
        phi, record = maximize_evidence(
            evidence, space, phi, "Laplace evidence", tolerance=tolerance, progress=progress
        )
        records.append(record)
        if space.m >= MANY_GROUPS or not len(phi):
            break
        mode = evidence.mode(phi)
        try:
            start = _crude_start(source, space.theta(phi), evidence.problem.approximation == "joint")
            fresh = LaplaceEvidence(evidence.problem, space, start, evidence.find).mode(phi)
        except ConvergenceError:
            break
        if fresh.log_evidence < mode.log_evidence + _BETTER_MODE:
            break
        evidence.restart(fresh.x)
    return phi, records


def _em_finder(source: Source, problem: LaplaceProblem):
    """Find natural modes by EM alone."""

    def find(x: np.ndarray, theta: Theta) -> Mode:
        most = 20_000
        natural, steps = em(
            coordinates.to_natural(x, problem.sizes),
            theta,
            source.priors.sigma,
            problem.data,
            problem.sizes,
            profile=problem.approximation == "joint",
            steps=most,
            tolerance=1e-11,
        )
        if steps == most:
            raise ConvergenceError(f"EM did not converge in {most} steps; use optimizer='newton'.")
        return problem.accept_mode(natural, pack(theta), steps)

    return find


def _default_evidence(source: Source, space: Space, start: np.ndarray) -> LaplaceEvidence:
    """The marginal, unconstrained approximation: the proposal for every kind of fit."""
    problem = LaplaceProblem(
        compile_log_posterior(source, profile=False),
        source.statistics.crossproducts(source.priors.penalty),
        source.design.sizes,
        "marginal",
        "unconstrained",
    )
    return LaplaceEvidence(problem, space, start)
