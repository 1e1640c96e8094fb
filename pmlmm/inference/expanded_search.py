"""Maximise the Laplace evidence where one evaluation of the likelihood is costly.

Around a mode the log-likelihood is expanded (:mod:`pmlmm.kernels.likelihood_expanded`), the evidence of that
expansion is maximised over the hyperparameters, the mode there is found exactly, and so on until the
two agree. What a parabola lacks, the slope of the Laplace volume, is measured at its centre.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.inference.empirical_bayes import (
    AT_BOUND,
    ENOUGH,
    LaplaceEvidence,
    Progress,
    SearchRecord,
    free_gradient,
    maximize_evidence,
)
from pmlmm.inference.laplace import Laplace, Mode, volume_slope
from pmlmm.kernels.coordinates import vech_size
from pmlmm.priors.search_space import Space

#: Seconds of one evaluation from which on expansions pay.
COSTLY = 0.002
# Error (nats per unit of phi) that the measured slope of the volume may have where the mode has moved.
_SLOPE_ERROR = 5e-3
_ROUNDS = 15
# How far a round may go on the log scales of phi.
_BOX = 1.5


@dataclass
class _ExpandedEvidence:
    """Evidence of an expansion, with the exact slope of the volume at its centre."""

    inner: LaplaceEvidence
    centre: Mode
    log_lambda: np.ndarray
    correction: np.ndarray
    learned: list[int]

    def __call__(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self.inner(phi)
        space, d = self.inner.space, len(self.centre.x)
        moved = np.concatenate(
            [self.inner.last_x - self.centre.x, (space.theta(phi).log_lambda - self.log_lambda)[self.learned]]
        )
        slopes = np.zeros((len(moved), len(phi)))
        slopes[:d] = self.inner.last_slopes
        slopes[d:, : len(self.learned)] = np.eye(len(self.learned))
        return value + self.correction @ moved, gradient + self.correction @ slopes


def climb(
    evidence: LaplaceEvidence, phi: np.ndarray, tolerance: float, progress: Progress
) -> tuple[np.ndarray, list[SearchRecord], bool]:
    """Search from phi; ``evidence`` is left at the mode of the end.

    Returns
    -------
    phi : (k,) array
    records : list of SearchRecord
        One a round.
    settled : bool
        Whether the last expansion and the likelihood itself agree.

    Raises
    ------
    ConvergenceError
        No proper mode at the start.
    """
    laplace, space = evidence.laplace, evidence.space
    records: list[SearchRecord] = []
    volume, box = _VolumeSlope(laplace, space), _BOX
    best = _at(evidence, phi, evidence.mode(phi).x)
    for number in range(1, _ROUNDS + 1):
        function = volume.add_to(laplace.expanded(best.mode, best.hyper), best)
        near, name = space.near(best.phi, box), f"Laplace evidence, expansion {number}"
        new, record = maximize_evidence(
            function, space, best.phi, name, tolerance=tolerance, bounds=near, progress=progress
        )
        records.append(record)
        try:
            found = function.inner.mode(new)
            reached = _at(evidence, new, found.x)
        except ConvergenceError:
            reached = None
        if reached is None or reached.value < best.value - tolerance:
            box, record.reason = box / 4.0, "the likelihood itself disagrees: back, in a smaller box"
            continue
        missed = _missed(reached, found, space)
        record.gradient_norm = max(record.gradient_norm, missed)
        best, inside = reached, _inside(new, near, space.bounds)
        if missed < tolerance and inside and not volume.outdated(best.mode).any():
            evidence.restart(best.mode.x)
            return best.phi, records, True
        record.reason = "to be expanded anew"
    evidence.restart(best.mode.x)
    return best.phi, records, False


class _Point(NamedTuple):
    """A mode of the likelihood itself, with log evidence + log hyperprior."""

    phi: np.ndarray
    hyper: np.ndarray
    mode: Mode
    value: float


def _at(evidence: LaplaceEvidence, phi: np.ndarray, x: np.ndarray) -> _Point:
    """The mode at phi, searched from x."""
    space, hyper = evidence.space, evidence.space.theta(phi).packed
    mode = evidence.laplace.find_mode(x, hyper, ENOUGH)
    return _Point(phi, hyper, mode, mode.log_evidence + space.log_prior(phi)[0])


def _missed(reached: _Point, found: Mode, space: Space) -> float:
    """Largest entry of the gradient that the expansion did not see."""
    d = len(reached.mode.x)
    missed = (reached.mode.at.gradient - found.at.gradient)[d:] @ space.pack_jacobian(reached.phi)
    return float(np.max(np.abs(free_gradient(reached.phi, missed, space.bounds)), initial=0.0))


def _inside(phi: np.ndarray, near: list[tuple[float, float]], bounds: list[tuple[float, float]]) -> bool:
    """Whether phi touches no edge of the box but those of the space."""
    edges = [set(box) - set(own) for box, own in zip(near, bounds, strict=True)]
    return not any(abs(v - edge) < AT_BOUND for v, own in zip(phi, edges, strict=True) for edge in own)


class _VolumeSlope:
    """What the expansion lacks of the slope of the Laplace volume, in x and in the learned log lambdas.

    Between modes that are s posterior sds apart in one parameter of a term with m groups its slope there
    changes by about 4 s / m: it is measured anew where that is too much.
    """

    def __init__(self, laplace: Laplace, space: Space):
        self.laplace, self.space = laplace, space
        self.learned = space.learned_groups.tolist()
        sizes = [np.full(vech_size(q), m) for q, m in zip(laplace.sizes, space.levels, strict=True)]
        self.levels = np.concatenate([[laplace.data.n], *sizes])
        self.measured = np.full(laplace.size, np.nan)
        self.lacking = np.zeros(laplace.size + len(self.learned))

    def outdated(self, mode: Mode) -> np.ndarray:
        """Which entries of x have moved too far since they were measured: (d,)."""
        sd = 1.0 / np.sqrt(np.diag(-mode.at.hessian)[: self.laplace.size])
        return ~(4.0 * np.abs(mode.x - self.measured) / sd / self.levels < _SLOPE_ERROR)

    def add_to(self, expanded: Laplace, centre: _Point) -> _ExpandedEvidence:
        """The evidence of an expansion around a mode, with this slope."""
        d, mode = self.laplace.size, centre.mode
        old = [int(j) for j in np.flatnonzero(self.outdated(mode))]
        which, rows = list(old), list(old)
        if np.isnan(self.measured).any():
            which += [d + g for g in self.learned]
            rows += range(d, d + len(self.learned))
        exact, parabola = (volume_slope(p, mode, centre.hyper, which) for p in (self.laplace, expanded))
        self.lacking[rows] = exact - parabola
        self.measured[old] = mode.x[old]
        log_lambda = self.space.theta(centre.phi).log_lambda
        inner = LaplaceEvidence(expanded, self.space, mode.x)
        return _ExpandedEvidence(inner, mode, log_lambda, self.lacking.copy(), self.learned)
