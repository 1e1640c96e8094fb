"""Does the evidence choose the right random effects? A slope that is there, and one that is not.

18 subjects seen 6 times, sd of the intercepts and of the errors 1, sd of the slopes 0 or .3. Three voices on whether
subjects differ in their slopes, each comparing a model with random slopes to one without: the plug-in evidence
(hyperparameters at their best), the integrated evidence, and left-out subjects (``logo``).
"""

import warnings

import numpy as np
import pandas as pd
import report
from parallel import replicate

import pmlmm

SUBJECTS, VISITS = 18, 6
WITHOUT = "y ~ t + (1 | g)"
WITH = {"(t | g)": "y ~ t + (t | g)", "(t || g)": "y ~ t + (t || g)"}


def simulate(slope_sd: float, seed: int) -> pd.DataFrame:
    """Straight lines."""
    rng = np.random.default_rng([seed, int(100 * slope_sd)])
    g, t = np.repeat(np.arange(SUBJECTS), VISITS), np.tile(np.arange(float(VISITS)), SUBJECTS)
    effects = rng.normal(size=(SUBJECTS, 2)) * [1.0, slope_sd]
    y = 10.0 + 0.5 * t + effects[g, 0] + effects[g, 1] * t + rng.normal(size=len(t))
    return pd.DataFrame({"y": y, "t": t, "g": g})


def voices(formula: str, data: pd.DataFrame) -> dict[str, float]:
    """What is to be compared, of one model."""
    plug_in = pmlmm.Model(formula, data).fit(integrate=False)
    integrated = plug_in.integrate()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of subjects that are hard to leave out
        left_out = float(integrated.logo().elpd)
    found = {"plug-in evidence": plug_in.log_evidence_psis, "integrated evidence": integrated.log_evidence}
    return found | {"left-out subjects": left_out}


def differences(slope_sd: float, seed: int) -> list[dict]:
    """Each voice's difference, in nats, for one data set."""
    data = simulate(slope_sd, seed)
    without = voices(WITHOUT, data)
    return [
        {"sd of slopes": slope_sd, "model": name, "voice": voice, "difference": value - without[voice]}
        for name, formula in WITH.items()
        for voice, value in voices(formula, data).items()
    ]


def main() -> None:
    """Print the table."""
    options = report.parser(__doc__, 100).parse_args()
    seeds = range(options.seed, options.seed + options.replicates)
    tasks = [(sd, seed) for sd in (0.0, 0.3) for seed in seeds]
    rows = pd.DataFrame([row for rows in replicate(differences, tasks, fresh=options.fresh) for row in rows])
    keys = ["sd of slopes", "model", "voice"]
    table = rows.groupby(keys, sort=False)["difference"].agg(
        **{"share that prefers slopes": lambda x: np.mean(x > 0), "mean difference": "mean"}
    )
    caption = (
        f"Random slopes against none, {options.replicates} data sets each (seeds from {options.seed}): share of data "
        "sets in which the model with slopes comes out better, and by how many nats on average. The standard error of "
        f"a share is at most {0.5 / np.sqrt(options.replicates):.2f}."
    )
    report.save_table("choosing_models", table.reset_index(), options, caption)


if __name__ == "__main__":
    main()
