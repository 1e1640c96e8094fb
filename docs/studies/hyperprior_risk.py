"""Which hyperprior loses least where it suits least?

``python docs/studies/hyperprior_risk.py`` fits simulated data of fourteen settings, hyperparameters integrated out and
fixed effects flat (but in the talk's settings, which have its ridge), and scores every candidate's posterior mean of
(sigma, Sigma) by the log of KL(true law of y || estimated law), fixed effects apart. A candidate's regret in a setting
is its mean log KL less the least of all candidates there; its risk is the largest regret. The second table has the
shares of 95% intervals that hold the truth. Each data set is fitted once, under a hyperprior between the candidates,
and its draws are weighed by the ratio of the hyperpriors.

``--settings "8 x 3, sd .7;crossed 12 x 15"`` and ``--candidates "1,2,1.5,1;1.5,2,1.5,1"`` run these only; what has been
computed is kept, so the study may be run in pieces, and once more for the tables of all. A candidate is pool_sd,
eta_median, eta_sd, pool_df, and others by name: "1.5,2,1.5,inf,level=1". It takes about half an hour on one core.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd
import report
import xarray as xr
from methods import divergence
from parallel import replicate

import pmlmm
from pmlmm.errors import ConvergenceError

NAMES = ("pool_sd", "eta_median", "eta_sd", "pool_df")
CANDIDATES = (
    "0.5,7,1,inf",
    "0.7,3,1.2,inf",
    "1,7,1,inf",
    "1,2,1.5,inf",
    "1.5,2,1.5,inf",
    "1.5,4,1.5,inf",
    "2,4,1.5,inf",
    "0.7,3,1.5,0.5",
    "1,3,1.5,0.5",
    "0.7,2,1.5,1",
    "1,3,1.5,1",
    "1.3,2,1.5,1",
    "1.3,3,1.5,1",
    "1.3,4,1.5,1",
    "1.5,3,1.5,1",
    "1,3,1.5,2",
)
BETWEEN = "1.3,3,1.5,1"
# Of each of 4 chains.
DRAWS = 1000
CONSTANT = {"Intercept": pmlmm.Flat()}
FLAT = CONSTANT | {"common": pmlmm.Flat()}


@dataclass(frozen=True)
class Truth:
    """What made the data: sigma, and for each term its Sigma (q, q), its columns Z (n, q) and the group of each row."""

    sigma: float
    Sigma: dict[str, np.ndarray]
    Z: dict[str, np.ndarray]
    group: dict[str, np.ndarray]

    def law(self, sigma: float, Sigma: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Mean 0 and covariance of y, were these the parameters."""
        n = len(next(iter(self.group.values())))
        V = sigma**2 * np.eye(n)
        for name, Z in self.Z.items():
            V += (Z @ Sigma[name] @ Z.T) * np.equal.outer(self.group[name], self.group[name])
        return np.zeros(n), V


@dataclass(frozen=True)
class Setting:
    """A model, and how its data come about from a seed."""

    formula: str
    priors: dict
    simulate: Callable[[int], tuple[pd.DataFrame, Truth]]


def _respond(table: pd.DataFrame, truth: Truth, rng: np.random.Generator) -> tuple[pd.DataFrame, Truth]:
    y = truth.sigma * rng.normal(size=len(table))
    for name, Z in truth.Z.items():
        codes = truth.group[name]
        root = np.linalg.eigh(truth.Sigma[name])
        gamma = rng.normal(size=(codes.max() + 1, Z.shape[1])) * np.sqrt(np.maximum(root[0], 0.0)) @ root[1].T
        y += np.sum(Z * gamma[codes], axis=1)
    return table.assign(y=y), truth


