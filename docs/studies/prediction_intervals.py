"""Do 95% prediction intervals of a default fit hold what they should?

Two designs: lines of 18 groups with 10 rows each, and 8 schools with 4 classes of 4 rows each. Each fit predicts known
groups, new groups and, of the second design, new classes of known schools, 40 rows of each: what is expected in the row
(``kind="mean"``), and a new observation there (``kind="response"``).
``python docs/studies/prediction_intervals.py`` takes about ten minutes on one core.
"""

import numpy as np
import pandas as pd
import report
from parallel import replicate

import pmlmm

ROWS = 40
FORMULAS = {"lines": "y ~ t + (t | g)", "nested": "y ~ t + (1 | g/c)"}


def lines(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The data, and rows to be predicted with what is expected there: intercepts of sd 2, slopes of sd .3, sigma 1."""
    gamma = rng.normal(size=(18 + ROWS, 2)) * [2.0, 0.3]
    data = pd.DataFrame({"g": np.repeat(np.arange(18), 10), "t": np.tile(np.arange(10.0), 18)})
    known = pd.DataFrame({"g": rng.integers(0, 18, ROWS), "groups": "known"})
    new = pd.concat([known, pd.DataFrame({"g": 18 + np.arange(ROWS), "groups": "new"})], ignore_index=True)
    new["t"] = rng.uniform(0.0, 12.0, len(new))
    for table in (data, new):
        table["expected"] = 5.0 + 0.5 * table["t"] + gamma[table["g"], 0] + gamma[table["g"], 1] * table["t"]
    return data, new


def nested(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same for schools of sd 1.5 and classes of sd 1, classes from 4 on and schools from 8 on new."""
    school, room = 1.5 * rng.normal(size=8 + ROWS), rng.normal(size=(8 + ROWS, 4 + ROWS))
    data = pd.DataFrame({"g": np.repeat(np.arange(8), 16), "c": np.tile(np.repeat(np.arange(4), 4), 8)})
    parts = [
        pd.DataFrame({"g": rng.integers(0, 8, ROWS), "c": rng.integers(0, 4, ROWS), "groups": "known"}),
        pd.DataFrame({"g": rng.integers(0, 8, ROWS), "c": 4 + np.arange(ROWS), "groups": "new in known"}),
        pd.DataFrame({"g": 8 + np.arange(ROWS), "c": 0, "groups": "new"}),
    ]
    new = pd.concat(parts, ignore_index=True)
    for table in (data, new):
        table["t"] = rng.normal(size=len(table))
        table["expected"] = 5.0 + table["t"] + school[table["g"]] + room[table["g"], table["c"]]
    return data, new


def one(design: str, seed: int) -> list[dict]:
    """Shares of the intervals of one fit that hold what they should."""
    rng = np.random.default_rng([seed, len(design)])
    data, new = {"lines": lines, "nested": nested}[design](rng)
    data["y"] = data["expected"] + rng.normal(size=len(data))
    fit, rows = pmlmm.Model(FORMULAS[design], data).fit(), []
    truths = {"mean": new["expected"], "response": new["expected"] + rng.normal(size=len(new))}
    for kind, truth in truths.items():
        table = fit.predict(new.drop(columns="expected"), kind=kind, groups="new")
        held = ((table["lower"] <= truth) & (truth <= table["upper"])).groupby(new["groups"]).mean()
        rows += [{"design": design, "groups": g, "of": kind, "held": share} for g, share in held.items()]
    return rows


def main() -> None:
    """Run, print, write."""
    options = report.parser(__doc__, 100).parse_args()
    seeds = range(options.seed, options.seed + options.replicates)
    tasks = [(design, seed) for seed in seeds for design in FORMULAS]
    rows = pd.DataFrame([row for rows in replicate(one, tasks, fresh=options.fresh) for row in rows])
    groups = rows.groupby(["design", "groups", "of"], sort=False)["held"]
    table = 100.0 * groups.agg(["mean", "sem"])
    table = table.rename(columns={"mean": "held, %", "sem": "standard error, %"}).reset_index()
    caption = (
        f"Shares of 95% prediction intervals that hold what is expected in a row ('mean') or a new observation, "
        f"{options.replicates} data sets of each design (seeds from {options.seed}), {ROWS} rows of each kind; the "
        "standard error is that over data sets."
    )
    report.save_table("prediction_intervals", table, options, caption)


if __name__ == "__main__":
    main()
