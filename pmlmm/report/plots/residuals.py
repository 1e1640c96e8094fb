"""Whether the residuals look like normal errors of one variance: over fitted values, by quantiles, by group."""

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from pmlmm.design.grouping import Grouping
from pmlmm.options import ends
from pmlmm.posterior.labels import response_name
from pmlmm.posterior.residuals import draw_errors
from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 3.5, 3.1
# More points than this make a cloud without structure.
_MOST, _BINS, _NAMED = 2_000, 20, 20


def plot_residuals(posterior: Posterior, interval: float) -> np.ndarray:
    """See :meth:`pmlmm.Fit.plot_residuals`."""
    fitted, errors = errors_of_draw(posterior)
    groupings = posterior.design.groupings
    shown = style.spread_out(len(errors), _MOST, posterior.learned.options.random_seed)
    axes = style.panels(2 + len(groupings), _WIDTH, _HEIGHT, most=3)
    _over_fitted(axes[0], fitted, errors, shown, interval)
    axes[0].set_xlabel(f"fitted {response_name(posterior.design)}")
    _quantiles(axes[1], errors, shown, interval)
    for ax, grouping in zip(axes[2:], groupings, strict=True):
        _by_group(ax, grouping, errors, interval)
    title = f"residuals of one posterior draw, over sigma: {style.out_of(len(shown), len(errors), 'rows')}"
    style.legend_above(axes, title)
    return axes


def errors_of_draw(posterior: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """Fitted values and standardised residuals of one draw of all parameters, both (n,).

    If the model is right these residuals are independent standard normal; those of posterior means are neither.
    """
    fitted, errors = draw_errors(posterior, np.random.default_rng([posterior.learned.options.random_seed, 7]), 1)
    return fitted[0], errors[0]


def _over_fitted(ax: "Axes", fitted: np.ndarray, errors: np.ndarray, shown: np.ndarray, interval: float) -> None:
    """Points, with the quantiles of bins of equal numbers of rows against those of a normal."""
    ink = ax.xaxis.label.get_color()
    ax.plot(fitted[shown], errors[shown], "o", color=ink, markersize=2.5, alpha=0.45, markeredgewidth=0, label="rows")
    limit = stats.norm.ppf(ends(interval)[1])
    ax.axhspan(
        -limit,
        limit,
        color=style.GREY,
        alpha=0.13,
        linewidth=0,
        label=f"{style.percent(interval)} if the model is right",
    )
    style.zero_line(ax)
    order = np.argsort(fitted, kind="stable")
    bins = np.array_split(order, max(1, min(_BINS, len(order) // 30)))
    if len(bins) > 1:
        middle = [np.median(fitted[rows]) for rows in bins]
        quantiles = np.array([np.quantile(errors[rows], [ends(interval)[0], 0.5, ends(interval)[1]]) for rows in bins])
        for values, line in zip(quantiles.T, ("--", "-", "--"), strict=True):
            label = "median and same interval of the rows" if line == "-" else None
            ax.plot(middle, values, line, color=style.RED, linewidth=1.4, label=label)
    ax.set_ylabel("standardised residual")


def _quantiles(ax: "Axes", errors: np.ndarray, shown: np.ndarray, interval: float) -> None:
    """Sorted residuals less what is expected of normal ones, with the interval of each."""
    n = len(errors)
    rank = 1 + shown
    expected = stats.norm.ppf((rank - 0.375) / (n + 0.25))
    lower, upper = (stats.norm.ppf(stats.beta.ppf(p, rank, n + 1 - rank)) for p in ends(interval))
    ax.fill_between(expected, lower, upper, color=style.GREY, alpha=0.13, linewidth=0)
    ax.plot(expected, expected, color=style.GREY, linewidth=0.8, linestyle=":")
    ax.plot(expected, np.sort(errors)[shown], "o", color=style.BLUE, markersize=3, label="sorted residuals")
    ax.set(xlabel="normal quantile", ylabel="sorted residual")


def _by_group(ax: "Axes", grouping: Grouping, errors: np.ndarray, interval: float) -> None:
    """Root mean square residual of each group with the interval that its number of rows allows."""
    m = grouping.n_groups
    counts = np.bincount(grouping.codes, minlength=m)
    size = np.sqrt(np.bincount(grouping.codes, weights=errors**2, minlength=m) / counts)
    order, place = np.argsort(size, kind="stable"), np.arange(m)
    lower, upper = (np.sqrt(stats.chi2.ppf(p, counts) / counts)[order] for p in ends(interval))
    if m <= _NAMED:
        ax.vlines(place, lower, upper, color=style.GREY, alpha=0.3, linewidth=5)
    else:
        ax.fill_between(place, lower, upper, color=style.GREY, alpha=0.3, linewidth=0, step="mid")
    style.zero_line(ax, 1.0)
    ax.plot(place, size[order], "o", color=style.BLUE, markersize=4 if m <= 100 else 1.5, label="groups")
    ax.set(ylabel="root mean square", ylim=(0, None))
    if m <= _NAMED:
        ax.set_xticks(place, style.names(grouping.labels[order]), rotation=90, fontsize="small")
        ax.set_xlabel(grouping.factor)
    else:
        ax.set_xlabel(f"{grouping.factor}: all {m:,} groups by rank")