def lines(groups: int, rows: int, sds: tuple[float, float], correlation: float, sigma: float) -> Callable:
    """Straight lines over t = 0, 1, ...: intercepts and slopes with these sds."""

    def simulate(seed: int) -> tuple[pd.DataFrame, Truth]:
        rng = np.random.default_rng([seed, groups, rows, 2])
        g, t = np.repeat(np.arange(groups), rows), np.tile(np.arange(float(rows)), groups)
        Sigma = np.outer(sds, sds) * np.array([[1.0, correlation], [correlation, 1.0]])
        truth = Truth(sigma, {"g": Sigma}, {"g": np.column_stack([np.ones_like(t), t])}, {"g": g})
        return _respond(pd.DataFrame({"g": g, "t": t}), truth, rng)

    return simulate


def ages(centre: float) -> Callable:
    """25 subjects of 20 to 80 years seen over four years; sds 1.5 at the age of 50 and .2 a year, sigma 1.

    ``centre`` is what the column ``t`` has been centred at.
    """

    def simulate(seed: int) -> tuple[pd.DataFrame, Truth]:
        rng = np.random.default_rng([seed, 25, 5, 50])
        g = np.repeat(np.arange(25), 5)
        age = rng.uniform(20.0, 76.0, 25)[g] + np.tile(np.arange(5.0), 25)
        to_zero = np.array([[1.0, centre - 50.0], [0.0, 1.0]])  # intercept and slope at 50 to those at t = 0
        Sigma = to_zero @ np.diag([1.5**2, 0.2**2]) @ to_zero.T
        t = age - centre
        truth = Truth(1.0, {"g": Sigma}, {"g": np.column_stack([np.ones_like(t), t])}, {"g": g})
        return _respond(pd.DataFrame({"g": g, "t": t}), truth, rng)

    return simulate


def small(sd: float) -> Callable:
    """8 groups of 3 rows, sigma 1."""

    def simulate(seed: int) -> tuple[pd.DataFrame, Truth]:
        rng = np.random.default_rng([seed, 8, 3, 1])
        g = np.repeat(np.arange(8), 3)
        return _respond(
            pd.DataFrame({"g": g}), Truth(1.0, {"g": np.array([[sd**2]])}, {"g": np.ones((24, 1))}, {"g": g}), rng
        )

    return simulate


def crossed(seed: int) -> tuple[pd.DataFrame, Truth]:
    """12 x 15 with one row a cell, sds .7 and .4, sigma 1."""
    rng = np.random.default_rng([seed, 12, 15])
    a, b = np.repeat(np.arange(12), 15), np.tile(np.arange(15), 12)
    Sigma = {"a": np.array([[0.49]]), "b": np.array([[0.16]])}
    return _respond(
        pd.DataFrame({"a": a, "b": b}), Truth(1.0, Sigma, dict.fromkeys("ab", np.ones((180, 1))), {"a": a, "b": b}), rng
    )


def talk(repeats: int, scales: tuple[float, ...] | None = None) -> Callable:
    """The talk's: 40 individuals, q = 4, Sigma ~ IW(10) with mean I, or the squares of ``scales`` on its diagonal."""

    def simulate(seed: int) -> tuple[pd.DataFrame, Truth]:
        mean = None if scales is None else np.diag(np.square(scales))
        table, true = pmlmm.simulate.longitudinal([repeats] * 40, q=4, covariates=2, nu=10.0, mean=mean, seed=seed)
        Z = table[[f"z{k}" for k in range(1, 5)]].to_numpy()
        return table, Truth(true.sigma, {"ind": true.Sigma}, {"ind": Z}, {"ind": table["ind"].to_numpy()})

    return simulate


