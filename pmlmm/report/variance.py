"""Tables of variance components, R2 and intraclass correlations."""

import numpy as np
import pandas as pd

from pmlmm.errors import OptionError
from pmlmm.posterior.source import Posterior
from pmlmm.posterior.variance import Variances, draw_variances
from pmlmm.report.tables import described


def variance_components(posterior: Posterior, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.variance_components`."""
    found = draw_variances(posterior)
    parts = found.parts | found.terms | {"residual": found.residual}
    if len(found.parts) > 1:
        parts["covariance of fixed parts"] = found.fixed - sum(found.parts.values())
    table = _table(parts, "component", interval, over=found.total).add_prefix("share_")
    table = table.rename(columns={"share_mean": "share"})
    table.insert(0, "variance", [np.median(values) for values in parts.values()])
    table.insert(1, "sd", [_median_sd(values) for values in parts.values()])
    return table


def _median_sd(variance: np.ndarray) -> float:
    return float(np.median(np.sqrt(variance))) if (variance >= 0.0).all() else np.nan  # a covariance has none


def r2(posterior: Posterior, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.r2`."""
    return _table(r2_of(draw_variances(posterior)), "R2", interval)


def icc(posterior: Posterior, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.icc`."""
    if not posterior.design.terms:
        raise OptionError("icc(): the model has no random effects, such as (1 | g), whose share of variance that is.")
    return _table(icc_of(draw_variances(posterior)), "ICC", interval)


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


def _table(values: dict[str, np.ndarray], name: str, interval: float, over: np.ndarray | float = 1.0) -> pd.DataFrame:
    """Of draws by name, divided by those of ``over``."""
    draws = np.column_stack([each / over for each in values.values()])
    return described(np.mean(draws, axis=0), draws, pd.Index(list(values), name=name), interval)
