"""Marginal means with their intervals, a line for each level that is compared."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pmlmm.report.plots import style
from pmlmm.report.plots.curves import is_numeric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Intervals of several lines stand beside each other in so much of the distance between two places.
_APART = 0.28
# So many numbers on the x axis have a tick each.
_TICKS = 12


def plot_means(table: pd.DataFrame, response: str, interval: float, ax: "Axes | None") -> "Axes":
    """A table of :meth:`pmlmm.Fit.means`: its first index on the x axis, a line for each combination of the others."""
    levels = table.index.to_frame(index=False)
    x, others = levels.columns[0], list(levels.columns[1:])
    places, named = _places(levels[x])
    lines = list(levels.groupby(others, sort=False).indices.items()) if others else [(None, np.arange(len(levels)))]
    ax = style.one_axes(ax, 4.8, 3.4)
    step = np.min(np.diff(np.unique(places)), initial=np.inf) if len(np.unique(places)) > 1 else 1.0
    for k, (names, rows) in enumerate(lines):
        moved = places[rows] + step * _APART * (k - (len(lines) - 1) / 2) / len(lines)
        _line(ax, moved, table.iloc[rows], k, _name(names))
    if named is not None:
        ax.set_xticks(range(len(named)), named, rotation=90 if len("".join(named)) > 60 else 0)
    elif len(np.unique(places)) <= _TICKS:
        ax.set_xticks(np.unique(places))
    ax.set(xlabel=x, ylabel=response)
    title = f"marginal means with {style.percent(interval)}s, for the average group"
    ax.set_title(title, loc="left", fontsize="medium")
    if others:
        style.legend(ax, title=", ".join(map(str, others)))
    return ax


def _places(values: pd.Series) -> tuple[np.ndarray, list[str] | None]:
    """Where levels stand: numbers as they are, others by their order with their names."""
    if is_numeric(values):
        return values.to_numpy(dtype=float), None
    codes, found = pd.factorize(values)
    return codes.astype(float), style.names(np.asarray(found))


def _name(names: object) -> str | None:
    if names is None:
        return None
    return ", ".join(map(str, names if isinstance(names, tuple) else (names,)))


def _line(ax: "Axes", x: np.ndarray, rows: pd.DataFrame, k: int, name: str | None) -> None:
    colour, marker = style.COLOURS[k % len(style.COLOURS)], style.MARKERS[k % len(style.MARKERS)]
    mean = rows["mean"].to_numpy()
    half = [mean - rows["lower"].to_numpy(), rows["upper"].to_numpy() - mean]
    look: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "markersize": 6,
        "capsize": 0,
        "elinewidth": 2,
        "linewidth": 1,
    }
    ax.errorbar(x, mean, half, label=name, **look)
