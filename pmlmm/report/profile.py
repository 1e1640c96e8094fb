"""Evidence profiles over one hyperparameter."""

from numbers import Integral

import numpy as np
import pandas as pd

from pmlmm.errors import OptionError, suggest
from pmlmm.inference.around_mode import profile_gradient
from pmlmm.inference.empirical_bayes import LaplaceEvidence, Progress, maximize_evidence
from pmlmm.inference.expanded_search import climb
from pmlmm.inference.importance import ImportanceSample, base_draws
from pmlmm.inference.laplace import Mode
from pmlmm.inference.learned import Learned
from pmlmm.kernels.threads import blas_threads
from pmlmm.report.hyperparameters import curvature

_TOLERANCE = 0.01
# A grid point so close to the learned value is that value.
_SAME = 1e-9


def evidence_profile(learned: Learned, name: str, points: int, width: float, progress: Progress = None) -> pd.DataFrame:
    """Profile over the hyperparameter of this name; see :meth:`pmlmm.Fit.profile`."""
    if not (isinstance(points, Integral) and points >= 2) or not width > 0:
        raise OptionError(f"profile(points={points!r}, width={width!r}): at least 2 points and a positive width.")
    names = [c.name for c in learned.space.coordinates]
    if name not in names:
        raise OptionError(f"{name!r} is not a learned hyperparameter of this fit." + suggest(name, names))
    with blas_threads(learned.dense), np.errstate(all="ignore"):
        return _profile(learned, names.index(name), points, width, progress)


def _profile(learned: Learned, column: int, points: int, width: float, progress: Progress) -> pd.DataFrame:
    space, evidence = learned.space, learned.evidence
    coordinate = space.coordinates[column]
    function = profile_gradient(learned.mode, space, learned.phi) if evidence.costly else evidence
    sd = curvature(function, learned.phi, space).sd[column]
    half = width * sd if np.isfinite(sd) else 2.0
    ends = np.clip([learned.phi[column] - half, learned.phi[column] + half], coordinate.lower, coordinate.upper)
    rows, phi = [], learned.phi
    grid = np.linspace(float(ends[0]), float(ends[1]), points)
    grid = np.unique(np.append(grid[np.abs(grid - learned.phi[column]) > _SAME], learned.phi[column]))
    middle = int(np.searchsorted(grid, learned.phi[column]))
    for side in (grid[middle:], grid[:middle][::-1]):  # outwards, each from its neighbour
        phi = learned.phi
        for value in side:
            phi, row = _point(learned, evidence, column, float(value), phi)
            rows.append(row)
            if progress is not None:
                progress(f"profile: {len(rows)} of {len(grid)} points")
    return pd.DataFrame(rows).sort_values("value", ignore_index=True)


def _point(learned: Learned, exact: LaplaceEvidence, column: int, value: float, phi: np.ndarray):
    space, start = learned.space, phi.copy()
    start[column] = value
    held = space.held(column, value)
    evidence = LaplaceEvidence(exact.laplace, held, learned.mode.x, costly=exact.costly)
    if evidence.costly:
        best, *_ = climb(evidence, start, _TOLERANCE, None)
    else:
        best, _ = maximize_evidence(evidence, held, start, "profile")
    mode = evidence.mode(best)
    row = {
        "value": float(space.coordinates[column].shown(np.array(value))),
        "log_evidence": mode.log_evidence,
        **_psis(learned, exact, mode, best),
        "log_hyperprior": space.log_prior(best)[0],
    }
    for j, other in enumerate(space.coordinates):
        if j != column:
            row[other.name] = float(other.shown(best[j]))
    return best, row


def _psis(learned: Learned, exact: LaplaceEvidence, mode: Mode, phi: np.ndarray) -> dict[str, float]:
    """Importance-sampled evidence at one point; nan where it was skipped or is another approximation's."""
    names = ("log_evidence_psis", "error", "k_hat")
    laplace, options = exact.laplace, learned.options
    if learned.sample is None or (laplace.approximation, laplace.coordinates) != ("marginal", "unconstrained"):
        return dict.fromkeys(names, np.nan)
    base = base_draws(options.number_of_draws(laplace.data), laplace.size, np.random.default_rng(options.random_seed))
    precision = exact.proposal_precision(mode, phi)
    theta = learned.space.theta(phi)
    sample = ImportanceSample(mode, precision, base, laplace.data, theta.log_lambda, learned.sample.sigma_prior)
    weights = sample.weights(theta)
    return dict(zip(names, (weights.log_evidence, weights.error, weights.k_hat), strict=True))
