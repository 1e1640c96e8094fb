"""Maximise the Laplace evidence where one evaluation of the likelihood is costly.

Around a mode the log-likelihood is expanded (:mod:`pmlmm.kernels.expansion`), the evidence of that
expansion is maximised over the hyperparameters, the mode there is found exactly, and so on until the
two agree. What a parabola lacks, the slope of the Laplace volume, is measured at its centre.
"""

from dataclasses import dataclass

import numpy as np

from pmlmm.graph.compiled import pack
from pmlmm.inference.empirical_bayes import (
    AT_BOUND,
    LaplaceEvidence,
    Progress,
    SearchRecord,
    free_gradient,
    maximize_evidence,
)
from pmlmm.inference.laplace import LaplaceProblem, Mode, volume_slope
from pmlmm.inference.space import Space
from pmlmm.kernels.coordinates import vech_size

#: Seconds of one evaluation from which on expansions pay.
COSTLY = 0.002
#: Expected gain (nats) at which the search for a mode ends here.
ENOUGH = 1e-9
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
        for row, group in enumerate(self.learned):
            for j, c in enumerate(space.coordinates):
                slopes[d + row, j] = float(c.kind == "lambda" and c.index == group)
        return value + self.correction @ moved, gradient + self.correction @ slopes


def climb(
    problem: LaplaceProblem, space: Space, phi: np.ndarray, x: np.ndarray, tolerance: float, progress: Progress
) -> tuple[np.ndarray, np.ndarray, list[SearchRecord], bool]:
    """Search from phi, with the mode there near x (unconstrained).

    Returns
    -------
    phi : (k,) array
    x : (d,) array
        The mode there.
    records : list of SearchRecord
        One a round.
    settled : bool
        Whether the last expansion and the likelihood itself agree.

    Raises
    ------
    ConvergenceError
        No proper mode.
    """
    records: list[SearchRecord] = []
    hyper = pack(space.theta(phi))
    mode = problem.find_mode(x, hyper, ENOUGH)
    volume = _VolumeSlope(problem, space)
    for number in range(1, _ROUNDS + 1):
        expanded = problem.expanded(mode, hyper)
        function = volume.add_to(expanded, mode, hyper, phi)
        near = [(max(low, v - _BOX), min(high, v + _BOX)) for (low, high), v in zip(space.bounds, phi, strict=True)]
        name = f"Laplace evidence, expansion {number}"
        new, record = maximize_evidence(function, space, phi, name, tolerance=tolerance, bounds=near, progress=progress)
        records.append(record)
        found = function.inner.mode(new)
        phi, hyper = new, pack(space.theta(new))
        mode = problem.find_mode(found.x, hyper, ENOUGH)
        missed = (mode.at.gradient - found.at.gradient)[problem.size :] @ space.pack_jacobian(new)
        missed = float(np.max(np.abs(free_gradient(new, missed, space.bounds)), initial=0.0))
        at_edge = any(
            abs(v - edge) < AT_BOUND
            for v, edges, own in zip(new, near, space.bounds, strict=True)
            for edge in set(edges) - set(own)
        )
        if missed < tolerance and not at_edge and not volume.outdated(mode).any():
            record.gradient_norm = max(record.gradient_norm, missed)
            return phi, mode.x, records, True
    return phi, mode.x, records, False


class _VolumeSlope:
    """What the expansion lacks of the slope of the Laplace volume, in x and in the learned log lambdas.

    Between modes that are s posterior sds apart in one parameter of a term with m groups its slope there
    changes by about 4 s / m: it is measured anew where that is too much.
    """

    def __init__(self, problem: LaplaceProblem, space: Space):
        self.problem, self.space = problem, space
        self.learned = [c.index for c in space.coordinates if c.kind == "lambda"]
        sizes = [np.full(vech_size(q), m) for q, m in zip(problem.sizes, space.levels, strict=True)]
        self.levels = np.concatenate([[problem.data.n], *sizes])
        self.measured = np.full(problem.size, np.nan)
        self.lacking = np.zeros(problem.size + len(self.learned))

    def outdated(self, mode: Mode) -> np.ndarray:
        """Which entries of x have moved too far since they were measured: (d,)."""
        sd = 1.0 / np.sqrt(np.diag(-mode.at.hessian)[: self.problem.size])
        return ~(4.0 * np.abs(mode.x - self.measured) / sd / self.levels < _SLOPE_ERROR)

    def add_to(self, expanded: LaplaceProblem, mode: Mode, hyper: np.ndarray, phi: np.ndarray) -> _ExpandedEvidence:
        """The evidence of an expansion around a mode, with this slope."""
        d, old = self.problem.size, np.flatnonzero(self.outdated(mode))
        which = [int(j) for j in old]
        rows = list(which)
        if np.isnan(self.measured).any():
            which += [d + g for g in self.learned]
            rows += range(d, d + len(self.learned))
        exact, parabola = (volume_slope(p, mode, hyper, which) for p in (self.problem, expanded))
        self.lacking[rows] = exact - parabola
        self.measured[old] = mode.x[old]
        inner = LaplaceEvidence(expanded, self.space, mode.x)
        return _ExpandedEvidence(inner, mode, self.space.theta(phi).log_lambda, self.lacking.copy(), self.learned)
