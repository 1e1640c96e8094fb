"""Simulated longitudinal data with known parameters, for studies, benchmarks and tests."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Truth:
    """The parameters behind simulated data; gamma is (individuals, degree + 1)."""

    beta: np.ndarray
    Sigma: np.ndarray
    sigma: float
    gamma: np.ndarray


def draw_covariance(nu: float, mean: ArrayLike, seed: int) -> np.ndarray:
    """Sigma ~ IW(nu, (nu - q - 1) mean): an inverse-Wishart draw with the given mean, nu > q + 1."""
    from scipy.stats import invwishart

    mean = np.atleast_2d(np.asarray(mean, dtype=float))
    q = len(mean)
    if nu <= q + 1:
        raise ValueError(f"draw_covariance(nu={nu}): the mean exists for nu > q + 1 = {q + 1} only.")
    return np.atleast_2d(invwishart(nu, (nu - q - 1) * mean).rvs(random_state=seed))


def polynomial_curves(
    rows: ArrayLike,
    *,
    Sigma: ArrayLike,
    beta: ArrayLike | None = None,
    sigma: float = 1.0,
    seed: int = 0,
) -> tuple[pd.DataFrame, Truth]:
    """Individual polynomial curves, ``y = sum_k (beta_k + gamma_ik) t^k + eps``, t uniform on [-1, 1].

    Parameters
    ----------
    rows : (individuals,) array of int
        Rows of each individual.
    Sigma : (degree + 1, degree + 1) array
        Covariance of gamma.
    beta : (degree + 1,) array, optional
        Zero by default.
    sigma : float
        Residual standard deviation.
    seed : int

    Returns
    -------
    data : DataFrame
        Columns ``ind``, ``t``, ``t2``, ... and ``y``.
    truth : Truth
    """
    rng = np.random.default_rng(seed)
    counts, Sigma = np.asarray(rows, dtype=int), np.asarray(Sigma, dtype=float)
    q = len(Sigma)
    beta = np.zeros(q) if beta is None else np.asarray(beta, dtype=float)
    individual = np.repeat(np.arange(len(counts)), counts)
    t = rng.uniform(-1.0, 1.0, len(individual))
    gamma = rng.standard_normal((len(counts), q)) @ np.linalg.cholesky(Sigma).T
    powers = t[:, None] ** np.arange(q)
    y = np.sum(powers * (beta + gamma[individual]), axis=1) + sigma * rng.standard_normal(len(t))
    data = pd.DataFrame({"ind": individual, "t": t} | {f"t{k}": t**k for k in range(2, q)} | {"y": y})
    return data, Truth(beta, Sigma, float(sigma), gamma)
