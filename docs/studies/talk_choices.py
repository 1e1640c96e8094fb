"""Which of the choices that the talk leaves open reproduce its first table?

``python docs/studies/talk_choices.py`` runs the talk's method (joint evidence, natural coordinates, no hyperprior,
estimates at the mode) and maximum likelihood for other degrees of freedom nu, residual standard deviations and random-
effect designs, with A = a I and A diagonal, and both directions of the Kullback-Leibler divergence. The last column is
how far the four ratios of KL are from the talk's: the root mean square of the log of their quotient.
"""

import methods
import numpy as np
import pandas as pd
import report
from methods import Case
from parallel import replicate
from talk_table_1 import REPEATS, TALK

METHODS = ("ML", "talk, A identity", "talk, A diagonal")
CHOICES = [("gaussian", 10.0, 1.0), ("gaussian", 6.0, 1.0), ("gaussian", 20.0, 1.0), ("gaussian", 10.0, 0.316)]
CHOICES += [("polynomial", 10.0, 1.0), ("polynomial", 10.0, 0.316)]


def one(case: Case, seed: int) -> list[dict]:
    """The talk's method and ML on one data set."""
    return methods.run(case, seed, METHODS)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each choice, structure and direction."""
    rows = rows[rows["kind"] == "mode"]
    keys = ["effects", "nu", "sigma", "repeats", "seed"]
    likelihood = rows[rows["method"] == "ML"].set_index(keys)[["KL", "KL reversed"]].add_suffix(" of ML")
    rows = rows[rows["method"] != "ML"].join(likelihood, on=keys)
    found = []
    for (effects, nu, sigma, method), part in rows.groupby(["effects", "nu", "sigma", "method"], sort=False):
        for direction, name in (("KL", "true, est."), ("KL reversed", "est., true")):
            ratios = part[f"{direction} of ML"] / part[direction]
            ratios = ratios.groupby(part["repeats"]).median().reindex(REPEATS)
            row = {"Z": effects, "nu": nu, "sigma": sigma, "A": method.split()[-1], "KL of": name}
            row |= {f"KL, {r}": ratios[r] for r in REPEATS}
            row |= {f"b, {r}": part.loc[part["repeats"] == r, "b"].median() for r in REPEATS}
            distance = np.log(ratios.to_numpy() / TALK["KL"].to_numpy())
            found.append(row | {"from the talk": np.sqrt(np.mean(distance**2))})
    return pd.DataFrame(found)


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 20)
    parser.add_argument("--small", action="store_true", help="the first choice only")
    options = parser.parse_args()
    choices = CHOICES[:1] if options.small else CHOICES
    cases = [Case(r, effects, nu=nu, sigma=sigma) for effects, nu, sigma in choices for r in REPEATS]
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(case, seed) for case in cases for seed in seeds], fresh=options.fresh)
    table = summarise(pd.DataFrame([row for part in results for row in part]))
    caption = (
        f"Medians of {options.replicates} data sets (seeds from {options.seed}), ML over the talk's method; "
        "the talk has 2.26, 1.49, 1.20, 1.05 and b = .38, .34, .29, .29."
    )
    report.save_table("talk_choices", table.sort_values("from the talk"), options, caption)


if __name__ == "__main__":
    main()
