"""The whole inference of one model: start, empirical Bayes on Laplace, refinement, final mode."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.graph.build import Source
from pmlmm.graph.compiled import compile_log_posterior, pack
from pmlmm.inference.climb import COSTLY, climb
from pmlmm.inference.em import em
from pmlmm.inference.empirical_bayes import (
    LaplaceEvidence,
    Progress,
    SearchRecord,
    maximize_evidence,
)
from pmlmm.inference.identified import refuse_collinear, refuse_exact_fit
from pmlmm.inference.importance import (
    ImportanceSample,
    Weights,
    work,
)
from pmlmm.inference.laplace import Approximation, Coordinates, LaplaceProblem, Mode
from pmlmm.inference.refine import Sampler, refine
from pmlmm.inference.space import Space
from pmlmm.inference.start import crude_start, first_phi
from pmlmm.kernels import coordinates, draws
from pmlmm.kernels.likelihood import Crossproducts
from pmlmm.theta import Theta

# Importance sampling is skipped above so many floating-point operations: about a second.
_MOST_WORK = 1e9
# The Laplace search only has to come close where the refinement follows.
_COARSE = 0.03
_DRAWS, _FEW_DRAWS = 2000, 500
_FINE, _FINE_IF_COSTLY = 1e-3, 5e-3
_LARGEST_SD = 2.0
# A fresh start must find a mode with so much more evidence (nats) to be followed.
_BETTER_MODE = 0.05


@dataclass(frozen=True)
class Options:
    """What a user chose for :meth:`pmlmm.Model.fit`."""

    approximation: Approximation
    coordinates: Coordinates
    refine: bool | Literal["auto"]
    draws: int | None
    random_seed: int
    optimizer: Literal["newton", "em"]


@dataclass(frozen=True)
class Tuned:
    """Learned hyperparameters, the mode there, and how all that was found.

    Attributes
    ----------
    phi : (k,) array
        Learned hyperparameters on the search scale.
    evidence, proposals : LaplaceEvidence
        In the approximation and coordinates that were asked for, and in the default ones.
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
    proposals: LaplaceEvidence


def tune(source: Source, space: Space, options: Options, progress: Progress = None) -> Tuned:
    """Learn the hyperparameters of one model and find its mode."""
    if space.unbounded and _is_default(options):
        raise ConvergenceError(space.unbounded)
    refuse_collinear(source)
    refuse_exact_fit(source, space)
    profile = options.approximation == "joint"
    problem = LaplaceProblem(
        compile_log_posterior(source, profile=profile),
        source.statistics.crossproducts(profile),
        options.approximation,
        options.coordinates,
        tuple(term.name for term in source.design.terms),
    )
    finder = _em_finder(source, problem) if options.optimizer == "em" else None
    costly = problem.data.seconds() > COSTLY and _is_marginal_newton(options)
    evidence = LaplaceEvidence(problem, space, np.empty(0), finder, costly)
    phi = first_phi(source, space, evidence, profile)
    data = source.statistics.crossproducts()
    reason = "not refined: the posterior is improper" if space.unbounded else _reason_to_skip(options, data)
    may_refine = _may_refine(options) and not reason
    fine = _FINE_IF_COSTLY if costly else _FINE
    phi, records = _search(source, space, evidence, phi, _COARSE if may_refine else fine, progress)
    refinement, refined = reason, False
    own = _is_default(options) or space.unbounded
    proposals = evidence if own else _default_evidence(source, space, evidence.mode(phi).x)
    proposal = proposals.mode(phi)
    _refuse_unidentified(proposal, source)  # before chance has a say in where phi ends
    number = number_of_draws(options, data)
    sampler = None if reason else Sampler(source, space, proposals, number, options.random_seed, data)
    if may_refine and len(phi):
        phi, refined, refinement, more = refine(sampler, phi, progress)
        records += more
        if not refined:
            phi, more = _search(source, space, evidence, phi, fine, progress)
            records += more
        proposal = proposals.mode(phi)
    elif not reason:
        refinement = "not refined" + ("" if len(phi) else ": nothing to learn")
    mode = proposal if proposals is evidence else evidence.mode(phi)
    sample, weights = sampler.at(proposal, phi) if sampler is not None else (None, None)
    theta = space.theta(phi)
    return Tuned(theta, phi, mode, proposal, sample, weights, refined, refinement, tuple(records), evidence, proposals)


def _refuse_unidentified(proposal: Mode, source: Source) -> None:
    """A residual sd that is known to a factor of e^2 at best leaves nothing to compute with."""
    sd = 1.0 / np.sqrt(-proposal.at.hessian[0, 0])
    if sd > _LARGEST_SD:
        design = source.design
        effects = sum(term.n_groups * term.q for term in design.terms)
        raise ConvergenceError(
            f"sigma is not identified (posterior sd of log sigma about {sd:.1f}): {design.n_rows} rows for "
            f"{effects} random effects and {len(design.coefficients)} fixed effects. Take effects out, or give sigma a "
            "narrower prior with HalfStudentT(scale=...)."
        )


def _is_default(options: Options) -> bool:
    return (
        options.approximation == "marginal" and options.coordinates == "unconstrained" and options.optimizer == "newton"
    )


def _is_marginal_newton(options: Options) -> bool:
    return options.approximation == "marginal" and options.optimizer == "newton"


def _may_refine(options: Options) -> bool:
    return options.refine is True or (options.refine == "auto" and _is_default(options))


def number_of_draws(options: Options, data: Crossproducts) -> int:
    """Importance draws: as asked for, or fewer where each is costly."""
    return options.draws or (_DRAWS if draws.cheap(data) else _FEW_DRAWS)


def _reason_to_skip(options: Options, data: Crossproducts) -> str:
    """Why importance sampling does not pay here; empty if it does."""
    if options.refine is True:
        return ""
    number = number_of_draws(options, data)
    needed = work(number, data)
    if needed <= _MOST_WORK:
        return ""
    groups = sum(data.levels[k] for k in data.grouped)
    many = groups > data.columns
    what = f"over {groups} groups" if many else f"with {data.columns} dense columns"
    why = ", and the Laplace error vanishes as the groups grow" if many else ""
    return f"not refined: {number} draws {what} would cost {needed:.1g} operations{why} (refine=True insists)"


def _search(
    source: Source, space: Space, evidence: LaplaceEvidence, phi: np.ndarray, tolerance: float, progress: Progress
):
    """Maximise the Laplace evidence, and again from a better mode if a fresh start finds one at the end."""
    records: list[SearchRecord] = []
    if evidence.costly and len(phi):
        phi, records, settled = climb(evidence, phi, tolerance, progress)
        if settled:
            return phi, records
    for _ in range(3):
        phi, record = maximize_evidence(
            evidence, space, phi, "Laplace evidence", tolerance=tolerance, progress=progress
        )
        records.append(record)
        if not len(phi):
            break
        mode = evidence.mode(phi)
        try:
            start = crude_start(source, space.theta(phi), evidence.problem.approximation == "joint")
            fresh = evidence.from_start(start).mode(phi)
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
        source.statistics.crossproducts(),
        "marginal",
        "unconstrained",
    )
    return LaplaceEvidence(problem, space, start)
