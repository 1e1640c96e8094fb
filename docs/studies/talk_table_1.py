"""The talk's first table: 40 individuals, 2 covariates, q = 4, E Sigma = I, seen 2, 3, 5 or 8 times.

``python docs/studies/talk_table_1.py`` prints two tables: the talk's numbers beside those of the talk's own method and
of the default; and all methods side by side, with the oracle, which is told the hyperparameters, as the limit.
``--effects polynomial`` has the powers of a time instead of independent normal columns for the random effects;
``--nu`` and ``--sigma`` are the other choices that the talk leaves open.
"""

import methods
import numpy as np
import pandas as pd
import report
from methods import Case
from parallel import replicate

REPEATS = (2, 3, 5, 8)
TALK = pd.DataFrame(
    {"RMSE": [0.97, 1.07, 1.02, 1.01], "KL": [2.26, 1.49, 1.20, 1.05], "b": [0.38, 0.34, 0.29, 0.29]}, index=REPEATS
)
METHODS = (
    "ML",
    "talk, A identity",
    "talk, A diagonal",
    "plain EB, A identity",
    "plain EB",
    "default",
    "plug-in",
    "oracle",
)
COLUMNS = {"talk's method": ("talk, A identity", "mode"), "default": ("default", "mean")}


def one(case: Case, seed: int) -> list[dict]:
    """All methods on one data set."""
    return methods.run(case, seed, METHODS)


def beside_the_talk(ratios: pd.DataFrame) -> pd.DataFrame:
    """Medians for every number of repeats, with the talk's."""
    found = pd.DataFrame({"repeats": [str(r) for r in REPEATS]})
    for column, title in (("RMSE", "RMSE of beta, over ML's"), ("KL", "KL: ML's over"), ("b", "b")):
        found[f"{title}: talk"] = TALK[column].to_numpy()
        for name, (method, kind) in COLUMNS.items():
            part = ratios[(ratios["method"] == method) & (ratios["kind"] == kind)]
            value = {"RMSE": "RMSE ratio", "KL": "KL ratio", "b": "b"}[column]
            found[f"{title}: {name}"] = part.groupby("repeats")[value].median().reindex(REPEATS).to_numpy()
    return found


def side_by_side(ratios: pd.DataFrame, refused: pd.Series) -> pd.DataFrame:
    """One row for each method and kind of estimate."""
    found = []
    for (method, kind), part in ratios.groupby(["method", "kind"], sort=False):
        row: dict = {"method": method, "estimate": kind}
        row |= {f"KL, {r}": part.loc[part["repeats"] == r, "KL ratio"].median() for r in REPEATS}
        row["KL / oracle"], row["± "] = over_the_oracle(part)
        row["RMSE / ML"], row["±"] = methods.geometric_mean(part["RMSE ratio"], part["seed"])
        row["b > .99"] = np.nan if part["b"].isna().all() else (part["b"] > 0.99).mean()
        row["singular"] = part["singular"].mean()
        row["degenerate"] = part["degenerate"].mean()
        row["refused"] = int(refused.get(method, 0))
        row["seconds"] = part["seconds"].median()
        found.append(row)
    return pd.DataFrame(found)


def over_the_oracle(part: pd.DataFrame) -> tuple[float, float]:
    """Sum of KL over the sum of the oracle's, and its error from resampling the seeds."""
    sums = part.groupby("seed")[["KL", "KL oracle"]].sum().to_numpy()
    total = sums.sum(axis=0)
    if not np.isfinite(total[0]) or len(sums) < 2:
        return total[0] / total[1], np.nan
    again = np.random.default_rng(0).integers(len(sums), size=(1000, len(sums)))
    resampled = sums[again].sum(axis=1)
    return total[0] / total[1], float(np.std(resampled[:, 0] / resampled[:, 1]))


def with_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Beside every estimate, how it compares with ML and with the oracle on the same data."""
    keys = ["repeats", "seed"]
    likelihood = rows[rows["method"] == "ML"].set_index(keys)[["RMSE", "KL"]].add_suffix(" ML")
    oracle = rows[rows["method"] == "oracle"].set_index(keys)[["KL"]].add_suffix(" oracle")
    rows = rows.join(likelihood, on=keys).join(oracle, on=keys)
    return rows.assign(**{"RMSE ratio": rows["RMSE"] / rows["RMSE ML"], "KL ratio": rows["KL ML"] / rows["KL"]})


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 30)
    parser.add_argument("--effects", choices=["gaussian", "polynomial"], default="gaussian")
    parser.add_argument("--nu", type=float, default=10.0, help="degrees of freedom of Sigma")
    parser.add_argument("--sigma", type=float, default=1.0, help="residual standard deviation")
    options = parser.parse_args()
    cases = [Case(r, options.effects, nu=options.nu, sigma=options.sigma) for r in REPEATS]
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(case, seed) for case in cases for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    refused = rows[rows["kind"] == "refused"].groupby("method").size()
    fitted, left_out = methods.fitted_by_all(rows, ["repeats", "seed"])
    ratios = with_ratios(fitted)
    setting = (
        f"{options.replicates} data sets for each number of repeats (seeds from {options.seed}), {options.effects} Z, "
        f"nu = {options.nu:g}, sigma = {options.sigma:g}; {left_out} data sets that some method refuses are left out"
    )
    name = f"talk_table_1_{options.effects}"
    caption = f"Medians of {setting}. KL is KL(true law of y || estimated law)."
    report.save_table(name, beside_the_talk(ratios), options, caption)
    caption = (
        f"{setting}. KL, r: median of ML's KL over this method's with r repeats. KL / oracle: ratio of the sums over "
        "all data sets. RMSE / ML: geometric mean. Both with their Monte Carlo errors, seeds as the units. degenerate: "
        "no maximum of the likelihood with a positive sigma was found; KL is then infinite."
    )
    report.save_table(f"{name}_methods", side_by_side(ratios, refused), options, caption)


if __name__ == "__main__":
    main()
