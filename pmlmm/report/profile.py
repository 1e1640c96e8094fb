"""Evidence profiles over one hyperparameter."""

from dataclasses import replace

import numpy as np
import pandas as pd

from pmlmm.inference.expanded_search import climb
from pmlmm.inference.empirical_bayes import LaplaceEvidence, maximize_evidence
from pmlmm.inference.importance import ImportanceSample, base_draws
from pmlmm.inference.laplace import Mode
from pmlmm.priors.search_space import Coordinate, Space
from pmlmm.inference.learn import Options, Tuned, number_of_draws
from pmlmm.priors.stated import b_from_eta
from pmlmm.report.hyperparameters import curvature, profile_gradient

_TOLERANCE = 0.01
# A grid point so close to the learned value is that value.
_SAME = 1e-9


def evidence_profile(
    tuned: Tuned, space: Space, options: Options, column: int, points: int, width: float
) -> pd.DataFrame:
    """Profile over ``space.coordinates[column]``; see :meth:`pmlmm.Fit.profile`."""
    coordinate = space.coordinates[column]
    function = profile_gradient(tuned.mode, space, tuned.phi) if tuned.evidence.costly else tuned.evidence
    sd = curvature(function, tuned.phi, space).sd[column]
    half = width * sd if np.isfinite(sd) else 2.0
    ends = np.clip([tuned.phi[column] - half, tuned.phi[column] + half], coordinate.lower, coordinate.upper)
    rows, phi = [], tuned.phi
    grid = np.linspace(*ends, points)
    grid = np.unique(np.append(grid[np.abs(grid - tuned.phi[column]) > _SAME], tuned.phi[column]))
    middle = int(np.searchsorted(grid, tuned.phi[column]))
    for side in (grid[middle:], grid[:middle][::-1]):  # outwards, each from its neighbour
        phi = tuned.phi
        for value in side:
            phi, row = _point(tuned, space, options, column, float(value), phi)
            rows.append(row)
    return pd.DataFrame(rows).sort_values("value", ignore_index=True)


def _point(tuned: Tuned, space: Space, options: Options, column: int, value: float, phi: np.ndarray):
    start = phi.copy()
    start[column] = value
    bound = replace(space.coordinates[column], lower=value, upper=value)
    held = replace(space, coordinates=(*space.coordinates[:column], bound, *space.coordinates[column + 1 :]))
    evidence = LaplaceEvidence(tuned.evidence.laplace, held, tuned.mode.x, costly=tuned.evidence.costly)
    if evidence.costly:
        best, *_ = climb(evidence, start, _TOLERANCE, None)
    else:
        best, _ = maximize_evidence(evidence, held, start, "profile")
    mode = evidence.mode(best)
    row = {
        "value": _shown(space.coordinates[column], value, space),
        "log_evidence": mode.log_evidence,
        **_psis(tuned, space, options, mode, best),
        "log_hyperprior": space.log_hyperprior(best)[0],
    }
    for j, other in enumerate(space.coordinates):
        if j != column:
            row[other.name] = _shown(other, float(best[j]), space)
    return best, row


def _psis(tuned: Tuned, space: Space, options: Options, mode: Mode, phi: np.ndarray) -> dict[str, float]:
    """Importance-sampled evidence at one point; nan where it was skipped or is another approximation's."""
    names = ("log_evidence_psis", "error", "k_hat")
    laplace = tuned.evidence.laplace
    if tuned.sample is None or (laplace.approximation, laplace.coordinates) != ("marginal", "unconstrained"):
        return dict.fromkeys(names, np.nan)
    base = base_draws(number_of_draws(options, laplace.data), laplace.size, np.random.default_rng(options.random_seed))
    precision = tuned.evidence.proposal_precision(mode, phi)
    log_lambda = space.theta(phi).log_lambda
    sample = ImportanceSample(mode, precision, base, laplace.data, log_lambda, tuned.sample.sigma_prior)
    weights = sample.weights(space.theta(phi))
    return dict(zip(names, (weights.log_evidence, weights.error, weights.k_hat), strict=True))


def _shown(coordinate: Coordinate, value: float, space: Space) -> float:
    if coordinate.kind == "rho":
        return float(np.tanh(value))
    if coordinate.kind != "eta":
        return float(np.exp(value))
    q = len(space.z_size[coordinate.index])
    return b_from_eta(np.exp(value) + q - 1.0, space.levels[coordinate.index], q)
