"""Refine the Laplace search on the importance-sampled evidence."""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.inference.empirical_bayes import LaplaceEvidence, Progress, SearchRecord, maximize_evidence
from pmlmm.inference.importance import (
    LARGEST_K_HAT,
    BaseDraws,
    ImportanceEvidence,
    ImportanceSample,
    Weights,
    base_draws,
)
from pmlmm.inference.laplace import Mode
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.priors.search_space import Space
from pmlmm.problem import Problem

_ROUNDS = 10
# How far a round may go from its centre, on the log scales of phi.
_BOX = 1.0
_SETTLED = 0.01
# Times that draws are matched to the moments of the ones before.
_MATCHES = 3


class Refinement(NamedTuple):
    """Where it ended (the start, if the Laplace result is kept), what was done, and its searches."""

    phi: np.ndarray
    refined: bool
    words: str
    records: list[SearchRecord]


class Sampler:
    """Importance samples around the default approximation's mode, from common random numbers."""

    def __init__(
        self, problem: Problem, space: Space, proposals: LaplaceEvidence, draws: int, seed: int, data: Crossproducts
    ):
        self.problem, self.space, self.proposals, self.data = problem, space, proposals, data
        self._draws, self._seed = draws, seed

    @cached_property
    def base(self) -> BaseDraws:
        """The random numbers behind all of them."""
        return base_draws(self._draws, self.proposals.laplace.size, np.random.default_rng(self._seed))

    def at(self, mode: Mode, phi: np.ndarray) -> tuple[ImportanceSample, Weights]:
        """Draws around the mode at phi, and their weights there.

        Where those are not reliable, the next draws have the mean and covariance that they give (moment
        matching: Paananen et al. 2021, Statistics and Computing 31:16); the draws with the lowest k-hat stay.
        """
        theta = self.space.theta(phi)

        def draw(precision: np.ndarray, centre: np.ndarray) -> tuple[ImportanceSample, Weights]:
            prior = self.problem.priors.sigma
            sample = ImportanceSample(mode, precision, self.base, self.data, theta.log_lambda, prior, centre)
            return sample, sample.weights(theta)

        best = last = draw(self.proposals.proposal_precision(mode, phi), mode.x)
        for _ in range(_MATCHES):
            if best[1].reliable or not np.isfinite(last[1].k_hat):
                break
            try:
                centre, covariance = last[0].moments(last[1])
                precision = np.linalg.inv(covariance)
                last = draw((precision + precision.T) / 2.0, centre)
            except np.linalg.LinAlgError:  # weight on a few draws only
                break
            best = min(best, last, key=lambda drawn: drawn[1].k_hat)
        return best


def refine(sampler: Sampler, phi: np.ndarray, progress: Progress) -> Refinement:
    """Maximise the importance-sampled evidence, re-centring the draws until phi settles.

    Each round stays within a box around its centre, where the draws still speak for phi; it has settled
    when a round gains less than twice the Monte Carlo error, or than a hundredth of a nat. Draws around the
    new centre judge each round: where they show less evidence, it goes back and the box shrinks.
    """
    records: list[SearchRecord] = []
    first, space, box = phi, sampler.space, _BOX
    best: _Centre | None = None
    for rounds in range(1, _ROUNDS + 1):
        centre, words = _centre(sampler, phi)
        back = best is not None and (
            centre is None or centre.value < best.value - max(_SETTLED, 2.0 * centre.weights.error)
        )
        if back:
            box /= 4.0
        else:
            best = centre
        if best is None:
            return Refinement(first, False, f"Laplace evidence kept: {words}", records)
        new, record = maximize_evidence(
            ImportanceEvidence(best.sample, space),
            space,
            best.phi,
            "importance-sampled evidence",
            bounds=space.near(best.phi, box),
            progress=progress,
        )
        records.append(record)
        if _pinned(space, best.phi) and (why := _pinned(space, new)):
            words = f"Laplace evidence kept: importance sampling leaves {why}"
            return Refinement(first, False, words, records)
        gain, phi = record.gain, new
        if gain < max(_SETTLED, 2.0 * best.weights.error):
            end = best.phi if back else phi
            words = f"refined on the importance-sampled evidence, settled in round {rounds}"
            return Refinement(end, True, words, records)
    words = (
        f"Laplace evidence kept: after {_ROUNDS} rounds importance sampling had not settled along a flat direction "
        f"(last gain {gain:.2g} nats)"
    )
    return Refinement(first, False, words, records)


class _Centre(NamedTuple):
    """Draws around the mode at phi, their weights there, and log evidence + log hyperprior."""

    phi: np.ndarray
    sample: ImportanceSample
    weights: Weights
    value: float


def _centre(sampler: Sampler, phi: np.ndarray) -> tuple[_Centre | None, str]:
    """Draws around the mode at phi; None where they do not serve, and why."""
    try:
        sample, weights = sampler.at(sampler.proposals.mode(phi), phi)
    except ConvergenceError as error:
        return None, f"no proposal ({error})"
    if not weights.reliable:
        return None, f"Pareto k-hat {weights.k_hat:.2f} is above {LARGEST_K_HAT}"
    return _Centre(phi, sample, weights, weights.log_evidence + sampler.space.log_prior(phi)[0]), ""


def _pinned(space: Space, phi: np.ndarray) -> str:
    """Why draws of Sigma hardly spread there, so that re-weighting cannot move its prior; mostly empty."""
    return next(filter(None, (c.pinned(value) for c, value in zip(space.coordinates, phi, strict=True))), "")
