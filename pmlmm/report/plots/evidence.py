"""What the data and the hyperprior say of one hyperparameter: its evidence profile."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pmlmm.posterior.source import Posterior
from pmlmm.report.plots import style
from pmlmm.report.profile import evidence_profile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Nats below the maximum that are shown.
_DEPTH = 6.0
# Values that span more than this factor are shown on a logarithmic axis.
_DECADES = 20.0


def plot_evidence(
    posterior: Posterior, hyperparameters: pd.DataFrame, name: str, points: int, width: float, ax: "Axes | None"
) -> "Axes":
    """See :meth:`pmlmm.Fit.plot_evidence`; ``hyperparameters`` is the fit's table of them."""
    profile = evidence_profile(posterior.learned, name, points, width)
    ax = style.one_axes(ax, 5.2, 3.4)
    for label, values, line in _lines(profile):
        ax.plot(profile["value"], values - np.nanmax(values), label=label, **line)
    value, lower, upper = hyperparameters.loc[name, ["value", "lower", "upper"]]
    if np.isfinite([lower, upper]).all():
        ax.axvspan(lower, upper, color=style.BLUE, alpha=0.12, linewidth=0, label="95% interval", zorder=0)
    point = "learned value" if posterior.integrated is None else "posterior median"
    ax.axvline(value, color=style.BLUE, linewidth=1, label=f"{point}, {value:.3g}")
    if profile["value"].min() > 0.0 and profile["value"].max() > _DECADES * profile["value"].min():
        ax.set_xscale("log")
    ax.set(xlabel=name, ylabel="log-density below its maximum (nats)", ylim=(-_DEPTH, 0.3))
    ax.set_title("the other hyperparameters at their best", loc="left", fontsize="medium")
    style.legend(ax)
    return ax


def _lines(profile: pd.DataFrame):
    """Evidence, importance-sampled where that was done, hyperprior, and both together."""
    sampled = profile["log_evidence_psis"].notna().all()
    evidence = profile["log_evidence_psis" if sampled else "log_evidence"].to_numpy()
    prior = profile["log_hyperprior"].to_numpy()
    if not prior.any():
        return [("evidence", evidence, {"color": style.BLUE, "marker": "o", "markersize": 4})]
    return [
        (
            "evidence (what the data say)",
            evidence,
            {"color": style.RED, "linestyle": "--", "marker": "s", "markersize": 3},
        ),
        ("hyperprior", prior, {"color": style.GREY, "linestyle": ":"}),
        ("both together", evidence + prior, {"color": style.BLUE, "marker": "o", "markersize": 4, "linewidth": 2}),
    ]
