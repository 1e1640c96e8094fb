"""Bridge sampling: the evidence from draws of the posterior.

Meng and Wong 1996 (Statistica Sinica 6), iterated to its optimum, with a normal proposal fitted to half of
the draws and the other half bridged to it; error after Fruehwirth-Schnatter 2004 (Econometrics J. 7), the
draws' autocorrelation included. See Gronau et al. 2017 (J. Math. Psychology 81) for all of it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from pmlmm.errors import OptionError
from pmlmm.kernels.derivatives import LOG_2PI

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

    Raises
    ------
    OptionError
        Too few draws to fit a proposal to.
    """
    chains, number, d = x.shape
    half = number // 2
    if chains * half <= 2 * d:
        raise OptionError(f"Bridge sampling needs more draws: {chains * number} for {d} parameters.")
    # standardised, as entries of x can differ in size by orders of magnitude
    centre, scale = x.mean(axis=(0, 1)), x.std(axis=(0, 1))
    z = (x - centre) / scale
    fitted, kept = z[:, :half].reshape(-1, d), z[:, half:]
    mean, chol = fitted.mean(axis=0), np.linalg.cholesky(np.atleast_2d(np.cov(fitted.T)))
    points = kept.reshape(-1, d)
    fresh = mean + rng.standard_normal(points.shape) @ chol.T

    def ratios(part: np.ndarray) -> np.ndarray:
        """log(density / proposal)."""
        with np.errstate(all="ignore"):  # proposed points without a density
            values = np.array([log_density(centre + scale * point) for point in part])
            return np.nan_to_num(values - _log_normal(part, mean, chol), nan=-np.inf, neginf=-np.inf)

    of_posterior, shape = ratios(points), (chains, kept.shape[1])
    effective = min(_effective(of_posterior.reshape(shape)), float(len(points)))
    result = _iterate(of_posterior, ratios(fresh), effective, shape)
    return BridgeEvidence(result.log_evidence + float(np.sum(np.log(scale))), result.error)


def _log_normal(z: np.ndarray, mean: np.ndarray, chol: np.ndarray) -> np.ndarray:
    half = np.linalg.solve(chol, (z - mean).T)
    constant = len(mean) * LOG_2PI + 2.0 * np.sum(np.log(np.diag(chol)))
    return -0.5 * (constant + np.sum(half**2, axis=0))


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
