"""Simulated longitudinal data with known parameters, for studies, benchmarks and tests."""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pmlmm.priors.checked import covariance


@dataclass(frozen=True)
class Truth:
    """The parameters behind simulated data.

    Attributes
    ----------
    beta : (p,) array
        Fixed effects, in the order of ``formula``.
    Sigma : (q, q) array
        Covariance of the random effects.
    sigma : float
        Residual standard deviation.
    gamma : (individuals, q) array
        Random effects.
    formula : str
        The model that made the data.
    """

    beta: np.ndarray
    Sigma: np.ndarray
    sigma: float
    gamma: np.ndarray
    formula: str


def draw_covariance(nu: float, mean: ArrayLike, seed: int) -> np.ndarray:
    """A draw of Sigma ~ IW(nu, (nu - q - 1) mean), whose mean is ``mean``.

    Parameters
    ----------
    nu : float
        Degrees of freedom, above q + 1.
    mean : (q, q) array
        Symmetric and positive definite, in squared units of y over those of the random-effect columns.
    seed : int

    Returns
    -------
    (q, q) array

    Raises
    ------
    ValueError
        nu too small for a mean to exist, or a mean that is no covariance.
    """
    from scipy.stats import invwishart

    mean = covariance("mean", mean)
    q = len(mean)
    if nu <= q + 1:
        raise ValueError(f"draw_covariance(nu={nu}): the mean exists for nu > q + 1 = {q + 1} only.")
    return np.atleast_2d(invwishart(nu, (nu - q - 1) * mean).rvs(random_state=seed))


