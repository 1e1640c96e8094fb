"""Estimates with their intervals as tables of plain text."""

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.design.wide import WideBlock
from pmlmm.options import ends
from pmlmm.posterior.source import Posterior
from pmlmm.report.tables import coefficients, covariances
from pmlmm.report.text import aligned, number

_INTERVAL = 0.95
_MEDIAN_AND_ENDS = (0.5, *ends(_INTERVAL))
_MOST_ROWS = 20
_MOST_WIDE = 5


def estimates(posterior: Posterior) -> str:
    """Fixed effects, the coefficients of wide blocks that stand out, standard deviations and correlations."""
    text = _fixed_effects(posterior)
    for block in posterior.design.wide:
        text += ["", *_wide_block(posterior, block)]
    return "\n".join([*text, "", *_deviations(posterior)])


def intervals(posterior: Posterior) -> dict[str, pd.DataFrame]:
    """Fixed effects, and standard deviations, with 95% intervals, by title; those without rows are left out."""
    fixed = coefficients(posterior, None, _INTERVAL).drop(columns="probability_of_sign").rename_axis(None)
    table = covariances(posterior, _INTERVAL).query("kind == 'sd'")
    sds = table[["median", "lower", "upper"]].rename(columns={"median": "sd"})
    sds.index = pd.Index([*(table["term"] + " " + table["effect"])[:-1], "residual (sigma)"])
    found = {
        "Fixed effects (posterior mean, sd, 95% interval)": fixed,
        "Standard deviations (posterior medians and 95% intervals)": sds,
    }
    return {title: table for title, table in found.items() if len(table)}


def _fixed_effects(posterior: Posterior) -> list[str]:
    table = coefficients(posterior, None, _INTERVAL)
    if not len(table):
        return ["Fixed effects: none"]
    shown = table[["mean", "sd", "lower", "upper"]].head(_MOST_ROWS)
    rows = [(str(name), *map(number, values)) for name, *values in shown.itertuples()]
    text = ["Fixed effects (posterior mean, sd, 95% interval)"]
    text.append(aligned([("", "mean", "sd", "2.5%", "97.5%"), *rows], text=(0,)))
    if len(table) > _MOST_ROWS:
        text.append(f"  ... and {len(table) - _MOST_ROWS} more in fit.mean['beta']")
    return text


def _wide_block(posterior: Posterior, block: WideBlock) -> list[str]:
    """The coefficients of a block that stand out most."""
    name = f"beta_{block.name}"
    first = coefficients(posterior, block.name, _INTERVAL, sort=True).head(_MOST_WIDE)
    pairs = first[["mean", "sd"]].itertuples()
    rows = [(str(label), *map(number, (mean, sd, mean / sd))) for label, mean, sd in pairs]
    return [
        f"{block.name}: {block.p} coefficients in fit.mean['{name}'] and fit.sd['{name}']; largest |mean / sd|",
        aligned([("", "mean", "sd", "ratio"), *rows], text=(0,)),
    ]


def _deviations(posterior: Posterior) -> list[str]:
    """Medians, as the mean of a variance is far from its middle where groups are few."""
    draws, design = posterior.without_effects, posterior.design
    rows: list[tuple[str, ...]] = [("", "sd", "2.5%", "97.5%", "correlations" if _correlated(design) else "")]
    for term in design.terms:
        Sigma = draws[f"Sigma_{term.name}"].to_numpy()
        sds = np.sqrt(np.diagonal(Sigma, axis1=-2, axis2=-1))
        middle = np.mean(Sigma / (sds[..., :, None] * sds[..., None, :]), axis=(0, 1))
        shown = np.quantile(sds, _MEDIAN_AND_ENDS, axis=(0, 1)).T
        for a, name in enumerate(term.coefficients):
            correlations = " ".join(f"{middle[a, b]:6.2f}" for b in range(a))
            rows.append((f"{term.name} {name}", *map(number, shown[a]), correlations))
    rows.append(("residual (sigma)", *map(number, np.quantile(draws["sigma"].to_numpy(), _MEDIAN_AND_ENDS)), ""))
    what = "posterior medians and 95% intervals" + ("; mean correlations" if _correlated(design) else "")
    return [f"Standard deviations ({what})", aligned(rows, text=(0, 4))]


def _correlated(design: Design) -> bool:
    return any(term.q > 1 for term in design.terms)
