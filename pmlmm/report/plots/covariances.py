"""Posterior densities of standard deviations, and correlations with their intervals."""

from typing import TYPE_CHECKING

import numpy as np

from pmlmm.posterior.labels import response_name
from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style
from pmlmm.report.plots.draws import bounds
from pmlmm.report.tables import covariance_parts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _ROW, _AROUND = 4.2, 0.65, 1.2
# Densities end at the quantile that leaves so much above it: a few draws of a variance are huge.
_SHOWN = 0.995


def plot_covariances(posterior: Posterior, interval: float) -> np.ndarray:
    """See :meth:`pmlmm.Fit.plot_covariances`."""
    sds, correlations = _parts(posterior)
    style.pyplot()
    columns = 2 if correlations else 1
    height = _AROUND + _ROW * max(len(sds), 0.35 * len(correlations))
    grid = style.new_axes(len(sds), columns, _WIDTH, height / len(sds))
    for ax, (name, values) in zip(grid[:, 0], sds.items(), strict=True):
        _density(ax, name, values, interval)
    grid[0, 0].set_title("standard deviations", loc="left", fontsize="medium")
    grid[-1, 0].set_xlabel(f"in units of {response_name(posterior.design)} over those of the effect's column")
    axes = list(grid[:, 0])
    if correlations:
        axes.append(_forest(grid[:, 1], correlations, interval))
    style.legend_above(axes)
    return np.array(axes)


def _parts(posterior: Posterior) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws of every standard deviation, and of every correlation, by what they are of."""
    sds, correlations = {}, {}
    for (term, kind, effect, other), draws in covariance_parts(posterior):
        if kind == "sd":
            sds[f"{term}\n{effect or 'sigma'}"] = draws
        else:
            correlations[f"{term}: {other}, {effect}"] = draws
    return sds, correlations


def _density(ax: "Axes", name: str, values: np.ndarray, interval: float) -> None:
    """Density, median and interval of one standard deviation."""
    from scipy.stats import gaussian_kde

    high = np.quantile(values, _SHOWN)
    grid = np.linspace(0.0, 1.05 * high, 300)
    smooth = gaussian_kde(values)
    density = smooth(grid) + smooth(-grid)  # reflected: it ends at 0 and not below
    ax.fill_between(grid, density / density.max(), color=style.BLUE, alpha=style.FAINT, label="posterior density")
    lower, upper = bounds(values, interval)
    ax.plot([lower, upper], [0, 0], color=style.BLUE, linewidth=3, label=style.percent(interval), clip_on=False)
    ink = ax.xaxis.label.get_color()
    ax.plot([np.median(values)], [0], "o", color=ink, markersize=5, label="median", clip_on=False, zorder=3)
    ax.set(xlim=(0, 1.05 * high), ylim=(0, 1.1), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize="small")


def _forest(column: np.ndarray, correlations: dict[str, np.ndarray], interval: float) -> "Axes":
    """All correlations on one axes, which takes the place of a column of them."""
    first = column[0]
    ax = first.figure.add_subplot(first.get_gridspec()[:, 1])
    for other in column:
        other.remove()
    style.plain(ax)
    place = -np.arange(len(correlations))
    values = np.array(list(correlations.values()))
    ax.hlines(place, *bounds(values.T, interval), color=style.BLUE, linewidth=3)
    ax.plot(np.median(values, axis=1), place, "o", color=ax.xaxis.label.get_color(), markersize=5)
    style.zero_line(ax, vertical=True)
    ax.set_yticks(place, list(correlations), fontsize="small")
    ax.set(xlim=(-1.02, 1.02), ylim=(place[-1] - 0.6, 0.6), xlabel="correlation")
    ax.set_title("correlations", loc="left", fontsize="medium")
    return ax