LINES = "y ~ t + (t | g)"
TALK = "y ~ 0 + x1 + x2 + (0 + z1 + z2 + z3 + z4 | ind)", {"common": pmlmm.Ridge()}
SETTINGS = {
    "talk, 2 repeats": Setting(*TALK, talk(2)),
    "talk, 5 repeats": Setting(*TALK, talk(5)),
    "talk, 5 repeats, scales 2, 1, .5, .25": Setting(*TALK, talk(5, (2.0, 1.0, 0.5, 0.25))),
    "18 x 10, correlation 0": Setting(LINES, FLAT, lines(18, 10, (25.0, 6.0), 0.0, 25.0)),
    "18 x 10, correlation .3": Setting(LINES, FLAT, lines(18, 10, (25.0, 6.0), 0.3, 25.0)),
    "18 x 10, correlation .8": Setting(LINES, FLAT, lines(18, 10, (25.0, 6.0), 0.8, 25.0)),
    "18 x 10, slope sd 0": Setting(LINES, FLAT, lines(18, 10, (25.0, 0.0), 0.0, 25.0)),
    "18 x 10, sds 4 and .2": Setting(LINES, FLAT, lines(18, 10, (4.0, 0.2), 0.0, 1.0)),
    "8 x 3, sd .7": Setting("y ~ 1 + (1 | g)", CONSTANT, small(0.7)),
    "8 x 3, sd .2": Setting("y ~ 1 + (1 | g)", CONSTANT, small(0.2)),
    "8 x 3, sd 0": Setting("y ~ 1 + (1 | g)", CONSTANT, small(0.0)),
    "crossed 12 x 15": Setting("y ~ 1 + (1 | a) + (1 | b)", CONSTANT, crossed),
    "ages, centred": Setting(LINES, FLAT, ages(50.0)),
    "ages, raw": Setting(LINES, FLAT, ages(0.0)),
}


def hyperprior(candidate: str) -> pmlmm.Hyperprior:
    """From the words for it."""
    parts = candidate.split(",")
    given = [part.split("=") if "=" in part else (name, part) for name, part in zip_longest(NAMES, parts) if part]
    return pmlmm.Hyperprior(**{name: float(value) for name, value in given})


def one(name: str, seed: int, candidates: tuple[str, ...]) -> list[dict]:
    """Every candidate on one data set: draws under ``BETWEEN``, weighed by the ratio of the hyperpriors."""
    setting = SETTINGS[name]
    table, truth = setting.simulate(seed)
    model = pmlmm.Model(setting.formula, table, setting.priors)
    try:
        fit = model.fit(hyperprior=hyperprior(BETWEEN)).integrate()
    except ConvergenceError:
        return []
    draws = (
        fit.draw_posterior(DRAWS, gamma=False)["posterior"].to_dataset().stack(s=("chain", "draw")).transpose("s", ...)
    )
    base, rows = log_prior(model, BETWEEN, draws), []
    for candidate in candidates:
        ratio = log_prior(model, candidate, draws) - base
        weights = np.exp(ratio - ratio.max())
        weights /= weights.sum()
        rows.append({"setting": name, "candidate": candidate, "seed": seed} | score(draws, weights, truth))
    return rows


def log_prior(model: pmlmm.Model, candidate: str, draws: xr.Dataset) -> np.ndarray:
    """Log-density of a hyperprior at draws of the hyperparameters."""
    space = model._space(hyperprior(candidate))
    columns = []
    for c in space.coordinates:
        values = draws[c.variable].to_numpy()
        columns.append(c.searched(values if c.entry is None else values.reshape(len(values), -1)[:, c.entry]))
    nodes, node = np.unique(np.column_stack(columns), axis=0, return_inverse=True)
    return np.array([space.log_prior(phi)[0] for phi in nodes])[node.ravel()]


def score(draws: xr.Dataset, weights: np.ndarray, truth: Truth) -> dict[str, float]:
    """log KL, shares of intervals that hold the truth (nan where there is nothing to hold), and effective draws."""
    Sigmas = {name: draws[f"Sigma_{name}"].to_numpy() for name in truth.Sigma}
    estimate = {name: np.tensordot(weights, drawn, 1) for name, drawn in Sigmas.items()}
    sigma = float(weights @ draws["sigma"].to_numpy())
    kl = divergence(truth.law(truth.sigma, truth.Sigma), truth.law(sigma, estimate))
    found = [held(Sigma, Sigmas[name], weights, truth.sigma) for name, Sigma in truth.Sigma.items()]
    shares = {key: [x for part in found for x in part[key]] for key in found[0]}
    row = {"log KL": np.log(kl), "effective": 1.0 / np.sum(weights**2)}
    return row | {key: np.mean(values) if values else np.nan for key, values in shares.items()}


