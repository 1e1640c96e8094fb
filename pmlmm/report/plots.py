"""Pictures; matplotlib is an extra."""

from typing import TYPE_CHECKING

import numpy as np

from pmlmm.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that differ in print and for the colour-blind (Okabe and Ito), and line styles that do without colour.
_STYLES = {
    "NUTS": {"color": "#000000", "linestyle": "-"},
    "Laplace": {"color": "#D55E00", "linestyle": "--"},
    "PSIS": {"color": "#0072B2", "linestyle": "-."},
    "integrated": {"color": "#009E73", "linestyle": "-."},
}
_SHOWN = (0.001, 0.995)


def overlay(names: list[str], methods: dict[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """Densities of weighted draws (draws, parameters) by method, an axis a parameter."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise OptionError("Plots need matplotlib: pip install matplotlib.") from None
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 2.6 * rows), squeeze=False, layout="constrained"
    )
    for j, (axis, name) in enumerate(zip(axes.flat, names, strict=False)):
        reference = methods["NUTS"][0][:, j]
        for method, (values, weights) in methods.items():
            grid, density = _density(values[:, j], weights)
            axis.plot(grid, density, label=method, linewidth=1.6, **_STYLES[method])
        axis.set(xlim=np.quantile(reference, _SHOWN), yticks=[], xlabel=name)
        axis.spines[["left", "right", "top"]].set_visible(False)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    axes.flat[0].legend(frameon=False, fontsize="small")
    return figure


def _density(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel density on a grid; the bandwidth is Silverman's for the effective number of draws."""
    from scipy.stats import gaussian_kde

    low, high = np.quantile(values, _SHOWN)
    grid = np.linspace(low - 0.15 * (high - low), high + 0.15 * (high - low), 300)
    return grid, gaussian_kde(values, weights=weights, bw_method="silverman")(grid)
