"""At which value of a covariate should intercept and slope be uncorrelated: at its zero, or at its mean?

30 groups with 6 rows each; times have standard deviation 1 within groups and mean k, and the groups were seen at the
same times or at times of their own (their means have standard deviation 5). The truth is uncorrelated at zero,
uncorrelated at the mean, or has correlation .3 there. Scored by KL(true || estimate) of the law of a group's y at the
posterior mean. Then ages 20 to 80 with each subject seen over four years: are the subjects' slopes and their spread
covered?
``python docs/studies/origin_of_a.py`` takes about half an hour on one core.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import report
from methods import divergence
from parallel import replicate

import pmlmm
from pmlmm.errors import ConvergenceError

DISTANCES = (2, 5, 10, 20, 40)
SPREADS = (0.0, 5.0)
# name of the truth: (origin is the mean, correlation there)
TRUTHS = {"at zero": (False, 0.0), "at the mean": (True, 0.0), ".3 at the mean": (True, 0.3)}
SDS, SIGMA = np.array([1.0, 0.5]), 1.0
GROUPS, ROWS = 30, 6
ORIGINS = ("zero", "mean")


@dataclass(frozen=True)
class Case:
    """One setting: how far zero is, how much the groups' times differ, and what holds in truth."""

    k: int
    spread: float
    truth: str

    def simulate(self, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
        """Data, and the covariance of intercept and slope at zero (2, 2)."""
        rng = np.random.default_rng([seed, self.k, int(self.spread)])
        inside = np.linspace(-1.0, 1.0, ROWS)
        inside /= np.sqrt(np.sum(inside**2) / (ROWS - 1))
        centres = self.k + self.spread * rng.normal(size=GROUPS)
        centres += self.k - centres.mean()
        at_mean, rho = TRUTHS[self.truth]
        Sigma = np.outer(SDS, SDS) * np.array([[1.0, rho], [rho, 1.0]])
        if at_mean:
            back = np.array([[1.0, -self.k], [0.0, 1.0]])
            Sigma = back @ Sigma @ back.T
        g, t = np.repeat(np.arange(GROUPS), ROWS), (centres[:, None] + inside).ravel()
        gamma = rng.normal(size=(GROUPS, 2)) @ np.linalg.cholesky(Sigma).T
        y = 2.0 + 0.3 * (t - self.k) + gamma[g, 0] + gamma[g, 1] * t + SIGMA * rng.normal(size=len(t))
        return pd.DataFrame({"g": g, "t": t, "y": y}), Sigma


def one(case: Case, seed: int) -> list[dict]:
    """Both origins on one data set, and the one with more evidence."""
    data, Sigma = case.simulate(seed)
    rows = []
    for origin in ORIGINS:
        model = pmlmm.Model("y ~ t + (t | g)", data, {"g": pmlmm.InverseWishart(origin=origin)})
        shared = vars(case) | {"seed": seed, "origin": origin}
        try:
            fit = model.fit()
        except ConvergenceError:
            rows.append(shared | {"KL": np.nan, "evidence": -np.inf})
            continue
        rows.append(shared | {"KL": divergence_by_group(data, case.k, Sigma, fit), "evidence": fit.log_evidence})
    best = max(rows, key=lambda row: row["evidence"])
    return [*rows, best | {"origin": "by evidence"}]


def divergence_by_group(data: pd.DataFrame, k: int, Sigma: np.ndarray, fit: pmlmm.Fit) -> float:
    """KL(true || estimate) of the law of a group's y, averaged over the groups."""
    mean, total = fit.mean, 0.0
    for _, part in data.groupby("g"):
        t = part["t"].to_numpy()
        Z = np.column_stack([np.ones(ROWS), t])
        true = 2.0 + 0.3 * (t - k), Z @ Sigma @ Z.T + SIGMA**2 * np.eye(ROWS)
        fitted = Z @ mean["beta"].to_numpy(), Z @ mean["Sigma_g"].to_numpy() @ Z.T
        total += divergence(true, (fitted[0], fitted[1] + float(mean["sigma"]) ** 2 * np.eye(ROWS)))
    return total / GROUPS


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean of log KL at the mean, and by evidence, less that at zero, over the data sets that both fit."""
    found = []
    for keys, part in rows.groupby(["spread", "truth", "k"], sort=False):
        wide = np.log(part.pivot(index="seed", columns="origin", values="KL"))
        entry = dict(zip(["spread", "uncorrelated", "k"], keys, strict=True))
        for name in ("mean", "by evidence"):
            gain = (wide[name] - wide["zero"]).dropna()
            entry |= {name: gain.mean(), f"± {name}": gain.std() / np.sqrt(len(gain))}
        found.append(entry | {"refused at zero": int(wide["zero"].isna().sum())})
    return pd.DataFrame(found)


def ages(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """30 subjects aged 20 to 80, seen 6 times within four years, sds 5 and .2 at age 50; and their slopes (30,)."""
    rng = np.random.default_rng([seed, 80])
    id_, age = np.repeat(np.arange(30), 6), (rng.uniform(20.0, 76.0, 30)[:, None] + np.linspace(0.0, 4.0, 6)).ravel()
    gamma = rng.normal(size=(30, 2)) * [5.0, 0.2]
    y = 40.0 + (0.1 + gamma[id_, 1]) * (age - 50.0) + gamma[id_, 0] + rng.normal(size=180)
    return pd.DataFrame({"id": id_, "age": age, "y": y}), 0.1 + gamma[:, 1]


def covered(seed: int, origin: str, integrate: bool) -> dict:
    """Shares of 95% intervals that hold the truth, and the estimate of the slopes' sd."""
    data, slopes = ages(seed)
    fit = pmlmm.Model("y ~ age + (age | id)", data, {"id": pmlmm.InverseWishart(origin=origin)}).fit()
    result = {"origin": origin, "intervals": "integrated" if integrate else "plug-in"}
    try:
        fit = fit.integrate() if integrate else fit
    except ConvergenceError:
        return result | {"refused": True}
    draws = fit.posterior["posterior"]
    sds = np.sqrt(draws["Sigma_id"].to_numpy()[..., 1, 1]).ravel()
    common = draws["beta"].sel(coefficient="age").to_numpy().reshape(-1, 1)
    own = common + draws["gamma_id"].sel(id_effect="age").to_numpy().reshape(-1, 30)
    low, high = np.quantile(own, [0.025, 0.975], axis=0)
    ends = np.quantile(sds, [0.025, 0.975])
    return result | {
        "refused": False,
        "slope sd": float(np.median(sds)),
        "sd covered": float(ends[0] <= 0.2 <= ends[1]),
        "slopes covered": float(np.mean((low <= slopes) & (slopes <= high))),
        "k-hat above .7": float(fit.k_hat > 0.7),
    }


def main() -> None:
    """Run, print, write."""
    options = report.parser(__doc__, 100).parse_args()
    seeds = range(options.seed, options.seed + options.replicates)
    cases = [Case(k, spread, truth) for spread in SPREADS for truth in TRUTHS for k in DISTANCES]
    results = replicate(one, [(case, seed) for case in cases for seed in seeds], fresh=options.fresh)
    caption = (
        "log KL of the law of a group's y with A diagonal at the mean of t, or where the evidence is larger, less that "
        f"with A diagonal at zero (negative: better), {options.replicates} data sets each (seeds from {options.seed}); "
        "t has sd 1 within groups and mean k."
    )
    report.save_table("origin_of_a", summarise(pd.DataFrame([r for part in results for r in part])), options, caption)
    tasks = [(seed, origin, how) for origin in ("zero", "auto") for how in (False, True) for seed in seeds]
    table = pd.DataFrame(replicate(covered, tasks, fresh=options.fresh))
    table = table.groupby(["origin", "intervals"], sort=False).mean().reset_index()
    caption = (
        f"Ages 20 to 80, each of 30 subjects over four years, {options.replicates} data sets (seeds from "
        f"{options.seed}): coverage of 95% intervals, and the mean of the slopes' estimated sd (true: .2)."
    )
    report.save_table("origin_of_a_ages", table, options, caption)


if __name__ == "__main__":
    main()
