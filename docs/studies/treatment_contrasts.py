"""Are differences between treatments, and slopes, estimated without bias by default, and covered by their intervals?

A trial of 60 patients with visits at 0, 1, 3, 6 and 9 months, some of whom drop out; its effect of -2 a month is -12
at month 6. And precise measurements: groups that differ by a standard deviation of 1 in intercept and slope, measured
with a residual sd of 0.1 to 0.001. The default prior is set beside flat ones and, in the trial, beside one learned
ridge; the trial is also fitted with the other arm as reference and with sum contrasts.
``python docs/studies/treatment_contrasts.py`` takes a quarter of an hour on two cores.
"""

import itertools

import numpy as np
import pandas as pd
import report
from parallel import replicate

import pmlmm

MONTHS = np.array([0, 1, 3, 6, 9])
PRIORS = {
    "default": {},
    "flat": {"common": pmlmm.Flat(), "Intercept": pmlmm.Flat()},
    "ridge": {"common": pmlmm.Ridge()},
}
TRIAL = {
    "arm * visit": ("y ~ arm * visit + (t | id)", "arm[T.new]:visit[T.6]", -12.0),
    "arm * t": ("y ~ arm * t + (t | id)", "arm[T.new]:t", -2.0),
}
CODINGS = {
    "other reference": "y ~ C(arm, contr.treatment('new')) * visit + (t | id)",
    "sum contrasts": "y ~ C(arm, contr.sum) * C(visit, contr.sum) + (t | id)",
}
PRECISE = tuple(itertools.product((12, 40), (0.1, 0.01, 0.001), (True, False)))


def trial(seed: int) -> pd.DataFrame:
    """60 patients; after every visit one in twelve does not come back."""
    rng = np.random.default_rng([seed, 60])
    effects = rng.multivariate_normal([0, 0], [[100, -2], [-2, 0.64]], size=60)
    stays = np.cumprod(rng.random((60, len(MONTHS))) > np.where(MONTHS, 1 / 12, 0.0), axis=1).astype(bool)
    patient, visit = np.nonzero(stays)
    t = MONTHS[visit].astype(float)
    new = patient % 2 == 1
    y = 60 - 0.5 * t - 2.0 * new * t + effects[patient, 0] + effects[patient, 1] * t + 8 * rng.normal(size=len(t))
    arm = np.where(new, "new", "control")
    return pd.DataFrame({"y": y, "t": t, "visit": t.astype(int).astype(str), "arm": arm, "id": patient})


def precise(groups: int, sigma: float, balanced: bool, seed: int) -> pd.DataFrame:
    """5 + 2 t, and what the groups add; six rows each, or 2 to 12."""
    rng = np.random.default_rng([seed, groups, balanced])
    sizes = np.full(groups, 6) if balanced else rng.integers(2, 13, groups)
    g, effects = np.repeat(np.arange(groups), sizes), rng.normal(size=(groups, 2))
    t = rng.normal(size=len(g))
    y = 5 + 2 * t + effects[g, 0] + effects[g, 1] * t + sigma * rng.normal(size=len(g))
    return pd.DataFrame({"y": y, "t": t, "g": g})


def estimated(fit: pmlmm.Fit, coefficient: str) -> dict:
    """Mean, standard deviation and the ends of the interval."""
    draws = fit.posterior["posterior"]["beta"].sel(coefficient=coefficient).to_numpy()
    low, high = np.quantile(draws, (0.025, 0.975))
    own = {"coefficient": coefficient}
    return {"mean": float(fit.mean["beta"].sel(own)), "sd": float(fit.sd["beta"].sel(own)), "low": low, "high": high}


def one_trial(seed: int) -> list[dict]:
    """Both models of one trial by all priors, and the contrast at month 6 in other codings."""
    data, rows = trial(seed), []
    for name, (formula, coefficient, truth) in TRIAL.items():
        for prior, priors in PRIORS.items():
            fit = pmlmm.Model(formula, data, priors).fit()
            own = {"setting": f"trial, {name}", "what": coefficient, "truth": truth, "prior": prior, "seed": seed}
            rows.append(own | estimated(fit, coefficient))
    for name, formula in CODINGS.items():
        contrast = at_month_6(pmlmm.Model(formula, data).fit())
        rows.append({"setting": "coding", "what": name, "prior": "default", "seed": seed, "mean": contrast})
    return rows


