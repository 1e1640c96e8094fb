"""The talk's overfitted curves: 50 individuals seen twice, a cubic curve for each.

``python docs/studies/overfitting.py`` draws the data, the true curves, and those of maximum likelihood and of the
default for the individuals on whom these two differ most, and prints how far the curves are from the true ones over
the replicates.
"""

import methods
import numpy as np
import pandas as pd
import report
from methods import Curves, curves
from parallel import replicate
from singular_fit import METHODS, summarise

CASE = Curves((2,) * 50)
PANELS = 6
TIMES = np.linspace(-1.0, 1.0, 81)


def one(case: Curves, seed: int) -> list[dict]:
    """All methods on one data set."""
    return methods.run(case, seed, METHODS)


def draw(seed: int):
    """Figure of the individuals on whom the two fits differ most."""
    data, truth = CASE.simulate(seed)
    likelihood = methods.METHODS["ML"](CASE, data, truth)["mode"]
    default = methods.METHODS["default"](CASE, data, truth)["mean"]
    lines = {
        "truth": (curves(truth, TIMES), report.TRUTH),
        "maximum likelihood": (curves(likelihood, TIMES), report.OTHER),
        "pmlmm": (curves(default, TIMES), report.OURS),
    }
    figure, axes = report.figure(2, PANELS // 2, sharex=True, sharey=True)
    apart = np.mean((lines["maximum likelihood"][0] - lines["pmlmm"][0]) ** 2, axis=1)
    for i, ax in zip(np.sort(np.argsort(-apart)[:PANELS]), axes.flat, strict=True):
        for name, (values, style) in lines.items():
            ax.plot(TIMES, values[i], label=name, **style)
        own = data[data["ind"] == i]
        ax.plot(own["t"], own["y"], "o", color=report.INK, markersize=5, label="data", zorder=5)
        ax.set_title(f"individual {i + 1}", fontsize="medium")
    report.label_curves(figure, axes)
    return figure


def main() -> None:
    """Run, print, write."""
    options = report.parser(__doc__, 30).parse_args()
    report.save_figure("overfitting", draw(options.seed), options)
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(CASE, seed) for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    caption = (
        f"Cubic curves of 50 individuals seen twice, {options.replicates} data sets (seeds from {options.seed}): share "
        "with a singular Sigma, medians of b, KL (nats) and root mean square error of the individual curves."
    )
    report.save_table("overfitting", summarise(rows), options, caption)


if __name__ == "__main__":
    main()
