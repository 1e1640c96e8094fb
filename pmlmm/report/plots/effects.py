"""Random effects of the groups with their intervals: by name where groups are few, by rank where they are many."""

from typing import TYPE_CHECKING

import numpy as np

from pmlmm.posterior.labels import response_name
from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style
from pmlmm.report.plots.draws import Effects, bounds, effects_of, joint_draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More groups than this have no room for their names.
_NAMED = 40
_WIDTH, _ALONE, _ROW, _RANKED = 3.2, 4.4, 0.19, 2.8


def plot_random_effects(posterior: Posterior, term: str | None, interval: float) -> np.ndarray:
    """See :meth:`pmlmm.Fit.plot_random_effects`."""
    chosen = effects_of(posterior.design, term)
    draws, mean = joint_draws(posterior, gamma=True), posterior.mean
    heights = [1.2 + _ROW * e.grouping.n_groups if _few(e) else _RANKED for e in chosen]
    columns = max(len(e.names) for e in chosen)
    width = _WIDTH if columns > 1 else _ALONE
    axes = style.new_axes(len(chosen), columns, width, float(np.mean(heights)), height_ratios=heights)
    for row, effects in zip(axes, chosen, strict=True):
        ends = bounds(effects.stacked(draws), interval)
        values = effects.stacked({str(name): mean[name].to_numpy() for name in mean.data_vars})
        _factor(row, effects, values, ends, interval)
        row[0].set_title(f"{effects.grouping.factor}: {_how(effects)}", loc="left", fontsize="medium")
    for ax in axes.flat:
        if not ax.has_data():
            ax.remove()
    shown = [ax for ax in axes.flat if ax.figure]
    units = f"in units of {response_name(posterior.design)} over those of the effect's column"
    between = "\n" if columns == 1 else " "
    shown[0].figure.supxlabel(f"difference from the average group,{between}{units}", fontsize="small")
    style.legend_above(shown)
    return axes


def _few(effects: Effects) -> bool:
    return effects.grouping.n_groups <= _NAMED


def _how(effects: Effects) -> str:
    number = effects.grouping.n_groups
    if _few(effects):
        return f"{number} groups, in the order of {effects.names[0]}"
    return f"{number:,} groups by rank, in each picture its own"


def _factor(row: np.ndarray, effects: Effects, mean: np.ndarray, ends: np.ndarray, interval: float) -> None:
    """Effects (groups, q) of one factor, an axes each."""
    first = np.argsort(mean[:, 0], kind="stable")
    for a, (name, ax) in enumerate(zip(effects.names, row, strict=False)):
        order = first if _few(effects) else np.argsort(mean[:, a], kind="stable")
        _caterpillar(ax, mean[order, a], ends[:, order, a], interval)
        ax.set_xlabel(name)
        if not _few(effects):
            ax.set_ylabel("rank" if a == 0 else "")
        elif a == 0:
            ax.set_yticks(range(len(order)), style.names(effects.grouping.labels[order]), fontsize="small")
        else:
            ax.set_yticks(range(len(order)), [])


def _caterpillar(ax: "Axes", mean: np.ndarray, ends: np.ndarray, interval: float) -> None:
    apart, rank = (ends[0] > 0.0) | (ends[1] < 0.0), np.arange(len(mean))
    width = 1.6 if len(mean) <= _NAMED else max(0.2, 150.0 / len(mean))
    style.zero_line(ax, vertical=True)
    kinds = ((apart, style.BLUE, "excludes 0"), (~apart, style.GREY, "holds 0"))
    for which, colour, words in kinds:
        label = f"{style.percent(interval)}, {words}" if which.any() else "_none"
        ax.hlines(rank[which], *ends[:, which], color=colour, linewidth=width, label=label)
    size = 4.0 if len(mean) <= _NAMED else 1.0
    ax.plot(mean, rank, "o", color=ax.xaxis.label.get_color(), markersize=size, label="posterior mean")
    ax.set_ylim(-1, len(mean))
