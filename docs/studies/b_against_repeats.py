"""The weight b of the prior against the number of repeats: cubic curves of 50 individuals seen 2, 5 or 10 times.

``python docs/studies/b_against_repeats.py`` prints and draws the b that each way of learning finds, beside the talk's.
"""

import methods
import pandas as pd
import report
from methods import Curves
from parallel import replicate

REPEATS = (2, 5, 10)
TALK = pd.Series([0.99, 0.32, 0.20], index=REPEATS)
METHODS = {
    "talk, A identity": "joint evidence, A = aI, no hyperprior",
    "talk, A diagonal": "joint evidence, A diagonal, no hyperprior",
    "plain EB": "marginal evidence, A diagonal, no hyperprior",
    "default": "default",
}


def one(repeats: int, sigma: float, seed: int) -> list[dict]:
    """All methods on one data set."""
    return methods.run(Curves((repeats,) * 50, sigma=sigma), seed, tuple(METHODS))


def draw(rows: pd.DataFrame):
    """Medians of b, with the middle half of the data sets, against the repeats."""
    figure, ax = report.figure(1, 1, height=3.6)
    styles = (report.OTHER, report.THIRD, report.FOURTH, report.OURS)
    for k, ((method, name), style) in enumerate(zip(METHODS.items(), styles, strict=True)):
        quantiles = rows[rows["method"] == method].groupby("repeats")["b"].quantile([0.25, 0.5, 0.75]).unstack()
        x = quantiles.index * 1.02 ** (k - 1.5)
        ax.plot(x, quantiles[0.5], marker="o", label=name, **style)
        ax.vlines(x, quantiles[0.25], quantiles[0.75], color=style["color"], linewidth=1)
    ax.plot(TALK.index, TALK, "x", color=report.INK, markersize=9, markeredgewidth=2, label="talk", zorder=5)
    ax.set(xlabel="rows of each individual", ylabel="weight b of the prior", ylim=(0, 1.02))
    ax.set_xscale("log")
    ax.set_xticks(REPEATS, [str(r) for r in REPEATS], minor=False)
    ax.minorticks_off()
    figure.legend(loc="outside upper center")
    return figure


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 30)
    parser.add_argument("--sigma", type=float, default=0.5, help="residual standard deviation")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(r, options.sigma, seed) for r in REPEATS for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    rows["repeats"] = rows["rows"].map(lambda n: n[0])
    refused = rows["kind"] == "refused"
    rows = rows[~refused].drop_duplicates(["method", "repeats", "seed"])  # b is that of the fit, whatever the estimate
    modes = rows.groupby(["method", "repeats"])["b"].median()
    table = pd.DataFrame({"talk": TALK} | {name: modes[method] for method, name in METHODS.items()})
    caption = (
        f"b, medians over {options.replicates} data sets (seeds from {options.seed}) of 50 cubic curves, by rows of "
        f"each individual, sigma = {options.sigma:g}; fits refused: {int(refused.sum())}."
    )
    report.save_table("b_against_repeats", table.rename_axis("rows"), options, caption, index=True)
    report.save_figure("b_against_repeats", draw(rows), options)


if __name__ == "__main__":
    main()
