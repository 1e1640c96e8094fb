"""Bridge sampling: the evidence from draws of the posterior.

Meng and Wong 1996 (Statistica Sinica 6), iterated to its optimum, with a normal proposal fitted to half of
the draws and the other half bridged to it; error after Fruehwirth-Schnatter 2004 (Econometrics J. 7), the
draws' autocorrelation included. See Gronau et al. 2017 (J. Math. Psychology 81) for all of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

_ITERATIONS, _SETTLED = 1000, 1e-10


class BridgeEvidence(NamedTuple):
    """log p(y | Theta), and its Monte Carlo standard error (nats)."""

    log_evidence: float
    error: float


def bridge(x: np.ndarray, log_density: Callable[[np.ndarray], float], rng: np.random.Generator) -> BridgeEvidence:
    """Evidence from posterior draws in unconstrained coordinates.

    Parameters
    ----------
    x : (chains, draws, d) array
        Draws; the first half of each chain fits the proposal.
    log_density : callable
        Unnormalised log-density at a point (d,).
    rng : Generator
    """
    half = x.shape[1] // 2
    fitted, kept = x[:, :half].reshape(-1, x.shape[-1]), x[:, half:]
    proposal = multivariate_normal(fitted.mean(axis=0), np.atleast_2d(np.cov(fitted.T)), allow_singular=False)
    points = kept.reshape(-1, x.shape[-1])
    fresh = np.atleast_2d(proposal.rvs(len(points), random_state=rng)).reshape(len(points), -1)
    with np.errstate(all="ignore"):  # proposed points without a density
        ratios = [np.array([log_density(point) for point in part]) - proposal.logpdf(part) for part in (points, fresh)]
    posterior, proposed = (np.nan_to_num(ratio, nan=-np.inf, neginf=-np.inf) for ratio in ratios)
    effective = min(_effective(posterior.reshape(kept.shape[:2])), float(len(points)))
    return _iterate(posterior, proposed, effective, kept.shape[:2])


def _iterate(posterior: np.ndarray, proposed: np.ndarray, effective: float, shape: tuple[int, int]) -> BridgeEvidence:
    """Fixed point of the optimal bridge, given log(density / proposal) at both kinds of points."""
    weights = np.log([effective, len(proposed)]) - np.log(effective + len(proposed))
    value = float(np.median(posterior))
    for _ in range(_ITERATIONS):
        top = logsumexp(proposed - np.logaddexp(weights[0] + proposed, weights[1] + value)) - np.log(len(proposed))
        bottom = logsumexp(-np.logaddexp(weights[0] + posterior, weights[1] + value)) - np.log(len(posterior))
        previous, value = value, float(top - bottom)
        if abs(value - previous) < _SETTLED:
            break
    first = np.exp(proposed - value - np.logaddexp(weights[0] + proposed - value, weights[1]))
    second = np.exp(-np.logaddexp(weights[0] + posterior - value, weights[1]))
    slow = len(second) / min(_effective(second.reshape(shape)), float(len(second)))
    squared = np.var(first) / np.mean(first) ** 2 / len(first)
    squared += slow * np.var(second) / np.mean(second) ** 2 / len(second)
    return BridgeEvidence(value, float(np.sqrt(squared)))


def _effective(values: np.ndarray) -> float:
    """Effective number of draws (chains, draws)."""
    from arviz_stats.base import array_stats

    if not np.ptp(values):
        return float(values.size)
    return float(array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean"))
