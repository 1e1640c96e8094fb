"""Tables of variance components, R2 and intraclass correlations."""

import numpy as np
import pandas as pd

from pmlmm.errors import OptionError
from pmlmm.options import probability
from pmlmm.posterior.source import Posterior
from pmlmm.posterior.variance import Variances, draw_variances
from pmlmm.report.tables import moments


def variance_components(posterior: Posterior, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.variance_components`."""
    level, found = probability("interval", interval), draw_variances(posterior)
    # a list, as a factor may be called "residual" too
    parts = [*found.parts.items(), *found.terms.items(), ("residual", found.residual)]
    if len(found.parts) > 1:
        parts.append(("covariance of fixed parts", found.fixed - sum(found.parts.values())))
    rows = [_component(values, found.total, level) for _, values in parts]
    return pd.DataFrame(rows, index=pd.Index([name for name, _ in parts], name="component"))


def _component(variance: np.ndarray, total: np.ndarray, level: float) -> dict[str, float]:
    share = moments(variance / total, level)
    sd = np.median(np.sqrt(variance)) if (variance >= 0.0).all() else np.nan  # a covariance has none
    return {"variance": float(np.median(variance)), "sd": float(sd)} | {
        "share": share["mean"],
        "share_sd": share["sd"],
        "share_lower": share["lower"],
        "share_upper": share["upper"],
    }


def r2(posterior: Posterior, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.r2`."""
    level = probability("interval", interval)
    return _table(r2_of(draw_variances(posterior)), "R2", level)


def icc(posterior: Posterior, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.icc`."""
    if not posterior.design.terms:
        raise OptionError("icc(): the model has no random effects, such as (1 | g), whose share of variance that is.")
    level = probability("interval", interval)
    return _table(icc_of(draw_variances(posterior)), "ICC", level)


def r2_of(found: Variances) -> dict[str, np.ndarray]:
    """Marginal and conditional R2 of every draw (Nakagawa and Schielzeth 2013, equations 26 and 30)."""
    return {
        "marginal": found.fixed / found.total,
        "conditional": (found.fixed + found.random) / found.total,
    }


def icc_of(found: Variances) -> dict[str, np.ndarray]:
    """Intraclass correlations of every draw: adjusted, unadjusted, and adjusted ones of each of several factors."""
    without_fixed = found.random + found.residual
    result = {"adjusted": found.random / without_fixed, "unadjusted": found.random / found.total}
    factors = dict.fromkeys(found.factors.values())
    if len(factors) > 1:
        result |= {f"adjusted, {factor}": found.of_factor(factor) / without_fixed for factor in factors}
    return result


def _table(values: dict[str, np.ndarray], name: str, level: float) -> pd.DataFrame:
    rows = {key: moments(draws, level) for key, draws in values.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(name)
