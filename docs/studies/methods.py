"""Methods side by side on one simulated data set: estimates, and how far they are from the truth."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import maximum_likelihood
import numpy as np
import pandas as pd
from common import RIDGE

import pmlmm
from pmlmm.errors import ConvergenceError
from pmlmm.simulate import Truth


@dataclass(frozen=True)
class Case:
    """One setting of the talk's simulations, with the choices that the talk leaves open.

    ``scales`` are the prior standard deviations of the random effects: E Sigma = diag(scales^2).
    """

    repeats: int
    effects: str = "gaussian"
    individuals: int = 40
    q: int = 4
    covariates: int = 2
    nu: float = 10.0
    sigma: float = 1.0
    scales: tuple[float, ...] | None = None

    @property
    def scored(self) -> int:
        """Number of individuals, from the first, whose curves are compared with the truth."""
        return self.individuals

    @property
    def mean(self) -> np.ndarray:
        return np.eye(self.q) if self.scales is None else np.diag(np.square(self.scales))

    def simulate(self, seed: int) -> tuple[pd.DataFrame, Truth]:
        return pmlmm.simulate.longitudinal(
            [self.repeats] * self.individuals,
            q=self.q,
            effects=self.effects,
            covariates=self.covariates,
            nu=self.nu,
            mean=self.mean,
            sigma=self.sigma,
            seed=seed,
        )

    @property
    def informed(self) -> dict:
        """The priors that the truth was drawn from."""
        scale = (self.nu - self.q - 1) * self.mean
        return {
            "ind": pmlmm.InverseWishart.from_eta_phi(self.nu, scale),
            "common": pmlmm.Ridge(self.sigma**2),
        }


@dataclass(frozen=True)
class Curves:
    """Cubic curves of individuals seen ``rows`` times each, Sigma ~ IW(nu) with mean I, standard normal beta."""

    rows: tuple[int, ...]
    nu: float = 10.0
    sigma: float = 1.0

    @property
    def scored(self) -> int:
        """Number of individuals, from the first, whose curves are compared with the truth."""
        return len(self.rows)

    def simulate(self, seed: int) -> tuple[pd.DataFrame, Truth]:
        Sigma = pmlmm.simulate.draw_covariance(self.nu, np.eye(4), seed=seed)
        beta = np.random.default_rng(seed).standard_normal(4)
        return pmlmm.simulate.polynomial_curves(self.rows, Sigma=Sigma, beta=beta, sigma=self.sigma, seed=seed + 1_000)

    @property
    def informed(self) -> dict:
        """The priors that the truth was drawn from."""
        prior = pmlmm.InverseWishart.from_eta_phi(self.nu, (self.nu - 5) * np.eye(4))
        ridge = pmlmm.Ridge(self.sigma**2)
        return {"ind": prior, "common": ridge, "Intercept": pmlmm.Ridge(self.sigma**2, 0.0)}


@dataclass(frozen=True)
class Estimate:
    """A point estimate, and the hyperparameters that it was made with (nan: none).

    ``degenerate``: the likelihood has no maximum with a positive sigma; its KL counts as infinite.
    """

    beta: np.ndarray
    sigma: float
    Sigma: np.ndarray
    gamma: np.ndarray
    b: float = np.nan
    lambda_: float = np.nan
    degenerate: bool = False


def law(X: np.ndarray, Z: np.ndarray, group: np.ndarray, estimate: Estimate | Truth) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of y."""
    together = group[:, None] == group[None, :]
    return X @ estimate.beta, (Z @ estimate.Sigma @ Z.T) * together + estimate.sigma**2 * np.eye(len(X))


def divergence(p: tuple[np.ndarray, np.ndarray], q: tuple[np.ndarray, np.ndarray]) -> float:
    """Kullback-Leibler divergence KL(p || q) of normal laws, in nats."""
    (mean_p, V_p), (mean_q, V_q) = p, q
    L = np.linalg.cholesky(V_q)
    half = np.linalg.solve(L, np.column_stack([np.linalg.cholesky(V_p), mean_p - mean_q]))
    return float(
        0.5 * (np.sum(half**2) - len(L)) + np.sum(np.log(np.diag(L))) - np.sum(np.log(np.diag(np.linalg.cholesky(V_p))))
    )


def score(data: pd.DataFrame, truth: Truth, estimate: Estimate, individuals: int | None = None) -> dict[str, float]:
    """Root mean square error of beta, and divergences of the law of y.

    ``KL`` is that of the estimated law from the true one, KL(true || estimate); ``KL reversed`` the other way
    round. ``curves`` is the root mean square error of the curves of the first ``individuals`` over the range of time.
    """
    X, Z = maximum_likelihood.matrices(data)
    group = data["ind"].to_numpy()
    true, fitted = law(X, Z, group, truth), law(X, Z, group, estimate)
    found = {
        "RMSE": float(np.sqrt(np.mean((estimate.beta - truth.beta) ** 2))),
        "KL": np.inf if estimate.degenerate else divergence(true, fitted),
        "KL reversed": np.inf if estimate.degenerate else divergence(fitted, true),
        "singular": maximum_likelihood.is_singular(estimate.Sigma),
        "degenerate": estimate.degenerate,
    }
    if "t" in data:
        error = (curves(truth) - curves(estimate))[:individuals]
        found["curves"] = float(np.sqrt(np.mean(error**2)))
    return found


