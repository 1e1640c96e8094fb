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
    AT_BOUND,
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
_EM_START_STEPS = 6
_ROUNDS = 10
_BOX = 1.0
_SETTLED = 0.01
# The Laplace search only has to come close where the refinement follows.
_COARSE = 0.03


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


def tune(source: Source, space: Space, options: Options, progress: Callable[[str], None] | None = None) -> Tuned:
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
    start = _crude_start(source, space, profile)
    finder = _em_finder(source, problem) if options.optimizer == "em" else None
    evidence = LaplaceEvidence(problem, space, start, finder)
    phi = _first_phi(source, space, evidence)
    reason = _reason_to_skip(options, problem)
    may_refine = _may_refine(options) and not reason
    phi, record = maximize_evidence(
        evidence,
        space,
        phi,
        "Laplace evidence",
        tolerance=_COARSE if may_refine else 1e-3,
        progress=progress,
    )
    records, refinement, refined = [record], reason, False
    proposals = evidence if _is_default(options) else _default_evidence(source, space, evidence.mode(phi).x)
    sampler = None if reason else _Sampler(source, space, proposals, options, data)
    if may_refine and len(phi):
        phi, refined, refinement, more = _refine(sampler, phi, progress)
        records += more
        if not refined:
            phi, record = maximize_evidence(evidence, space, phi, "Laplace evidence", progress=progress)
            records.append(record)
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

    def __init__(
        self, source: Source, space: Space, proposals: LaplaceEvidence, options: Options, data: Crossproducts
    ):
        self.source, self.space, self.proposals, self.data = source, space, proposals, data
        rng = np.random.default_rng(options.random_seed)
        self.base = base_draws(options.draws, proposals.problem.size, rng)

    def at(self, mode: Mode) -> ImportanceSample:
        return ImportanceSample(mode, self.base, self.data, self.source.design.sizes, self.source.priors.sigma)


def _refine(sampler: _Sampler, phi: np.ndarray, progress: Callable[[str], None] | None):
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
            words = "Laplace evidence kept: importance sampling leaves b at its bound, where Sigma is pinned to A"
            return first, False, words, records
        gain, phi = record.gain, new
        if gain < max(_SETTLED, 2.0 * weights.error):
            return (
                phi,
                True,
                f"refined on the importance-sampled evidence, settled in round {rounds}",
                records,
            )
    words = f"refined on the importance-sampled evidence; the last of {_ROUNDS} rounds still gained {gain:.2g} nats"
    return phi, True, words, records


def _pinned(space: Space, phi: np.ndarray) -> bool:
    """Whether some b is at its upper bound: draws of Sigma then hardly spread, so re-weighting cannot move A."""
    return any(
        c.kind == "eta" and value >= c.upper - AT_BOUND for c, value in zip(space.coordinates, phi, strict=True)
    )


def _is_default(options: Options) -> bool:
    return (
        options.approximation == "marginal"
        and options.coordinates == "unconstrained"
        and options.optimizer == "newton"
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


def _crude_start(source: Source, space: Space, profile: bool) -> np.ndarray:
    """Unconstrained: a few EM steps from half of the variance of y."""
    sizes, theta = source.design.sizes, space.fixed
    variance = float(np.var(source.design.y))
    covariances = [
        np.diag(0.2 * variance / squares) if hyper is None else hyper.A
        for hyper, squares in zip(theta.covariances, space.z_square, strict=True)
    ]
    crude = np.concatenate([[np.sqrt(0.5 * variance)], *(coordinates.vech(A) for A in covariances)])
    data = source.statistics.crossproducts(source.priors.penalty)
    better, _ = em(crude, theta, source.priors.sigma, data, sizes, profile=profile, steps=_EM_START_STEPS)
    return coordinates.from_natural(better, sizes)


def _first_phi(source: Source, space: Space, evidence: LaplaceEvidence) -> np.ndarray:
    """The phi that fits the parameters at the start's mode best: a start near the end."""
    if not len(space.start):
        return space.start
    mode, problem = evidence.mode(space.start), evidence.problem
    point = np.concatenate([mode.theta, space.fixed.log_lambda])
    beta = likelihood.condition(point, problem.data, problem.sizes).a
    known = plug_in(space, mode.theta, beta, source.priors.penalty)
    return maximize_evidence(known, space, space.start, "start", tolerance=0.1)[0]


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