def at_month_6(fit: pmlmm.Fit) -> float:
    """How much more the new arm has changed since month 0: from predictions, so that any coding will do."""
    cells = pd.DataFrame(itertools.product(("control", "new"), ("0", "6")), columns=["arm", "visit"])
    predicted = fit.predict(cells.assign(t=cells["visit"].astype(float), id=0))["mean"].to_numpy()
    return float(np.array([1, -1, -1, 1]) @ predicted)


def one_precise(groups: int, sigma: float, balanced: bool, seed: int) -> list[dict]:
    """Intercept and slope of one data set by the default and by flat priors."""
    data, rows = precise(groups, sigma, balanced, seed), []
    shape = "balanced" if balanced else "unbalanced"
    for prior in ("default", "flat"):
        fit = pmlmm.Model("y ~ t + (t | g)", data, PRIORS[prior]).fit()
        for coefficient, truth in (("Intercept", 5.0), ("t", 2.0)):
            own = {"setting": f"{groups} groups, {shape}, sigma {sigma:g}", "what": coefficient, "truth": truth}
            rows.append(own | {"prior": prior, "seed": seed} | estimated(fit, coefficient))
    return rows


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Bias, coverage and the distance to the fit with flat priors, in standard errors of the latter."""
    rows = rows[rows["setting"] != "coding"]
    flat = rows[rows["prior"] == "flat"].set_index(["setting", "what", "seed"]).sort_index()
    found = []
    for (setting, what, prior), part in rows.groupby(["setting", "what", "prior"], sort=False):
        beside = flat.loc[setting, what].loc[part["seed"]]
        distance = (part["mean"].to_numpy() - beside["mean"].to_numpy()) / beside["sd"].to_numpy()
        error = (part["mean"] - part["truth"]) / part["sd"]
        covered = (part["low"] < part["truth"]) & (part["truth"] < part["high"])
        own = {"setting": setting, "coefficient": what, "prior": prior, "mean": part["mean"].mean()}
        own |= {"bias / se": error.mean(), "± error": error.std() / np.sqrt(len(part)), "coverage": covered.mean()}
        moved = {} if prior == "flat" else {"to flat / se": distance.mean(), "largest": np.abs(distance).max()}
        found.append(own | moved)
    return pd.DataFrame(found)


def codings(rows: pd.DataFrame) -> pd.DataFrame:
    """How far the contrast at month 6 moves with the coding, in its standard errors."""
    _, coefficient, _ = TRIAL["arm * visit"]
    usual = rows[(rows["what"] == coefficient) & (rows["prior"] == "default")].set_index("seed")
    found = []
    for name, part in rows[rows["setting"] == "coding"].groupby("what", sort=False):
        part = part.set_index("seed")
        moved = (part["mean"] - usual["mean"]) / usual["sd"]
        found.append({"coding": name, "mean / se": moved.mean(), "largest": moved.abs().max()})
    return pd.DataFrame(found)


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 100)
    parser.add_argument("--small", action="store_true", help="12 groups, balanced, only")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one_trial, [(seed,) for seed in seeds], fresh=options.fresh)
    tasks = [(*setting, seed) for setting in (PRECISE[::2][:3] if options.small else PRECISE) for seed in seeds]
    results += replicate(one_precise, tasks, fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    sets = f"{options.replicates} data sets each (seeds from {options.seed})"
    caption = (
        f"Fixed effects by prior, {sets}: mean estimate, its bias in standard errors with the Monte Carlo error, "
        "coverage of 95% intervals given the learned hyperparameters, and mean and largest distance to the fit with "
        "flat priors."
    )
    report.save_table("treatment_contrasts", summarise(rows), options, caption)
    caption = (
        f"The contrast at month 6 by other codings of the trial, {sets}: distance to the table's, in standard errors."
    )
    report.save_table("treatment_codings", codings(rows), options, caption)


if __name__ == "__main__":
    main()
