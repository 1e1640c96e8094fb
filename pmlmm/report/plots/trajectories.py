"""Data and fitted curves of groups, each beside the curve of the average group."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.design.grouping import Grouping
from pmlmm.errors import OptionError, suggest
from pmlmm.options import count
from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style
from pmlmm.report.plots.curves import Curve, Grids, column_of_x, grids, is_numeric, predictor
from pmlmm.report.plots.draws import bounds, joint_draws

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 2.3, 1.9


def plot_trajectories(
    posterior: Posterior,
    x: str | None,
    groups: int | Iterable,
    factor: str | None,
    extend: bool,
    interval: float,
) -> np.ndarray:
    """See :meth:`pmlmm.Fit.plot_trajectories`."""
    design = posterior.design
    grouping = _grouping(design, factor)
    x = column_of_x(design, x, grouping)
    along = grids(design, x, grouping)
    chosen = _chosen(grouping, groups, posterior.learned.options.random_seed)
    draws = joint_draws(posterior, gamma=True, predictor=bool(design.wide))
    factors = _constant_within(design, grouping)
    axes = style.panels(len(chosen), _WIDTH, _HEIGHT, sharex=True, sharey=True)
    for ax, group, name in zip(axes, chosen, style.names(grouping.labels[chosen]), strict=True):
        _panel(ax, along, along.curve(int(group), extend=extend), draws, factors, interval)
        ax.set_title(name, fontsize="small")
    figure = axes[0].figure
    figure.supxlabel(x)
    figure.supylabel(design.parsed.response)
    style.legend_above(axes, _title(design, grouping, len(chosen), factors))
    return axes


def _grouping(design: Design, factor: str | None) -> Grouping:
    found = {grouping.factor: grouping for grouping in design.groupings}
    if not found:
        raise OptionError("The model has no groups whose trajectories could be shown.")
    if factor is not None and factor not in found:
        raise OptionError(f"factor={factor!r} is no grouping factor of the model." + suggest(factor, found))
    return next(iter(found.values())) if factor is None else found[factor]


def _chosen(grouping: Grouping, groups: int | Iterable, seed: int) -> np.ndarray:
    """Numbers of the groups that are asked for by name, or of a sample."""
    if isinstance(groups, int | np.integer):
        return style.spread_out(grouping.n_groups, count("groups", groups), seed)
    known = {name: i for i, name in enumerate(style.names(grouping.labels))}
    wanted = [groups] if isinstance(groups, str) else list(groups)
    for name in map(str, wanted):
        if name not in known:
            raise OptionError(f"groups=...: {grouping.factor!r} has no group {name!r}." + suggest(name, known))
    if not wanted:
        raise OptionError("groups=...: name at least one group, or say how many.")
    return np.array([known[str(name)] for name in wanted])


def _constant_within(design: Design, grouping: Grouping) -> list[str]:
    """The factor itself, and those that it is nested in: their effects are part of a group's curve."""
    pairs = {g.factor: len(np.unique(grouping.codes.astype(np.int64) * g.n_groups + g.codes)) for g in design.groupings}
    return [factor for factor, number in pairs.items() if number == grouping.n_groups]


def _title(design: Design, grouping: Grouping, shown: int, factors: list[str]) -> str:
    title = f"{grouping.factor}: {style.out_of(shown, grouping.n_groups, 'groups')}"
    others = [g.factor for g in design.groupings if g.factor not in factors]
    return title + (f"; {' and '.join(others)} at the average" if others else "")


def _panel(
    ax: "Axes", along: Grids, curve: Curve, draws: dict[str, np.ndarray], factors: list[str], interval: float
) -> None:
    """One group's data, curve with interval, and the curve of the average group in its place."""
    own, average = (predictor(along.design, curve, draws, chosen) for chosen in (factors, []))
    at, data = (_shown(values) for values in (curve.frame[along.x], along.design.table.frame[along.x].iloc[curve.rows]))
    draw = _line if along.continuous and len(at) > 1 else _points
    draw(ax, at, own.mean(axis=0), average.mean(axis=0), bounds(own, interval), style.percent(interval))
    ink = ax.xaxis.label.get_color()
    ax.plot(data, along.design.y[curve.rows], "o", color=ink, markersize=3, label="data", zorder=3)


def _shown(values: pd.Series) -> np.ndarray | list[str]:
    """Numbers, or text."""
    return values.to_numpy() if is_numeric(values) else style.names(values.to_numpy())


def _line(ax: "Axes", at: Any, own: np.ndarray, average: np.ndarray, ends: np.ndarray, words: str) -> None:
    ax.plot(at, average, "--", color=style.GREY, linewidth=1.2, label="average group")
    ax.fill_between(at, *ends, color=style.BLUE, alpha=style.FAINT, linewidth=0, label=words)
    ax.plot(at, own, color=style.BLUE, linewidth=1.8, label="this group")


def _points(ax: "Axes", at: Any, own: np.ndarray, average: np.ndarray, ends: np.ndarray, words: str) -> None:
    ax.plot(at, average, "_", color=style.GREY, markersize=12, markeredgewidth=1.6, label="average group")
    ax.vlines(at, *ends, color=style.BLUE, alpha=0.6, linewidth=3, label=words)
    ax.plot(at, own, "D", color=style.BLUE, markersize=4, label="this group")
