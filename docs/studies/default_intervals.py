"""Do the intervals that a default fit prints hold the truth, and does it raise false alarms?

``python docs/studies/default_intervals.py`` fits the settings of ``hyperprior_risk.py`` with nothing said but formula
and data, and prints the shares of 95% intervals of sds, correlations and sigma that hold the truth, for the default fit
and for the plug-in fit; of sds of 0, of intervals that begin below a tenth of sigma; and the share of data sets with
k-hat above .7. It takes a quarter of an hour on one core.
"""

import numpy as np
import pandas as pd
import report
from hyperprior_risk import SETTINGS, held
from parallel import replicate

import pmlmm
from pmlmm.errors import ConvergenceError

WHAT = ["sds", "correlations", "sigma", "zeros"]


def one(name: str, seed: int) -> list[dict]:
    """Both fits of one data set."""
    table, truth = SETTINGS[name].simulate(seed)
    rows = []
    for method, integrate in (("default", "auto"), ("plug-in", False)):
        try:
            fit = pmlmm.Model(SETTINGS[name].formula, table).fit(integrate=integrate)
        except ConvergenceError:
            continue
        draws = fit.draw_posterior(gamma=False)["posterior"].to_dataset().stack(s=("chain", "draw")).transpose("s", ...)
        weights = np.full(draws.sizes["s"], 1.0 / draws.sizes["s"])
        found = [held(S, draws[f"Sigma_{term}"].to_numpy(), weights, truth.sigma) for term, S in truth.Sigma.items()]
        shares = {key: [x for part in found for x in part[key]] for key in found[0]}
        low, high = np.quantile(draws["sigma"], [0.025, 0.975])
        row = {key: np.mean(values) if values else np.nan for key, values in shares.items()}
        row |= {"setting": name, "method": method, "sigma": float(low <= truth.sigma <= high)}
        rows.append(row | {"k-hat > .7": float(not fit.k_hat <= 0.7)})
    return rows


def main() -> None:
    """Run, print, write."""
    options = report.parser(__doc__, 100).parse_args()
    seeds = range(options.seed, options.seed + options.replicates)
    tasks = [(name, seed) for seed in seeds for name in SETTINGS]
    rows = pd.DataFrame([row for rows in replicate(one, tasks, fresh=options.fresh) for row in rows])
    groups = rows.groupby(["setting", "method"], sort=False)
    table = groups[[*WHAT, "k-hat > .7"]].mean().reset_index()
    pooled = rows.groupby("method", sort=False)[[*WHAT, "k-hat > .7"]].mean().reset_index().assign(setting="all")
    caption = (
        f"Shares of 95% intervals that hold the truth, {options.replicates} data sets a setting (seeds from "
        f"{options.seed}), and of data sets with k-hat above .7. The standard error of a share of .95 is at most "
        f"{np.sqrt(0.05 * 0.95 / options.replicates):.2f}."
    )
    report.save_table("default_intervals", pd.concat([table, pooled]), options, caption)


if __name__ == "__main__":
    main()
