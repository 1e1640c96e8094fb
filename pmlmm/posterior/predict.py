"""Predictions for the rows of the fit or for new data."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pmlmm.design.wide import WideBlock
from pmlmm.errors import OptionError
from pmlmm.posterior.new_rows import Rows, fitted_rows, new_rows
from pmlmm.posterior.source import Posterior


def predict(posterior: Posterior, data: Any, penalized: Mapping[str, Any] | None, new_groups: str) -> np.ndarray:
    """Posterior mean of the linear predictor; see :meth:`pmlmm.Fit.predict`."""
    if new_groups not in ("error", "population"):
        raise OptionError(f"predict(new_groups={new_groups!r}): choose 'error' or 'population'.")
    design = posterior.design
    if data is None:
        if penalized is not None:
            raise OptionError("predict(penalized=...) needs data with as many rows: the formula's columns and factors.")
        return _predictor(posterior, fitted_rows(design))
    rows = new_rows(design, data, penalized, unseen=new_groups == "population")
    result = np.full(rows.table.rows_given, np.nan)
    result[rows.table.rows] = _predictor(posterior, rows)
    return result


def _predictor(posterior: Posterior, rows: Rows) -> np.ndarray:
    mean = posterior.mean
    total = rows.X @ mean["beta"].to_numpy() + _wide(posterior, rows.wide)
    for term, Z in zip(posterior.design.terms, rows.Zs, strict=True):
        gamma, groups = mean[f"gamma_{term.name}"].to_numpy(), rows.codes[term.factor]
        total = total + np.where(groups >= 0, np.sum(Z * gamma[groups], axis=1), 0.0)
    return total


def _wide(posterior: Posterior, blocks: tuple[WideBlock, ...]) -> np.ndarray | float:
    """What wide blocks add to the linear predictor; their centring is in the intercept."""
    total: np.ndarray | float = 0.0
    for block in blocks:
        beta = posterior.mean[f"beta_{block.name}"].to_numpy()
        total = total + sum(values @ beta[part] for part, values in block.chunks())
    return total
