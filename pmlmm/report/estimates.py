"""Estimates with their intervals as tables of plain text."""

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.design.wide import WideBlock
from pmlmm.posterior.source import Posterior
from pmlmm.report.text import aligned, number

_ENDS = (0.025, 0.975)
_MEDIAN_AND_ENDS = (0.5, *_ENDS)
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
    draws, design = posterior.without_effects, posterior.design
    beta, names = draws["beta"].to_numpy(), ["sd", "lower", "upper"]
    fixed = pd.DataFrame(index=pd.Index(design.coefficients))
    fixed["mean"], fixed["sd"] = posterior.mean["beta"].to_numpy(), np.std(beta, axis=(0, 1), ddof=1)
    flat = beta.reshape(beta.shape[0] * beta.shape[1], len(fixed))  # there may be no fixed effect
    fixed["lower"], fixed["upper"] = np.quantile(flat, _ENDS, axis=0)
    rows: dict[str, dict[str, float]] = {}
    for term in design.terms:
        Sigma = draws[f"Sigma_{term.name}"].to_numpy()
        sds = np.sqrt(np.diagonal(Sigma, axis1=-2, axis2=-1))
        shown = np.quantile(sds, _MEDIAN_AND_ENDS, axis=(0, 1)).T
        rows |= {
            f"{term.name} {name}": dict(zip(names, shown[a], strict=True)) for a, name in enumerate(term.coefficients)
        }
    rows["residual (sigma)"] = dict(zip(names, np.quantile(draws["sigma"].to_numpy(), _MEDIAN_AND_ENDS), strict=True))
    found = {
        "Fixed effects (posterior mean, sd, 95% interval)": fixed,
        "Standard deviations (posterior medians and 95% intervals)": pd.DataFrame.from_dict(rows, orient="index"),
    }
    return {title: table for title, table in found.items() if len(table)}


def _fixed_effects(posterior: Posterior) -> list[str]:
    design, draws = posterior.design, posterior.without_effects["beta"].to_numpy()
    if not design.coefficients:
        return ["Fixed effects: none"]
    mean = posterior.mean["beta"].to_numpy()
    low, high = np.quantile(draws, _ENDS, axis=(0, 1))
    sd = np.std(draws, axis=(0, 1), ddof=1)
    shown = range(min(len(design.coefficients), _MOST_ROWS))
    rows = [(str(design.coefficients[j]), *map(number, (mean[j], sd[j], low[j], high[j]))) for j in shown]
    text = ["Fixed effects (posterior mean, sd, 95% interval)"]
    text.append(aligned([("", "mean", "sd", "2.5%", "97.5%"), *rows], text=(0,)))
    if len(design.coefficients) > _MOST_ROWS:
        text.append(f"  ... and {len(design.coefficients) - _MOST_ROWS} more in fit.mean['beta']")
    return text


def _wide_block(posterior: Posterior, block: WideBlock) -> list[str]:
    """The coefficients of a block that stand out most."""
    name = f"beta_{block.name}"
    mean, sd = posterior.mean[name].to_numpy(), posterior.sd[name].to_numpy()
    first = np.argsort(-np.abs(mean / sd), kind="stable")[:_MOST_WIDE]
    rows = [(str(block.labels[j]), *map(number, (mean[j], sd[j], mean[j] / sd[j]))) for j in first]
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
