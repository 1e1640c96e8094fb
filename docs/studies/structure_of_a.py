"""Which structure of the scale A serves best by default: identity, free diagonal, or a pooled diagonal?

Data as in the talk's first table, with E Sigma = I and with standard deviations 2, 1, 1, 0.5; random-effect columns
that are independent, and powers of a time. Every structure is scored by KL(true || estimate) of the law of y at the
posterior mean, against the oracle, which is told the hyperparameters: 1 is the limit for any empirical Bayes.
``python docs/studies/structure_of_a.py`` takes half an hour on two cores.
"""

import methods
import numpy as np
import pandas as pd
import report
from methods import Case
from parallel import replicate

STRUCTURES = {
    "A identity": "identity",
    "A pooled, sd 0.35": "pooled, sd 0.35",
    "default": "pooled, sd 0.7",
    "A free diagonal": "free diagonal",
}
SCALES = {"equal": None, "2, 1, 1, 0.5": (2.0, 1.0, 1.0, 0.5)}


def one(case: Case, seed: int) -> list[dict]:
    """All structures and the oracle on one data set."""
    return methods.run(case, seed, ("oracle", *STRUCTURES))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Sum of KL over the sum of the oracle's, by design, scales and structure; and the median of the ratios."""
    rows = rows[rows["kind"].isin(["mean", "refused"])]
    keys = ["effects", "scales", "repeats", "seed"]
    wide = rows.pivot(index=keys, columns="method", values="KL")
    refused = rows[rows["kind"] == "refused"].groupby(["effects", "scales", "method"]).size()
    wide = wide.dropna()
    found = []
    for (effects, scales), part in wide.groupby(["effects", "scales"], sort=False):
        for method, name in STRUCTURES.items():
            total = part[method].sum() / part["oracle"].sum()
            ratio = part[method] / part["oracle"]
            gain = ratio / (part["default"] / part["oracle"])
            found.append(
                {
                    "Z": effects,
                    "scales": scales,
                    "A": name,
                    "total": total,
                    "median": ratio.median(),
                    "90%": ratio.quantile(0.9),
                    "to the default": np.exp(np.log(gain).mean()),
                    "± error": np.exp(np.log(gain).mean()) * np.log(gain).std() / np.sqrt(len(gain)),
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
        "KL over the oracle's for four structures of A, posterior means, 40 individuals with 2, 3, 5 or 8 "
        f"repeats, {options.replicates} data sets each (seeds from {options.seed}): over the totals, median and 90% "
        "quantile over data sets, and the geometric mean of the ratio to the default with its Monte Carlo error."
    )
    report.save_table("structure_of_a", summarise(rows), options, caption)


if __name__ == "__main__":
    main()
