"""The data beside data that the fitted model would make: densities of all rows, or means and sds of groups."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pmlmm.design.grouping import Grouping
from pmlmm.errors import OptionError, suggest
from pmlmm.posterior.draws import PREDICTOR
from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style
from pmlmm.report.plots.draws import bounds, joint_draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES, _DENSITIES, _GRID, _NAMED = 20, 200, 400, 40


def plot_predictive(posterior: Posterior, by: str | None, interval: float, ax: "Axes | None") -> "Axes | np.ndarray":
    """See :meth:`pmlmm.Fit.plot_predictive`."""
    if by is None:
        return _all_rows(posterior, interval, ax)
    found = {grouping.factor: grouping for grouping in posterior.design.groupings}
    if by not in found:
        raise OptionError(f"by={by!r} is no grouping factor of the model." + suggest(by, found))
    if ax is not None:
        raise OptionError("plot_predictive(by=..., ax=...): by= makes two axes of its own; leave ax out.")
    return _groups(posterior, found[by], interval)


def replications(posterior: Posterior) -> np.ndarray:
    """Responses of the rows of the fit, for the same groups: (draws, n)."""
    draws = joint_draws(posterior, predictor=True)
    rng = np.random.default_rng([posterior.learned.options.random_seed, 5])
    noise = draws["sigma"][:, None] * posterior.design.noise_sd
    return draws[PREDICTOR] + noise * rng.standard_normal(draws[PREDICTOR].shape)


def _all_rows(posterior: Posterior, interval: float, ax: "Axes | None") -> "Axes":
    design, made = posterior.design, replications(posterior)[:_DENSITIES]
    y = design.y
    spread = np.ptp(y)
    grid = np.linspace(y.min() - 0.25 * spread, y.max() + 0.25 * spread, _GRID)
    densities = np.array([_density(values, grid) for values in made])
    ax = style.one_axes(ax, 5.2, 3.2)
    label = f"{style.percent(interval)} of {len(made)} replications"
    ax.fill_between(grid, *bounds(densities, interval), color=style.BLUE, alpha=style.FAINT, linewidth=0, label=label)
    for i, values in enumerate(densities[:_LINES]):
        ax.plot(grid, values, color=style.BLUE, linewidth=0.5, alpha=0.5, label=None if i else "replications")
    ax.plot(grid, _density(y, grid), color=ax.xaxis.label.get_color(), linewidth=2, label="data")
    ax.set(xlabel=design.parsed.response, ylabel="density", ylim=(0, None), yticks=[])
    ax.set_title(f"data and replications: {design.n_rows:,} rows", loc="left", fontsize="medium")
    style.legend(ax)
    return ax


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Normal kernel with Scott's bandwidth, on the grid's own bins: many rows take no longer."""
    step = grid[1] - grid[0]
    counts, _ = np.histogram(values, len(grid), (grid[0] - 0.5 * step, grid[-1] + 0.5 * step))
    bandwidth = np.std(values, ddof=1) * len(values) ** -0.2 / step
    return gaussian_filter1d(counts / (len(values) * step), max(bandwidth, 0.5), mode="constant", truncate=6.0)


def _groups(posterior: Posterior, grouping: Grouping, interval: float) -> np.ndarray:
    """Mean and sd of each group's rows, between those of its replications."""
    design, made = posterior.design, replications(posterior)
    axes = style.new_axes(2, 1, max(5.2, 0.2 * min(grouping.n_groups, _NAMED)), 2.3, sharex=True)[:, 0]
    y_mean, y_sd = moments(design.y[None], grouping)
    mean, sd = moments(made, grouping)
    few, order = grouping.n_groups <= _NAMED, np.argsort(y_mean[0], kind="stable")
    for ax, name, seen, replicated in zip(axes, ("mean", "sd"), (y_mean, y_sd), (mean, sd), strict=True):
        order = order if few else np.argsort(seen[0], kind="stable")
        _intervals(ax, seen[0, order], replicated[:, order], interval)
        ax.set_ylabel(f"{name} of {design.parsed.response}")
    if few:
        axes[1].set_xticks(range(len(order)), style.names(grouping.labels[order]), rotation=90, fontsize="small")
    how = "in the order of their means" if few else "by rank, in each picture its own"
    axes[1].set_xlabel(f"{grouping.factor}: all {grouping.n_groups:,} groups, {how}")
    style.legend_above(axes)
    return axes


def _intervals(ax: "Axes", seen: np.ndarray, made: np.ndarray, interval: float) -> None:
    m = len(seen)
    width, size = (4.0, 4.0) if m <= _NAMED else (max(0.3, 150.0 / m), 1.2)
    ax.vlines(
        range(m),
        *bounds(made, interval),
        color=style.BLUE,
        alpha=0.4,
        linewidth=width,
        label=f"{style.percent(interval)} of replications",
    )
    ax.plot(range(m), seen, "o", color=ax.xaxis.label.get_color(), markersize=size, label="data")


def moments(values: np.ndarray, grouping: Grouping) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd of the groups' rows, (draws, m); the sd of a single row is nan."""
    order = np.argsort(grouping.codes, kind="stable")
    counts = np.bincount(grouping.codes, minlength=grouping.n_groups)
    starts = np.cumsum(counts) - counts
    mean = np.add.reduceat(values[:, order], starts, axis=1) / counts
    squares = np.add.reduceat((values - mean[:, grouping.codes])[:, order] ** 2, starts, axis=1)
    return mean, np.sqrt(squares / np.where(counts > 1, counts - 1, np.nan))