def curves(estimate: Estimate | Truth, times: np.ndarray | None = None) -> np.ndarray:
    """Every individual's polynomial, (individuals, times)."""
    times = np.linspace(-1.0, 1.0, 41) if times is None else times
    own = estimate.gamma
    if len(estimate.beta) == own.shape[1]:
        own = own + estimate.beta
    return own @ (times[:, None] ** np.arange(own.shape[1])).T


def _estimates(fit: pmlmm.Fit, kinds: tuple[str, ...]) -> dict[str, Estimate]:
    table = fit.hyperparameters["value"]
    b, lambda_ = float(table.get("b[ind]", np.nan)), float(table.get("lambda[common]", np.nan))
    found = {}
    for kind in kinds:
        values = getattr(fit, kind)
        Sigma, gamma = values["Sigma_ind"].to_numpy(), values["gamma_ind"].to_numpy()
        found[kind] = Estimate(values["beta"].to_numpy(), float(values["sigma"]), Sigma, gamma, b, lambda_)
    return found


def _likelihood(case: Case | Curves, data: pd.DataFrame, truth: Truth) -> dict[str, Estimate]:
    best = maximum_likelihood.of(data)
    gamma = maximum_likelihood.conditional_means(data, best)
    return {"mode": Estimate(best.beta, best.sigma, best.Sigma, gamma, degenerate=best.degenerate)}


def _oracle(case: Case | Curves, data: pd.DataFrame, truth: Truth) -> dict[str, Estimate]:
    """Told everything but the parameters: the hyperparameters that the truth was drawn with."""
    return _estimates(
        pmlmm.Model(truth.formula, data, case.informed, standardize=False).fit(integrate=False), ("mean",)
    )


def learned(structure: str = "diagonal", **options) -> Callable:
    """A method that learns the hyperparameters; ``options`` are those of ``Model.fit``."""

    def method(case: Case | Curves, data: pd.DataFrame, truth: Truth) -> dict[str, Estimate]:
        ridge = RIDGE if "~ 0" not in truth.formula else {"common": RIDGE["common"]}
        fit = pmlmm.Model(truth.formula, data, ridge | {"ind": pmlmm.InverseWishart(A=structure)}).fit(**options)
        return _estimates(fit, ("mean",) if isinstance(fit, pmlmm.IntegratedFit) else ("mean", "mode"))

    return method


def talk(structure: str) -> Callable:
    """Laplace over {beta, sigma, Sigma} in natural coordinates, plain EB."""
    return learned(structure, approximation="joint", hyperprior=None)


#: What structures and medians are varied around: right for the talk's data, too strong for others.
STRONG = pmlmm.Hyperprior(eta_median=7.0, eta_sd=1.0, pool_sd=0.5, pool_df=np.inf)
METHODS: dict[str, Callable] = {
    "ML": _likelihood,
    "talk, A identity": talk("identity"),
    "talk, A diagonal": talk("diagonal"),
    "plain EB, A identity": learned("identity", hyperprior=None),
    "plain EB": learned(hyperprior=None),
    "default": learned(),
    "plug-in": learned(integrate=False),
    "A identity": learned("identity"),
    "A free diagonal": learned(hyperprior=replace(STRONG, pool_sd=100.0)),
    **{f"A pooled, sd {sd:g}": learned(hyperprior=replace(STRONG, pool_sd=sd)) for sd in (0.5, 0.7, 1.0)},
    "A pooled at the mean square": learned(hyperprior=replace(STRONG, pool_at="mean square")),
    "A pooled at the mean square, sd 0.7": learned(hyperprior=replace(STRONG, pool_at="mean square", pool_sd=0.7)),
    "oracle": _oracle,
}


def run(case: Case | Curves, seed: int, methods: tuple[str, ...]) -> list[dict]:
    """Every method on one data set: a row for each kind of estimate, or one that says why there is none."""
    data, truth = case.simulate(seed)
    rows = []
    for name in methods:
        start = time.perf_counter()
        shared = vars(case) | {"seed": seed, "method": name}
        try:
            found = METHODS[name](case, data, truth)
        except ConvergenceError as error:
            rows.append(shared | {"kind": "refused", "why": str(error)})
            continue
        seconds = time.perf_counter() - start
        for kind, estimate in found.items():
            own = {"kind": kind, "b": estimate.b, "lambda": estimate.lambda_, "seconds": seconds}
            rows.append(shared | own | score(data, truth, estimate, case.scored))
    return rows


def fitted_by_all(rows: pd.DataFrame, keys: list[str]) -> tuple[pd.DataFrame, int]:
    """The estimates on the data sets (told apart by ``keys``) that no method refused, and how many are left out."""
    refused = rows["kind"].eq("refused").groupby([rows[key] for key in keys]).transform("any")
    left_out = len(rows.loc[refused, keys].drop_duplicates())
    return rows[~refused], left_out


def geometric_mean(ratios: pd.Series, seeds: pd.Series) -> tuple[float, float]:
    """Of all ratios, and its Monte Carlo error; seeds are the units: data sets of one seed share Sigma and beta."""
    by_seed = np.log(ratios).groupby(seeds).mean()
    centre = float(np.exp(np.log(ratios).mean()))
    return centre, centre * float(by_seed.std()) / np.sqrt(len(by_seed))