def longitudinal(
    rows: ArrayLike,
    *,
    q: int = 4,
    effects: Literal["gaussian", "polynomial"] = "gaussian",
    covariates: int = 2,
    nu: float = 10.0,
    mean: ArrayLike | None = None,
    Sigma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    beta_sd: float = 1.0,
    sigma: float = 1.0,
    seed: int = 0,
) -> tuple[pd.DataFrame, Truth]:
    """Individuals seen repeatedly, ``y = X beta + Z gamma + eps``, as in the talk's simulations.

    Parameters
    ----------
    rows : (individuals,) array of int
        Rows of each individual; they may differ.
    q : int
        Random effects of an individual.
    effects : "gaussian" or "polynomial"
        Design of the random effects: standard normal columns ``z1``, ..., ``zq``, or the powers 0 to q - 1 of
        a time ``t`` that is uniform on [-1, 1].
    covariates : int
        Number p of standard normal covariates ``x1``, ..., ``xp``.
    nu, mean : float, (q, q) array
        Sigma is drawn from the inverse-Wishart with nu degrees of freedom and this mean (default: identity).
    Sigma : (q, q) array, optional
        The covariance itself, instead of a draw.
    beta : (p,) array, optional
        Drawn from normals of mean 0 and standard deviation ``beta_sd`` by default.
    beta_sd : float
    sigma : float
        Residual standard deviation.
    seed : int
        The same seed gives the same data.

    Returns
    -------
    data : DataFrame
        Columns ``ind``, those of the random effects, the covariates, and ``y``.
    truth : Truth

    Raises
    ------
    ValueError
        Arguments that do not fit together.

    References
    ----------
    Amestoy, van de Wiel, van Wieringen (2021). Linear mixed models for high-dimensional data: extending
    the functionalities of the LMER package. Talk, section "Results".
    """
    if effects not in ("gaussian", "polynomial"):
        raise ValueError(f"effects={effects!r}: choose 'gaussian' or 'polynomial'.")
    rng = np.random.default_rng(seed)
    individual = _individuals(rows)
    _check_numbers(q, covariates, sigma, beta_sd)
    n = len(individual)
    if Sigma is None:
        mean = np.eye(q) if mean is None else _covariance("mean", mean, q)
        Sigma = draw_covariance(nu, mean, seed=int(rng.integers(2**31)))
    Sigma = _covariance("Sigma", Sigma, q)
    drawn = rng.standard_normal(covariates)  # also where beta is given: the rest of the data are then the same
    beta = beta_sd * drawn if beta is None else _vector("beta", beta, covariates)
    if effects == "gaussian":
        Z = rng.standard_normal((n, q))
        columns = {f"z{k + 1}": Z[:, k] for k in range(q)}
        inside = " + ".join(["0", *columns])
    else:
        columns, Z = _powers(rng, n, q)
        inside = " + ".join(["1", *columns])
    X = rng.standard_normal((n, covariates))
    names = [f"x{j + 1}" for j in range(covariates)]
    gamma, y = _respond(rng, X @ beta, Z, individual, Sigma, sigma)
    parts = [pd.DataFrame({"ind": individual} | columns), pd.DataFrame(X, columns=names)]
    data = pd.concat(parts, axis=1).assign(y=y)
    formula = f"y ~ {' + '.join(['0', *names])} + ({inside} | ind)"
    return data, Truth(beta, Sigma, float(sigma), gamma, formula)


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

    Raises
    ------
    ValueError
        Arguments that do not fit together.
    """
    rng = np.random.default_rng(seed)
    individual = _individuals(rows)
    q = len(np.atleast_2d(Sigma))
    Sigma = _covariance("Sigma", Sigma, q)
    _check_numbers(q, 0, sigma, 0.0)
    beta = np.zeros(q) if beta is None else _vector("beta", beta, q)
    columns, powers = _powers(rng, len(individual), q)
    gamma, y = _respond(rng, powers @ beta, powers, individual, Sigma, sigma)
    data = pd.DataFrame({"ind": individual} | columns | {"y": y})
    polynomial = " + ".join(["1", *columns])
    return data, Truth(beta, Sigma, float(sigma), gamma, f"y ~ {polynomial} + ({polynomial} | ind)")


def _individuals(rows: ArrayLike) -> np.ndarray:
    """The individual of each row."""
    counts = np.atleast_1d(np.asarray(rows))
    whole = counts.ndim == 1 and counts.size and np.issubdtype(counts.dtype, np.integer)
    if not whole or (counts < 1).any():
        raise ValueError("rows has one whole number, at least 1, for each individual: [7] * 40, say.")
    return np.repeat(np.arange(len(counts)), counts)


def _check_numbers(q: int, covariates: int, sigma: float, beta_sd: float) -> None:
    for name, value, least in (("q", q, 1), ("covariates", covariates, 0)):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name}={value!r}: a whole number, at least {least}.")
    for name, sd in (("sigma", sigma), ("beta_sd", beta_sd)):
        if not (np.isfinite(sd) and sd >= 0):
            raise ValueError(f"{name}={sd!r}: a standard deviation is finite and at least 0.")


def _vector(name: str, values: ArrayLike, size: int) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if found.shape != (size,) or not np.isfinite(found).all():
        raise ValueError(f"{name} has shape {found.shape}; it must be ({size},), all finite.")
    return found


def _covariance(name: str, matrix: ArrayLike, q: int) -> np.ndarray:
    values = np.atleast_2d(np.asarray(matrix, dtype=float))
    if values.shape != (q, q):
        raise ValueError(f"{name} has shape {values.shape}; with q={q} random effects it must be ({q}, {q}).")
    return covariance(name, values)


def _powers(rng: np.random.Generator, n: int, q: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A time as columns ``t``, ``t2``, ... and its powers from 0, (n, q)."""
    t = rng.uniform(-1.0, 1.0, n)
    names = ["t", *(f"t{k}" for k in range(2, q))][: q - 1]
    return {name: t ** (k + 1) for k, name in enumerate(names)}, t[:, None] ** np.arange(q)


def _respond(
    rng: np.random.Generator, mean: np.ndarray, Z: np.ndarray, individual: np.ndarray, Sigma: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Random effects and the response."""
    gamma = rng.standard_normal((individual[-1] + 1, len(Sigma))) @ np.linalg.cholesky(Sigma).T
    return gamma, mean + np.sum(Z * gamma[individual], axis=1) + sigma * rng.standard_normal(len(individual))
