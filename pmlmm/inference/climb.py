"""Maximise the Laplace evidence where one evaluation of the likelihood is costly.

Around a mode the log-likelihood is expanded (:mod:`pmlmm.kernels.expansion`), the evidence of that
expansion is maximised over the hyperparameters, the mode there is found exactly, and so on until the
two agree. What a parabola lacks, the slope of the Laplace volume, is measured at its centre.
"""

from dataclasses import dataclass

import numpy as np

from pmlmm.graph.compiled import pack
from pmlmm.inference.empirical_bayes import (
    LaplaceEvidence,
    Progress,
    SearchRecord,
    free_gradient,
    maximize_evidence,
)
from pmlmm.inference.laplace import LaplaceProblem, Mode, volume_slope
from pmlmm.inference.space import Space

#: Seconds of one evaluation from which on expansions pay.
COSTLY = 0.002
#: Expected gain (nats) at which the search for a mode ends here.
ENOUGH = 1e-9
# Error (nats per unit of phi) that the measured slope of the volume may have where the mode has moved.
_SLOPE_ERROR = 5e-3
_ROUNDS = 10


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
) -> tuple[np.ndarray, np.ndarray, list[SearchRecord]]:
    """Search from phi, with the mode there near x (unconstrained).

    Returns
    -------
    phi : (k,) array
    x : (d,) array
        The mode there.
    records : list of SearchRecord
        One a round.

    Raises
    ------
    ConvergenceError
        No proper mode.
    """
    records: list[SearchRecord] = []
    learned = [c.index for c in space.coordinates if c.kind == "lambda"]
    hyper = pack(space.theta(phi))
    mode, correction = problem.find_mode(x, hyper, ENOUGH), None
    for number in range(1, _ROUNDS + 1):
        expanded = problem.expanded(mode, hyper)
        if correction is None:
            slopes = [volume_slope(p, mode, hyper, learned) for p in (problem, expanded)]
            correction, measured_at = slopes[0] - slopes[1], mode.x
        inner = LaplaceEvidence(expanded, space, mode.x)
        function = _ExpandedEvidence(inner, mode, space.theta(phi).log_lambda, correction, learned)
        new, record = maximize_evidence(
            function, space, phi, f"Laplace evidence, expansion {number}", tolerance=tolerance, progress=progress
        )
        records.append(record)
        found = inner.mode(new)
        hyper = pack(space.theta(new))
        exact = problem.find_mode(found.x, hyper, ENOUGH)
        missed = (exact.at.gradient - found.at.gradient)[problem.size :] @ space.pack_jacobian(new)
        missed = float(np.max(np.abs(free_gradient(new, missed, space.bounds)), initial=0.0))
        sd = 1.0 / np.sqrt(np.diag(-exact.at.hessian)[: problem.size])
        moved = float(np.max(np.abs(exact.x - measured_at) / sd))
        far = 4.0 * moved / space.fewest_groups > _SLOPE_ERROR
        phi, mode = new, exact
        if missed < tolerance and not far:
            record.gradient_norm = max(record.gradient_norm, missed)
            break
        correction = None if far else correction
    return phi, mode.x, records
