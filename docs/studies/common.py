"""Settings that the studies of calibration draw data from, and the real data sets of the studies."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import pmlmm

#: What the talk has for fixed effects: one learned lambda, and an intercept that is hardly penalised.
RIDGE = {"common": pmlmm.Ridge(), "Intercept": pmlmm.Ridge(1e-4, "response")}
DATA = Path(__file__).parents[2] / "tests" / "data"


def read(name: str) -> pd.DataFrame:
    """A data set kept for the tests, or bundled."""
    if name in pmlmm.datasets.names():
        return pmlmm.datasets.load(name)
    path = DATA / f"{name}.csv"
    return pd.read_csv(path) if path.exists() else pd.read_parquet(path.with_suffix(".parquet"))


@dataclass(frozen=True)
class Setting:
    """Groups of the same size; ``design`` "gaussian" or "cubic" (powers of a uniform time) for the random effects."""

    name: str
    groups: int
    repeats: int
    q: int
    design: str = "gaussian"
    covariates: int = 2
    sigma: float = 1.0
    nu: float = 10.0


@dataclass(frozen=True)
class Truth:
    """What made the data; Sigma is (q, q), gamma (groups, q)."""

    beta: np.ndarray
    sigma: float
    Sigma: np.ndarray
    gamma: np.ndarray


def formula(setting: Setting) -> str:
    """The model that made the data."""
    effects = " + ".join(f"z{k}" for k in range(setting.q))
    fixed = " + ".join(["1", *(f"x{k}" for k in range(setting.covariates))])
    return f"y ~ {fixed} + (0 + {effects} | g)"


def columns(setting: Setting, rng: np.random.Generator) -> pd.DataFrame:
    """Groups, random-effect columns and standardised covariates, without a response."""
    n = setting.groups * setting.repeats
    if setting.design == "cubic":
        Z = rng.uniform(-1.0, 1.0, n)[:, None] ** np.arange(setting.q)
    else:
        Z = rng.normal(size=(n, setting.q))
    X = rng.normal(size=(n, setting.covariates))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    table = {"g": np.repeat(np.arange(setting.groups), setting.repeats)}
    table |= {f"z{k}": Z[:, k] for k in range(setting.q)} | {f"x{k}": X[:, k] for k in range(setting.covariates)}
    return pd.DataFrame(table)


def respond(table: pd.DataFrame, setting: Setting, truth: Truth, rng: np.random.Generator) -> pd.DataFrame:
    """Add the response: ``beta`` has the intercept first."""
    X = table[[f"x{k}" for k in range(setting.covariates)]].to_numpy()
    Z = table[[f"z{k}" for k in range(setting.q)]].to_numpy()
    mean = truth.beta[0] + X @ truth.beta[1:] + np.sum(Z * truth.gamma[table["g"]], axis=1)
    return table.assign(y=mean + truth.sigma * rng.normal(size=len(table)))


def simulate(setting: Setting, seed: int) -> tuple[pd.DataFrame, Truth]:
    """Data as in the talk: Sigma ~ IW with mean I, beta standard normal."""
    rng = np.random.default_rng([seed, setting.groups, setting.repeats, setting.q])
    Sigma = pmlmm.simulate.draw_covariance(setting.nu, np.eye(setting.q), seed=int(rng.integers(2**31)))
    gamma = rng.normal(size=(setting.groups, setting.q)) @ np.linalg.cholesky(Sigma).T
    truth = Truth(rng.normal(size=1 + setting.covariates), setting.sigma, Sigma, gamma)
    return respond(columns(setting, rng), setting, truth, rng), truth