def held(Sigma: np.ndarray, draws: np.ndarray, weights: np.ndarray, sigma: float) -> dict[str, list[bool]]:
    """Whether the interval of each sd and correlation holds it; for sds of 0, whether it begins below .1 sigma."""
    sd, drawn = np.sqrt(np.diag(Sigma)), np.sqrt(np.diagonal(draws, axis1=1, axis2=2))
    low, high = interval(drawn, weights)
    i, j = np.tril_indices(len(sd), -1)
    i, j = i[sd[i] * sd[j] > 0.0], j[sd[i] * sd[j] > 0.0]
    ends = interval(draws[:, i, j] / drawn[:, i] / drawn[:, j], weights)
    true = Sigma[i, j] / (sd[i] * sd[j])
    return {
        "sds": list(((low <= sd) & (sd <= high))[sd > 0.0]),
        "correlations": list((ends[0] <= true) & (true <= ends[1])),
        "zeros": list(low[sd == 0.0] < 0.1 * sigma),
    }


def interval(draws: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ends of the 95% interval of each column, (2, columns)."""
    columns = [np.quantile(x, [0.025, 0.975], weights=weights, method="inverted_cdf") for x in draws.T]
    return np.array(columns).reshape(-1, 2).T


def regrets(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean log KL less the least in the setting, with the error of the difference from the best; the largest last."""
    wide = rows.pivot_table(index=["setting", "seed"], columns="candidate", values="log KL", sort=False).dropna()
    means = wide.groupby(level=0, sort=False).mean()
    table = means.sub(means.min(axis=1), axis=0)
    sets = wide.groupby(level=0, sort=False).size()
    best = pd.Series({name: means.loc[name].idxmin() for name in means.index})
    errors = [
        (part.sub(part[best[name]], axis=0).std() / np.sqrt(len(part))).max()
        for name, part in wide.groupby(level=0, sort=False)
    ]
    table.loc["largest"] = table.max()
    table["± at most"] = [*errors, np.nan]
    table["data sets"] = [*sets, np.nan]
    return table


def coverage(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of 95% intervals that hold the truth, by setting and candidate."""
    what = ["sds", "correlations", "zeros"]
    wide = rows.groupby(["setting", "candidate"], sort=False)[what].mean().unstack("candidate")
    parts = [wide[key].assign(of=key).set_index("of", append=True) for key in what]
    return pd.concat(parts).dropna(how="all")


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 100)
    parser.add_argument("--settings", help="only these, by name, separated by ';'")
    parser.add_argument("--candidates", help="only these, separated by ';'")
    options = parser.parse_args()
    names = options.settings.split(";") if options.settings else list(SETTINGS)
    candidates = options.candidates.split(";") if options.candidates else CANDIDATES
    seeds = range(options.seed, options.seed + options.replicates)
    tasks = [(name, seed, tuple(candidates)) for seed in seeds for name in names]
    rows = pd.DataFrame([row for rows in replicate(one, tasks, fresh=options.fresh) for row in rows])
    caption = (
        "Regret: mean log KL(true law of y, estimated law) of the posterior mean of (sigma, Sigma), hyperparameters "
        "integrated out, less that of the best candidate of the setting; candidates are pool_sd, eta_median, eta_sd, "
        f"pool_df. Data sets (seeds from {options.seed}); the largest Monte Carlo error of a difference from the best."
    )
    report.save_table("hyperprior_risk", regrets(rows).reset_index(), options, caption)
    effective = rows.groupby("candidate", sort=False)["effective"].median()
    print(f"Effective draws of {4 * DRAWS}, median: {effective.round().to_dict()}")
    caption = (
        "Shares of 95% intervals that hold the truth; for standard deviations of 0, of intervals that begin below a "
        "tenth of sigma."
    )
    report.save_table("hyperprior_risk_coverage", coverage(rows).reset_index(), options, caption)


if __name__ == "__main__":
    main()
