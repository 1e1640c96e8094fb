"""The talk's singular fit: 10 individuals seen 10 times, cubic curves.

``python docs/studies/singular_fit.py`` prints one data set as lme4 would print it, and how often Sigma is singular over
the replicates. Where R with lme4 is installed, lmer fits the one data set too.
"""

import shutil
from collections.abc import Sequence

import maximum_likelihood
import methods
import numpy as np
import pandas as pd
import report
from methods import Curves
from parallel import replicate

CASE = Curves((10,) * 10)
METHODS = ("ML", "talk, A identity", "plain EB", "default", "oracle")
# Of other data of this kind, from the slides: standard deviations, correlations in the order of the table, sigma.
TALK = ((0.2999, 1.2829, 0.8992, 1.8525), (-1.00, -0.93, 0.95, 0.91, -0.94, -1.00), 0.9273)
EFFECTS = ("1", "t", "t2", "t3")


def one(case: Curves, seed: int) -> list[dict]:
    """All methods on one data set."""
    return methods.run(case, seed, METHODS)


def covariance(name: str, Sigma: np.ndarray, sigma: float) -> dict:
    """Standard deviations and correlations as a row of the table."""
    sd = np.sqrt(np.diag(Sigma))
    correlation = Sigma / np.outer(sd, sd)
    weakest = maximum_likelihood.smallest_to_largest_sd(Sigma)
    return entries(name, sd, [correlation[i, j] for i in range(1, 4) for j in range(i)], sigma, weakest)


def entries(name: str, sd: Sequence[float], correlations: Sequence[float], sigma: float, weakest: float) -> dict:
    """A row of the table; ``weakest`` is the sd along the direction where it is smallest, over the largest such sd."""
    pairs = [f"{EFFECTS[j]}, {EFFECTS[i]}" for i in range(1, 4) for j in range(i)]
    row = {"": name} | {f"sd {e}": s for e, s in zip(EFFECTS, sd, strict=True)}
    return row | dict(zip(pairs, correlations, strict=True)) | {"sigma": sigma, "smallest / largest": weakest}


def example(seed: int) -> pd.DataFrame:
    """One data set: the truth, and Sigma by every method."""
    data, truth = CASE.simulate(seed)
    rows = [entries("lmer, in the talk", *TALK, np.nan), covariance("truth", truth.Sigma, truth.sigma)]
    if shutil.which("Rscript"):
        theirs = maximum_likelihood.lmer(data, truth.formula)
        if not isinstance(theirs, str):
            rows.append(covariance("lmer", theirs.Sigma, theirs.sigma))
    for name, kind in (("ML", "mode"), ("default", "mean")):
        found = methods.METHODS[name](CASE, data, truth)[kind]
        rows.append(covariance(f"{name}, {kind}", found.Sigma, found.sigma))
    return pd.DataFrame(rows)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each method and kind of estimate, on the data sets that no method refuses."""
    found = []
    refused = rows[rows["kind"] == "refused"].groupby("method").size()
    rows, left_out = methods.fitted_by_all(rows, ["seed"])
    for (method, kind), part in rows.groupby(["method", "kind"], sort=False):
        found.append(
            {
                "method": method,
                "estimate": kind,
                "singular": part["singular"].mean(),
                "median b": part["b"].median(),
                "KL": part["KL"].median(),
                "RMSE of curves": part["curves"].median(),
                "refused": int(refused.get(method, 0)),
                "left out": left_out,
            }
        )
    return pd.DataFrame(found)


def main() -> None:
    """Run, print, write."""
    options = report.parser(__doc__, 30).parse_args()
    caption = (
        f"Cubic curves of 10 individuals seen 10 times (seed {options.seed}; the talk's line is of other such data): "
        "standard deviations, correlations, sigma, and the standard deviation along the direction where it is smallest "
        "over that where it is largest."
    )
    if not shutil.which("Rscript"):
        caption += " R is not installed here: no line of lmer's."
    report.save_table("singular_fit_example", example(options.seed), options, caption)
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(CASE, seed) for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    caption = (
        f"{options.replicates} such data sets (seeds from {options.seed}): share with a singular Sigma, medians of b, "
        "of KL(true law of y || estimated law) in nats, and of the error (root mean square) of the curves."
    )
    report.save_table("singular_fit", summarise(rows), options, caption)


if __name__ == "__main__":
    main()
