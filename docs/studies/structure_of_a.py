"""Which structure of the scale A serves best: identity, free diagonal, or a diagonal pooled how?

Data as in the talk's first table, with E Sigma = I and with standard deviations 2, 1, 1, 0.5; random-effect columns
that are independent, and powers of a time. Every structure is scored by KL(true || estimate) of the law of y at the
posterior mean, against the oracle, which is told the hyperparameters: 1 is the limit for any empirical Bayes.
``python docs/studies/structure_of_a.py`` takes a quarter of an hour on two cores.
"""

import methods
import pandas as pd
import report
from methods import Case
from parallel import replicate

STRUCTURES = {
    "A identity": "identity",
    "A pooled, sd 0.5": "pooled, sd 0.5",
    "A pooled, sd 0.7": "pooled, sd 0.7",
    "A pooled, sd 1": "pooled, sd 1",
    "A pooled at the mean square": "at the mean square, sd 0.5",
    "A pooled at the mean square, sd 0.7": "at the mean square, sd 0.7",
    "A free diagonal": "free diagonal",
    "default": "default",
}
SCALES = {"equal": None, "2, 1, 1, 0.5": (2.0, 1.0, 1.0, 0.5)}


def one(case: Case, seed: int) -> list[dict]:
    """All structures and the oracle on one data set."""
    return methods.run(case, seed, ("oracle", *STRUCTURES))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Sum of KL over the sum of the oracle's, by design, scales and structure; and the median of the ratios."""
    keys = ["effects", "scales", "repeats", "seed"]
    refused = rows[rows["kind"] == "refused"].groupby(["effects", "scales", "method"]).size()
    rows, _ = methods.fitted_by_all(rows, keys)
    wide = rows[rows["kind"] == "mean"].pivot(index=keys, columns="method", values="KL")
    found = []
    for (effects, scales), part in wide.groupby(["effects", "scales"], sort=False):
        for method, name in STRUCTURES.items():
            total = part[method].sum() / part["oracle"].sum()
            ratio = part[method] / part["oracle"]
            gain, error = methods.geometric_mean(
                part[method] / part["A pooled, sd 0.5"], part.index.get_level_values("seed")
            )
            found.append(
                {
                    "Z": effects,
                    "scales": scales,
                    "A": name,
                    "total": total,
                    "median": ratio.median(),
                    "90%": ratio.quantile(0.9),
                    "to sd 0.5": gain,
                    "± error": error,
                    "refused": int(refused.get((effects, scales, method), 0)),
                }
            )
    return pd.DataFrame(found)


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 30)
    parser.add_argument("--small", action="store_true", help="5 repeats only")
    options = parser.parse_args()
    repeats = (5,) if options.small else (2, 3, 5, 8)
    cases = [Case(r, e, scales=s) for s in SCALES.values() for e in ("gaussian", "polynomial") for r in repeats]
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(case, seed) for case in cases for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    rows["scales"] = rows["scales"].map({v: k for k, v in SCALES.items()}).fillna("equal")
    caption = (
        f"KL over the oracle's by structure of A, posterior means, 40 individuals with {', '.join(map(str, repeats))} "
        f"repeats, {options.replicates} data sets each (seeds from {options.seed}), less those that some method "
        "refuses: over the totals, median and 90% quantile over data sets, and the geometric mean of the ratio to "
        '"pooled, sd 0.5" with its Monte Carlo error, seeds as the units. All but the default have a median of 7 for '
        "eta - q + 1."
    )
    report.save_table("structure_of_a", summarise(rows), options, caption)


if __name__ == "__main__":
    main()
