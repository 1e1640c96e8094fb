"""Densities of several approximations on top of each other."""

from typing import TYPE_CHECKING

import numpy as np

from pmlmm.report.plots.style import BLUE, GREEN, GREY, RED, legend, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Line styles do without colour.
_STYLES = {
    "NUTS": {"color": GREY, "linestyle": "-"},
    "Laplace": {"color": RED, "linestyle": "--"},
    "PSIS": {"color": BLUE, "linestyle": "-."},
    "integrated": {"color": GREEN, "linestyle": "-."},
}
_SHOWN = (0.001, 0.995)


def overlay(names: list[str], methods: dict[str, tuple[np.ndarray, np.ndarray]]) -> "Figure":
    """Densities of weighted draws (draws, parameters) by method, an axis a parameter."""
    axes = panels(len(names), 3.6, 2.6, most=3)
    for j, (axis, name) in enumerate(zip(axes, names, strict=True)):
        reference = methods["NUTS"][0][:, j]
        for method, (values, weights) in methods.items():
            grid, density = _density(values[:, j], weights)
            axis.plot(grid, density, label=method, linewidth=1.6, **_STYLES[method])
        axis.set(xlim=np.quantile(reference, _SHOWN), yticks=[], xlabel=name)
        axis.spines["left"].set_visible(False)
    legend(axes[0])
    return axes[0].figure


def _density(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel density on a grid; the bandwidth is Silverman's for the effective number of draws."""
    from scipy.stats import gaussian_kde

    low, high = np.quantile(values, _SHOWN)
    grid = np.linspace(low - 0.15 * (high - low), high + 0.15 * (high - low), 300)
    return grid, gaussian_kde(values, weights=weights, bw_method="silverman")(grid)
