"""What all pictures share: colours, figures and axes, words for what is left out.

Background and ink are those of the user's Matplotlib style, which is never changed. The colours are those of Okabe and
Ito that stand out on white and on black, and that the colour-blind can tell apart; what matters differs in shape too.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pmlmm.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0a84c9", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#7d7d7d"
#: In the order in which they are taken for several lines of one picture.
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P")
#: Draws the eye less than what stands in front of it.
FAINT = 0.22
# Inches that an entry of a legend takes, the legend above the axes, and a figure is wide at least.
_ENTRY, _ABOVE, _LEAST = 1.7, 0.9, 5.0


def pyplot():
    """The module, or an error that says how to get it."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise OptionError("Plots need matplotlib: pip install 'pmlmm[plots]'.") from None
    return pyplot


def new_axes(rows: int, columns: int, width: float, height: float, **options: Any) -> np.ndarray:
    """A figure's axes (rows, columns), each of so many inches; many open figures are no reason to warn."""
    plt = pyplot()
    with plt.rc_context({"figure.max_open_warning": 0}):
        _, axes = plt.subplots(
            rows, columns, figsize=(width * columns, height * rows), squeeze=False, layout="constrained", **options
        )
    for ax in axes.flat:
        plain(ax)
    return axes


def one_axes(ax: "Axes | None", width: float, height: float) -> "Axes":
    """The axes given, or those of a new figure."""
    pyplot()
    return new_axes(1, 1, width, height)[0, 0] if ax is None else ax


def panels(number: int, width: float, height: float, most: int = 4, **options: Any) -> np.ndarray:
    """So many axes in rows, (number,); those left over are taken away."""
    columns = 3 if number in (5, 6) else min(number, most)
    rows = -(-number // columns)
    width, height = max(width, _LEAST / columns), height + _ABOVE / rows
    axes = new_axes(rows, columns, width, height, **options)
    for ax in axes.flat[number:]:
        ax.remove()
    if options.get("sharex"):  # the lowest of each column has the numbers
        for ax in axes.flat[max(0, number - columns) : number]:
            ax.tick_params(labelbottom=True)
    return axes.flat[:number]


def plain(ax: "Axes") -> None:
    """Without the frame's upper and right side."""
    ax.spines[["top", "right"]].set_visible(False)


def zero_line(ax: "Axes", at: float = 0.0, *, vertical: bool = False) -> None:
    """A thin line that estimates are compared to."""
    (ax.axvline if vertical else ax.axhline)(at, color=GREY, linewidth=0.8, linestyle=":", zorder=0)


def legend_above(axes: Sequence["Axes"] | np.ndarray, title: str | None = None) -> None:
    """One legend for all axes of a figure, and what the figure shows, over them."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    figure: Any = axes[0].figure
    columns = max(1, min(len(found), int(figure.get_figwidth() / _ENTRY)))
    drawn = figure.legend(
        list(found.values()),
        list(found),
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        title=title,
        fontsize="small",
    )
    handles: list[Any] = drawn.legend_handles
    for handle in handles:  # those of thousands of groups are too thin to be seen
        if hasattr(handle, "set_linewidth"):
            handle.set_linewidth(np.maximum(handle.get_linewidth(), 1.5))


def legend_beside(ax: "Axes") -> None:
    """On the right, where a picture has no room inside."""
    legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def legend(ax: "Axes", **options: Any) -> None:
    """Of one axes, without a frame."""
    ax.legend(**({"frameon": False, "fontsize": "small", "loc": "best"} | options))


def names(labels: np.ndarray) -> list[str]:
    """Labels of groups as text: dates without their time of day where that is midnight."""
    labels = np.asarray(labels)
    if labels.dtype.kind == "M":
        days = labels.astype("datetime64[D]")
        return [str(x) for x in (days if (days == labels).all() else labels.astype("datetime64[s]"))]
    return [str(x) for x in labels]


def out_of(shown: int, total: int, what: str) -> str:
    """How many of what there is are shown."""
    return f"all {total:,} {what}" if shown == total else f"{shown:,} of {total:,} {what}"


def spread_out(total: int, most: int, seed: int) -> np.ndarray:
    """Numbers of at most so many of the groups, drawn at random, in their order."""
    if total <= most:
        return np.arange(total)
    return np.sort(np.random.default_rng([seed, 11]).choice(total, most, replace=False))


def percent(interval: float) -> str:
    """The probability of an interval in words."""
    return f"{100 * interval:g}% interval"
