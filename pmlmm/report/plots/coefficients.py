"""Fixed effects, or the coefficients of a wide block that stand out, with their intervals."""

from typing import TYPE_CHECKING

import numpy as np

from pmlmm.design.design import Design
from pmlmm.errors import OptionError, suggest
from pmlmm.options import count
from pmlmm.posterior.labels import response_name
from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style
from pmlmm.report.tables import coefficients

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _ROW = 5.2, 0.26


def plot_coefficients(
    posterior: Posterior, wide: str | None, top: int, standardize: bool, interval: float, ax: "Axes | None"
) -> "Axes":
    """See :meth:`pmlmm.Fit.plot_coefficients`."""
    design, top = posterior.design, count("top", top)
    if wide is None and design.coefficients:
        names, mean, limits, title = _fixed(posterior, standardize, interval)
    else:
        names, mean, limits, title = _wide(posterior, _block(design, wide), top, interval)
    names, mean, limits = names[:top], mean[:top], limits[:, :top]
    ax = style.one_axes(ax, _WIDTH, 1.2 + _ROW * len(names))
    place = -np.arange(len(names))
    apart = (limits[0] > 0.0) | (limits[1] < 0.0)
    for which, colour, words in ((apart, style.BLUE, "excludes 0"), (~apart, style.GREY, "holds 0")):
        label = f"{style.percent(interval)}, {words}" if which.any() else "_none"
        ax.hlines(place[which], *limits[:, which], color=colour, linewidth=2.4, label=label)
    ax.plot(mean, place, "o", color=ax.xaxis.label.get_color(), markersize=5, label="posterior mean")
    style.zero_line(ax, vertical=True)
    ax.set_yticks(place, names)
    ax.set_ylim(place[-1] - 0.8, 0.8)
    per = "sd of the column" if standardize and title.startswith("fixed") else "unit of the column"
    ax.set_xlabel(f"change of {response_name(design)} per {per}", fontsize="small")
    ax.set_title(title, loc="left", fontsize="medium")
    style.legend_beside(ax)
    return ax


def _fixed(posterior: Posterior, standardize: bool, interval: float):
    """The formula's coefficients but the intercept, whose size says nothing of an effect."""
    design, table = posterior.design, coefficients(posterior, None, interval)
    kept = [j for j, name in enumerate(design.coefficients) if name != "Intercept"] or [0]
    size = np.std(design.X[:, kept], axis=0) if standardize else np.ones(len(kept))
    title = "fixed effects" + (", the intercept left out" if len(kept) < len(table) else "")
    values = size * table[["mean", "lower", "upper"]].to_numpy()[kept].T
    return list(table.index[kept]), values[0], values[1:], title


def _block(design: Design, wide: str | None) -> str:
    """The block of this name, or the first."""
    names = [block.name for block in design.wide]
    if not names:
        raise OptionError(
            "The model has no wide block: plot_coefficients() shows the fixed effects."
            if wide is not None
            else "The model has no coefficients: its formula has no fixed effects, and there is no wide block."
        )
    if wide is not None and wide not in names:
        raise OptionError(f"wide={wide!r} is no wide block of the model." + suggest(wide, names))
    return names[0] if wide is None else wide


def _wide(posterior: Posterior, name: str, top: int, interval: float):
    """Those with the largest ratio of mean and sd; the interval is that of a normal with this mean and sd."""
    table = coefficients(posterior, name, interval, sort=True)
    first = table.head(top)
    title = f"{name}: {style.out_of(len(first), len(table), 'columns')}, largest |mean| / sd"
    return style.names(first.index.to_numpy()), first["mean"].to_numpy(), first[["lower", "upper"]].to_numpy().T, title
