"""Which of the choices that the talk leaves open reproduce its first table?

``python docs/studies/talk_choices.py`` runs the talk's method (joint evidence, natural coordinates, no hyperprior,
estimates at the mode) and maximum likelihood for other degrees of freedom nu, residual standard deviations and random-
effect designs, with A = a I and A diagonal, and both directions of the Kullback-Leibler divergence. The last columns
are how far the four ratios of KL are from the talk's (the root mean square of the log of their quotient), and its error
from resampling the seeds.
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
    keys = ["effects", "nu", "sigma", "repeats", "seed"]
    rows, _ = methods.fitted_by_all(rows, ["effects", "nu", "sigma", "seed"])
    rows = rows[rows["kind"] == "mode"]
    likelihood = rows[rows["method"] == "ML"].set_index(keys)[["KL", "KL reversed"]].add_suffix(" of ML")
    rows = rows[rows["method"] != "ML"].join(likelihood, on=keys)
    found = []
    for (effects, nu, sigma, method), part in rows.groupby(["effects", "nu", "sigma", "method"], sort=False):
        for direction, name in (("KL", "true, est."), ("KL reversed", "est., true")):
            ratios = part[f"{direction} of ML"] / part[direction]
            by_seed = part.assign(ratio=ratios).pivot(index="seed", columns="repeats", values="ratio")[list(REPEATS)]
            row = {"Z": effects, "nu": f"{nu:g}", "sigma": sigma, "A": method.split()[-1], "KL of": name}
            row |= {f"KL, {r}": by_seed[r].median() for r in REPEATS}
            row |= {f"b, {r}": part.loc[part["repeats"] == r, "b"].median() for r in REPEATS}
            found.append(row | from_the_talk(by_seed.to_numpy()))
    return pd.DataFrame(found)


def from_the_talk(ratios: np.ndarray) -> dict[str, float]:
    """Distance of the medians of ratios (seeds, repeats) from the talk's; its sd over resampled seeds."""
    again = np.random.default_rng(0).integers(len(ratios), size=(500, len(ratios)))
    medians = np.median(np.concatenate([ratios[None], ratios[again]]), axis=1)
    distances = np.sqrt(np.mean(np.log(medians / TALK["KL"].to_numpy()) ** 2, axis=1))
    error = np.std(distances[1:]) if np.isfinite(distances).all() else np.nan
    return {"from the talk": distances[0], "±": error}


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 20)
    parser.add_argument("--small", action="store_true", help="the first choice only")
    options = parser.parse_args()
    choices = CHOICES[:1] if options.small else CHOICES
    cases = [Case(r, effects, nu=nu, sigma=sigma) for effects, nu, sigma in choices for r in REPEATS]
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(case, seed) for case in cases for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    table = summarise(rows)
    refused = rows[rows["kind"] == "refused"].groupby(["effects", "nu", "sigma", "method"]).size()
    words = [f"{count} ({z}, nu {nu:g}, sigma {s:.2f}, {method})" for (z, nu, s, method), count in refused.items()]
    caption = (
        f"Medians of {options.replicates} data sets (seeds from {options.seed}), ML over the talk's method; the talk "
        f"has {', '.join(f'{x:.2f}' for x in TALK['KL'])} and b = {', '.join(f'{x:.2f}' for x in TALK['b'])}. "
        f"Fits refused, whose seeds are left out: {'; '.join(words) or 'none'}. An error is missing where ML is "
        "degenerate in some resampling."
    )
    report.save_table("talk_choices", table.sort_values("from the talk"), options, caption)


if __name__ == "__main__":
    main()
