"""What partial pooling does: each group's own least squares, and where the model moves it."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pmlmm.design.design import Design
from pmlmm.options import count
from pmlmm.posterior.draws import linear_predictor
from pmlmm.posterior.labels import response_name
from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style
from pmlmm.report.plots.draws import Effects, effects_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 4.2
# Least squares beyond so many widths of the pooled estimates and their law are outside the picture.
_BEYOND = 2.5
# Directions of the effects that a group's rows do not tell apart have relative singular values below this.
_SINGULAR = 1e-8
_CHI2_95 = 5.991465


class Pooled(NamedTuple):
    """Effects of the groups (m, q): their own least squares (nan where there is none), the model's, and their law."""

    own: np.ndarray
    partial: np.ndarray
    centre: np.ndarray
    Sigma: np.ndarray


def plot_shrinkage(posterior: Posterior, term: str | None, groups: int) -> np.ndarray:
    """See :meth:`pmlmm.Fit.plot_shrinkage`."""
    design, groups = posterior.design, count("groups", groups)
    effects = effects_of(design, term)[0]
    pooled = _pooled(posterior, effects)
    chosen = style.spread_out(effects.grouping.n_groups, groups, posterior.learned.options.random_seed)
    q = len(effects.names)
    axes = style.panels(max(1, q - 1), _SIZE, _SIZE * 0.9, most=3)
    for b, ax in enumerate(axes, start=1):
        _plane(ax, effects, pooled, chosen, b) if q > 1 else _line(ax, effects, pooled, chosen)
    shown = style.out_of(len(chosen), effects.grouping.n_groups, "groups")
    without = int(np.isnan(pooled.own[chosen, 0]).sum())
    more = f"; {without} with too few rows for least squares" if without else ""
    axes[0].figure.supxlabel(
        f"effects in units of {response_name(design)} over those of their columns", fontsize="small"
    )
    style.legend_above(axes, f"{effects.grouping.factor}: {shown}{more}")
    return axes


def _pooled(posterior: Posterior, effects: Effects) -> Pooled:
    """Coefficients of the groups where the fixed effects have all of the columns; else differences from the average."""
    design, mean = posterior.design, posterior.mean
    values = {str(name): mean[name].to_numpy() for name in mean.data_vars}
    gamma = effects.stacked(values)
    total = all(name in design.coefficients for name in effects.names)
    centre = np.array([values["beta"][design.coefficients.index(name)] if total else 0.0 for name in effects.names])
    own = _least_squares(_without(design, values, effects), effects) + centre
    Sigma = np.zeros((len(centre), len(centre)))
    first = 0
    for found in effects.terms:
        Sigma[first : first + found.q, first : first + found.q] = values[f"Sigma_{found.name}"]
        first += found.q
    return Pooled(own, gamma + centre, centre, Sigma)


def _without(design: Design, values: dict[str, np.ndarray], effects: Effects) -> np.ndarray:
    """y less all that is not of these effects, at posterior means: (n,)."""
    others = [term for term in design.terms if term not in effects.terms]
    gamma = {f"gamma_{term.name}": values[f"gamma_{term.name}"][None] for term in others}
    rest = linear_predictor(design, others, values["beta"][None], gamma)[0]
    for block in design.wide:
        beta = values[f"beta_{block.name}"]
        rest = rest + sum(columns @ beta[part] for part, columns in block.chunks())
    return design.y - rest


def _least_squares(y: np.ndarray, effects: Effects) -> np.ndarray:
    """Each group's own fit, (m, q); nan where its rows do not determine it."""
    codes, Z = effects.grouping.codes, effects.Z
    order = np.argsort(codes, kind="stable")
    edges = np.cumsum(np.bincount(codes, minlength=effects.grouping.n_groups))[:-1]
    result = np.full((effects.grouping.n_groups, Z.shape[1]), np.nan)
    for i, rows in enumerate(np.split(order, edges)):
        if len(rows) < Z.shape[1]:
            continue
        size = np.linalg.norm(Z[rows], axis=0)
        if not size.all():
            continue
        found, _, rank, _ = np.linalg.lstsq(Z[rows] / size, y[rows], rcond=_SINGULAR)
        if rank == Z.shape[1]:
            result[i] = found / size
    return result


