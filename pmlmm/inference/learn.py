"""The whole inference of one model: start, empirical Bayes on Laplace, refinement, final mode."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.inference.em import em
from pmlmm.inference.empirical_bayes import (
    LaplaceEvidence,
    Progress,
    SearchRecord,
    maximize_evidence,
)
from pmlmm.inference.expanded_search import COSTLY, climb
from pmlmm.inference.identified import refuse_collinear, refuse_exact_fit, unbounded
from pmlmm.inference.importance import work
from pmlmm.inference.integrate import is_quick
from pmlmm.inference.laplace import Laplace, LogPosterior, Mode
from pmlmm.inference.learned import FitOptions, Found, Learned
from pmlmm.inference.refine import Sampler, refine
from pmlmm.inference.start import crude_start, first_phi
from pmlmm.kernels import coordinates
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.kernels.likelihood_expanded import Expansion
from pmlmm.priors.search_space import Space
from pmlmm.priors.theta import Theta
from pmlmm.problem import Problem

# Importance sampling is skipped above so many floating-point operations: about a second.
_MOST_WORK = 1e9
# The Laplace search only has to come close where the refinement follows; an integration corrects more.
_COARSE, _ROUGH = 0.03, 0.1
_FINE, _FINE_IF_COSTLY = 1e-3, 5e-3
_LARGEST_SD = 2.0
# A fresh start must find a mode with so much more evidence (nats) to be followed.
_BETTER_MODE = 0.05

Compiler = Callable[[bool], LogPosterior]


def learn(
    problem: Problem, space: Space, options: FitOptions, compiled: Compiler, progress: Progress = None
) -> Learned:
    """Learn the hyperparameters of one model and find its mode.

    ``compiled(profile)`` is the log-posterior, or its profile over beta.
    """
    improper = unbounded(problem)
    if improper and options.is_default:
        raise ConvergenceError(improper)
    refuse_collinear(problem)
    refuse_exact_fit(problem, space)
    evidence = _asked_for(problem, space, options, compiled)
    profile, data = options.approximation == "joint", problem.statistics.crossproducts()
    skipped = "not refined: the posterior is improper" if improper else _reason_to_skip(options, data)
    integrate = _will_integrate(options, space, data, skipped, improper)
    may_refine = _may_refine(options) and not skipped and (options.refine is True or not integrate)
    fine = _FINE_IF_COSTLY if evidence.costly else _FINE
    phi = first_phi(problem, space, evidence, profile)
    enough = _COARSE if may_refine else (_ROUGH if integrate else fine)
    phi, records = _search(problem, space, evidence, phi, enough, progress)
    own = options.is_default or improper
    proposals = evidence if own else _default_evidence(problem, compiled, space, evidence.mode(phi).x)
    proposal = proposals.mode(phi)
    _refuse_unidentified(proposal, problem)  # before chance has a say in where phi ends
    unrefined = "not refined" + ("" if len(phi) else ": nothing to learn")
    refined, words = False, skipped or unrefined
    sampler = None if skipped else _sampler(problem, space, options, proposals)
    if sampler is not None and may_refine and len(phi):
        phi, refined, words, more = refine(sampler, phi, progress)
        records += more
        if not refined:
            phi, more = _search(problem, space, evidence, phi, fine, progress)
            records += more
        proposal = proposals.mode(phi)
    mode = proposal if proposals is evidence else evidence.mode(phi)
    return Learned(
        problem=problem,
        space=space,
        options=options,
        theta=space.theta(phi),
        phi=phi,
        mode=mode,
        proposal=proposal,
        refined=refined,
        refinement=words,
        records=tuple(records),
        integrate=integrate,
        _evidence=evidence,
        _proposals=proposals,
        _sampler=sampler,
    )


def restore(problem: Problem, space: Space, options: FitOptions, compiled: Compiler, found: Found) -> Learned:
    """What :func:`learn` returned, from what it had found; nothing is compiled before it is needed."""

    def deferred(profile: bool) -> _Deferred:
        return _Deferred(compiled, profile)

    evidence = proposals = _asked_for(problem, space, options, deferred)
    if len(found.positions) > 1:
        proposals = _default_evidence(problem, deferred, space, np.empty(0))
        proposals.resume(found.positions[1])
    evidence.resume(found.positions[0])
    return Learned(
        problem=problem,
        space=space,
        options=options,
        theta=space.theta(found.phi),
        phi=found.phi,
        mode=found.mode,
        proposal=found.proposal or found.mode,
        refined=found.refined,
        refinement=found.refinement,
        records=found.records,
        integrate=found.integrate,
        _evidence=evidence,
        _proposals=proposals,
        _sampler=_sampler(problem, space, options, proposals) if found.weighable else None,
    )


def _sampler(problem: Problem, space: Space, options: FitOptions, proposals: LaplaceEvidence) -> Sampler:
    data = problem.statistics.crossproducts()
    return Sampler(problem, space, proposals, options.number_of_draws(data), options.random_seed, data)


class _Deferred:
    """A log-posterior that is compiled at its first call."""

    def __init__(self, compiled: Compiler, profile: bool):
        self._compiled, self._profile = compiled, profile

    @cached_property
    def _function(self) -> LogPosterior:
        return self._compiled(self._profile)

    def __call__(self, theta: np.ndarray, hyper: np.ndarray) -> Derivatives:
        return self._function(theta, hyper)

    def expanded(self, expansion: Expansion) -> LogPosterior:
        return self._function.expanded(expansion)


def _asked_for(problem: Problem, space: Space, options: FitOptions, compiled: Compiler) -> LaplaceEvidence:
    """The evidence in the approximation and coordinates that were asked for."""
    profile = options.approximation == "joint"
    laplace = Laplace(
        compiled(profile),
        problem.statistics.crossproducts(profile),
        options.approximation,
        options.coordinates,
        tuple(term.name for term in problem.design.terms),
    )
    finder = _em_finder(problem, laplace) if options.optimizer == "em" else None
    costly = laplace.data.seconds() > COSTLY and options.is_marginal_newton
    return LaplaceEvidence(laplace, space, np.empty(0), finder, costly)


def _refuse_unidentified(proposal: Mode, problem: Problem) -> None:
    """A residual sd that is known to a factor of e^2 at best leaves nothing to compute with."""
    sd = 1.0 / np.sqrt(-proposal.at.hessian[0, 0])
    if sd > _LARGEST_SD:
        design = problem.design
        raise ConvergenceError(
            f"sigma is not identified (posterior sd of log sigma about {sd:.1f}): {design.n_rows} rows for "
            f"{design.random_effects} random effects and {len(design.coefficients)} fixed effects. Take effects "
            "out, or give sigma a narrower prior with HalfStudentT(scale=...)."
        )


def _may_refine(options: FitOptions) -> bool:
    return options.refine is True or (options.refine == "auto" and options.is_default)


def _will_integrate(options: FitOptions, space: Space, data: Crossproducts, skipped: str, improper: str) -> bool:
    """Whether the hyperparameters are integrated out afterwards."""
    if options.integrate != "auto":
        return options.integrate
    usual = options.is_default and space.hyperprior is not None and not improper
    return usual and is_quick(data, space, not skipped)


def _reason_to_skip(options: FitOptions, data: Crossproducts) -> str:
    """Why importance sampling does not pay here; empty if it does."""
    if options.refine is True:
        return ""
    number = options.number_of_draws(data)
    needed = work(number, data)
    if needed <= _MOST_WORK:
        return ""
    groups = sum(data.levels[k] for k in data.grouped)
    many = groups > data.columns
    what = f"over {groups} groups" if many else f"with {data.columns} dense columns"
    why = ", and the Laplace error vanishes as the groups grow" if many else ""
    return f"not refined: {number} draws {what} would cost {needed:.1g} operations{why} (refine=True insists)"


def _search(
    problem: Problem, space: Space, evidence: LaplaceEvidence, phi: np.ndarray, tolerance: float, progress: Progress
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
            start = crude_start(problem, space.theta(phi), evidence.laplace.approximation == "joint")
            fresh = evidence.from_start(start).mode(phi)
        except ConvergenceError:
            break
        if fresh.log_evidence < mode.log_evidence + _BETTER_MODE:
            break
        evidence.restart(fresh.x)
    return phi, records


def _em_finder(problem: Problem, laplace: Laplace):
    """Find natural modes by EM alone."""

    def find(x: np.ndarray, theta: Theta) -> Mode:
        most = 20_000
        natural, steps = em(
            coordinates.to_natural(x, laplace.sizes),
            theta,
            problem.priors.sigma,
            laplace.data,
            profile=laplace.approximation == "joint",
            steps=most,
            tolerance=1e-11,
        )
        if steps == most:
            raise ConvergenceError(f"EM did not converge in {most} steps; use optimizer='newton'.")
        return laplace.accept_mode(natural, theta.packed, steps)

    return find


def _default_evidence(problem: Problem, compiled: Compiler, space: Space, start: np.ndarray) -> LaplaceEvidence:
    """The marginal, unconstrained approximation: the proposal for every kind of fit."""
    laplace = Laplace(
        compiled(False),
        problem.statistics.crossproducts(),
        "marginal",
        "unconstrained",
    )
    return LaplaceEvidence(laplace, space, start)
