"""How many degrees of freedom should the hyperprior expect of Sigma?

``python docs/studies/eta_median.py`` draws Sigma with nu = 6, 10 and 20 degrees of freedom, the rest as in the talk's
first table with 2 and 5 repeats, and scores medians of eta - q + 1 (A pooled with sd 0.5) by KL(true || estimate) at
the posterior mean, over the oracle's. It takes four minutes on two cores.
"""

import methods
import pandas as pd
import report
from methods import Case
from parallel import replicate

METHODS = {"eta median 3.5": "3.5", "eta median 7": "7", "eta median 10.7": "10.7", "eta median 14": "14"}


def one(case: Case, seed: int) -> list[dict]:
    """All medians and the oracle on one data set."""
    return methods.run(case, seed, ("oracle", *METHODS))


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Sum of KL over the sum of the oracle's, and geometric means of ratios to that of 7."""
    keys = ["effects", "nu", "repeats", "seed"]
    rows, _ = methods.fitted_by_all(rows, keys)
    wide = rows[rows["kind"] == "mean"].pivot(index=keys, columns="method", values="KL")
    found = []
    for (effects, nu), part in wide.groupby(["effects", "nu"], sort=False):
        row = {"Z": effects, "nu": f"{nu:g}", "true eta - q + 1": f"{nu - 3:g}"}
        row |= {f"KL / oracle, median {m}": part[name].sum() / part["oracle"].sum() for name, m in METHODS.items()}
        seeds = part.index.get_level_values("seed")
        for name, m in METHODS.items():
            if m != "7":
                row[f"{m} to 7"], row[f"± {m}"] = methods.geometric_mean(part[name] / part["eta median 7"], seeds)
        found.append(row)
    return pd.DataFrame(found)


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 15)
    parser.add_argument("--small", action="store_true", help="nu = 10 and 5 repeats only")
    options = parser.parse_args()
    nus, repeats = ((10.0,), (5,)) if options.small else ((6.0, 10.0, 20.0), (2, 5))
    cases = [Case(r, e, nu=nu) for e in ("gaussian", "polynomial") for nu in nus for r in repeats]
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(case, seed) for case in cases for seed in seeds], fresh=options.fresh)
    caption = (
        f"40 individuals with {' or '.join(map(str, repeats))} repeats, q = 4, {options.replicates} data sets each "
        f"(seeds from {options.seed}): KL over the oracle's by the median that the hyperprior has for eta - q + 1, and "
        "geometric means of the ratio to 7 with Monte Carlo errors."
    )
    table = summarise(pd.DataFrame([row for part in results for row in part]))
    report.save_table("eta_median", table, options, caption)


if __name__ == "__main__":
    main()
