"""The home page's picture: 30 individuals seen five times each, a cubic curve for each.

``python docs/studies/hero.py`` draws the data of the first six individuals, their true curves, those that least squares
draws through each alone, and those of the default with 95% intervals; and prints how far the curves of all 30 are from
the true ones over the replicates, and how often the intervals hold them.
"""

import methods
import numpy as np
import pandas as pd
import report
from methods import Curves, curves
from parallel import replicate

import pmlmm
from pmlmm.simulate import Truth

CASE = Curves((5,) * 30)
PANELS = 6
TIMES = np.linspace(-1.0, 1.0, 81)
POWERS = np.vander(TIMES, 4, increasing=True)
# Curves so far from the data that they would leave no room for these.
LIMIT = 9.0


def alone(data: pd.DataFrame) -> np.ndarray:
    """Cubic least squares of every individual's rows alone, (individuals, times)."""
    return np.array([np.polyval(np.polyfit(own["t"], own["y"], 3), TIMES) for _, own in data.groupby("ind")])


def default(data: pd.DataFrame, truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means (individuals, times) and 95% intervals (2, individuals, times) of pmlmm's curves."""
    fit = pmlmm.Model(truth.formula, data).fit()
    draws = fit.posterior["posterior"].to_dataset().stack(sample=("chain", "draw")).transpose("sample", ...)
    own = draws["gamma_ind"].to_numpy() + draws["beta"].to_numpy()[:, None, :]
    values = own @ POWERS.T
    return values.mean(axis=0), np.quantile(values, [0.025, 0.975], axis=0)


def one(case: Curves, seed: int) -> dict:
    """The middle individual's root mean square error by method, and the share of the true curves in the intervals."""
    data, truth = case.simulate(seed)
    true, (mean, (lower, upper)) = curves(truth, TIMES), default(data, truth)
    likelihood = curves(methods.METHODS["ML"](case, data, truth)["mode"], TIMES)
    found = {"each alone": alone(data), "maximum likelihood": likelihood, "pmlmm": mean}
    errors = {name: float(np.median(np.sqrt(np.mean((v - true) ** 2, axis=1)))) for name, v in found.items()}
    return errors | {"held": float(np.mean((lower <= true) & (true <= upper)))}


def draw(seed: int):
    """Figure of the first individuals."""
    data, truth = CASE.simulate(seed)
    true, own, (mean, (lower, upper)) = curves(truth, TIMES), alone(data), default(data, truth)
    figure, axes = report.figure(2, PANELS // 2, sharex=True, sharey=True)
    for i, ax in enumerate(axes.flat):
        ax.plot(TIMES, own[i], label="least squares of each alone", **report.OTHER)
        ax.fill_between(TIMES, lower[i], upper[i], color=report.OURS["color"], alpha=0.25, linewidth=0)
        ax.plot(TIMES, mean[i], label="pmlmm, 95% interval", **report.OURS)
        ax.plot(TIMES, true[i], label="truth", **report.TRUTH)
        rows = data[data["ind"] == i]
        ax.plot(rows["t"], rows["y"], "o", color=report.INK, markersize=5, label="data", zorder=5)
        ax.set_title(f"individual {i + 1}", fontsize="medium")
    axes.flat[0].set_ylim(-LIMIT, LIMIT)
    report.label_curves(figure, axes)
    return figure


def main() -> None:
    """Run, print, write."""
    options = report.parser(__doc__, 20).parse_args()
    report.save_figure("hero", draw(options.seed), options)
    seeds = range(options.seed, options.seed + options.replicates)
    rows = pd.DataFrame(replicate(one, [(CASE, seed) for seed in seeds], fresh=options.fresh))
    errors = rows.drop(columns="held")
    table = pd.DataFrame({"curves of": errors.columns, "median": errors.median().to_numpy()})
    table["least"], table["largest"] = errors.min().to_numpy(), errors.max().to_numpy()
    caption = (
        "Root mean square error of the curve of the middle one of 30 individuals seen five times each, "
        f"{options.replicates} data sets (seeds from {options.seed}); pmlmm's 95% intervals hold "
        f"{rows['held'].mean():.1%} of the true curves' points."
    )
    report.save_table("hero", table, options, caption)


if __name__ == "__main__":
    main()
