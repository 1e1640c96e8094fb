"""Pareto-smoothed importance weights; ArviZ has the same, behind an import that takes longer than a fit.

References
----------
Vehtari, Simpson, Gelman, Yao and Gabry (2024). Pareto smoothed importance sampling. JMLR 25(72).
Zhang and Stephens (2009). A new and efficient estimation method for the generalized Pareto distribution.
Technometrics 51(3).
"""

import numpy as np
from scipy.special import logsumexp

# The weak prior on the shape: so many draws of this value; and the scale of the prior of Zhang and Stephens.
_PRIOR_DRAWS, _PRIOR_SHAPE, _PRIOR_SCALE = 10, 0.5, 3


def smooth_tail(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Log weights (draws,) with the largest replaced by the quantiles of the Pareto fitted to them, and its shape.

    The shape is nan, and nothing is smoothed, where a quarter of the tail has one value: it is far from a Pareto then.
    """
    relative, number = log_weights - np.max(log_weights), len(log_weights)
    in_tail = int(3.0 * np.sqrt(number)) if number > 225 else number // 5
    order = np.argsort(relative)
    tail, cutoff = order[-in_tail:], np.exp(relative[order[-in_tail - 1]])
    shape, scale = fit_pareto(np.exp(relative[tail]) - cutoff)
    if np.isfinite(shape) and scale > 0.0:
        upper = -np.log1p(-(np.arange(in_tail) + 0.5) / in_tail)
        beyond = scale * (upper if shape == 0.0 else np.expm1(shape * upper) / shape)
        relative[tail] = np.minimum(np.log(cutoff + beyond), 0.0)
    return relative + np.max(log_weights), shape


def fit_pareto(excesses: np.ndarray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution, given sorted excesses over its start (draws,)."""
    number = len(excesses)
    quartile = excesses[int(number / 4 + 0.5) - 1]
    if quartile <= excesses[0]:
        return np.nan, np.nan
    points = 30 + int(np.sqrt(number))
    b = (1.0 - np.sqrt(points / (np.arange(points) + 0.5))) / (_PRIOR_SCALE * quartile) + 1.0 / excesses[-1]
    shapes = np.mean(np.log1p(-b[:, None] * excesses), axis=1)
    log_likelihoods = number * (np.log(-b / shapes) - shapes - 1.0)
    weights = np.exp(log_likelihoods - logsumexp(log_likelihoods))
    weights[weights < 10.0 * np.finfo(float).eps] = 0.0
    mean = b @ weights / np.sum(weights)
    shape = float(np.mean(np.log1p(-mean * excesses)))
    if np.isnan(shape):
        return np.inf, np.nan
    pooled = (number * shape + _PRIOR_DRAWS * _PRIOR_SHAPE) / (number + _PRIOR_DRAWS)
    return pooled, -shape / mean