def _plane(ax: "Axes", effects: Effects, pooled: Pooled, chosen: np.ndarray, b: int) -> None:
    """The first effect against another one, an arrow for each group."""
    pair = [0, b]
    own, partial, centre = pooled.own[np.ix_(chosen, pair)], pooled.partial[np.ix_(chosen, pair)], pooled.centre[pair]
    ring = _ellipse(centre, pooled.Sigma[np.ix_(pair, pair)])
    known = np.isfinite(own[:, 0])
    arrows = {"arrowstyle": "-|>", "color": style.GREY, "alpha": 0.6, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2}
    for start, end in zip(own[known], partial[known], strict=True):
        drawn: Any = ax.annotate("", end, start, arrowprops=arrows, annotation_clip=False)
        drawn.arrow_patch.set_clip_box(ax.bbox)
    few = len(chosen) <= 60
    ax.plot(
        *own[known].T,
        "o",
        mfc="none",
        color=style.RED,
        markersize=5 if few else 3,
        label="own least squares",
    )
    ax.plot(*partial.T, "o", color=style.BLUE, markersize=5 if few else 3, label="partially pooled")
    ax.plot(*ring, color=style.BLUE, linestyle="--", linewidth=1, label="95% of groups, as learned")
    ax.plot(*centre, "P", color=ax.xaxis.label.get_color(), markersize=9, label="average group", zorder=4)
    outside = _limits(ax, own[known], np.vstack([partial, ring.T]))
    ax.set(xlabel=effects.names[0], ylabel=effects.names[b])
    if outside:
        ax.set_title(f"least squares of {outside} outside the picture", fontsize="small")


def _limits(ax: "Axes", own: np.ndarray, inside: np.ndarray) -> int:
    """Room for the pooled estimates and for least squares that are not far away; how many are."""
    low, high = inside.min(axis=0), inside.max(axis=0)
    room = _BEYOND * (high - low) / 2.0
    middle = (low + high) / 2.0
    near = (np.abs(own - middle) <= room).all(axis=1) if len(own) else np.zeros(0, dtype=bool)
    shown = np.vstack([inside, own[near]])
    low, high = shown.min(axis=0), shown.max(axis=0)
    pad = 0.05 * (high - low)
    ax.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))
    return int(len(own) - near.sum())


def _ellipse(centre: np.ndarray, Sigma: np.ndarray) -> np.ndarray:
    """Outline of the region that holds 95% of a normal law: (2, points)."""
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    sd = np.sqrt(np.diagonal(Sigma))
    values, vectors = np.linalg.eigh(Sigma / np.outer(sd, sd))  # far from the origin the correlation may round to 1
    root = sd[:, None] * vectors * np.sqrt(np.maximum(values, 0.0))
    return centre[:, None] + np.sqrt(_CHI2_95) * root @ np.array([np.cos(angle), np.sin(angle)])


def _line(ax: "Axes", effects: Effects, pooled: Pooled, chosen: np.ndarray) -> None:
    """A single effect: groups in the order of their least squares, moved along a line."""
    own, partial = pooled.own[chosen, 0], pooled.partial[chosen, 0]
    order = np.argsort(np.where(np.isnan(own), partial, own), kind="stable")
    own, partial, rank, few = own[order], partial[order], np.arange(len(order)), len(order) <= 40
    ax.vlines(rank, own, partial, color=style.GREY, linewidth=1 if few else 0.5)
    ax.plot(
        rank,
        own,
        "o",
        mfc="none",
        color=style.RED,
        markersize=5 if few else 3,
        label="own least squares",
    )
    ax.plot(rank, partial, "o", color=style.BLUE, markersize=5 if few else 3, label="partially pooled")
    half = 1.959964 * float(np.sqrt(pooled.Sigma[0, 0]))
    centre = float(pooled.centre[0])
    ax.axhspan(
        centre - half,
        centre + half,
        color=style.BLUE,
        alpha=0.12,
        linewidth=0,
        label="95% of groups, as learned",
    )
    ax.axhline(centre, color=ax.xaxis.label.get_color(), linewidth=1, label="average group")
    ax.set_ylabel(effects.names[0])
    if few:
        ax.set_xticks(rank, style.names(effects.grouping.labels[chosen][order]), rotation=90, fontsize="small")
    else:
        ax.set_xlabel("rank of the least squares")
