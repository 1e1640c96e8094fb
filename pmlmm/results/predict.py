"""Predictions for the rows of the fit or for new data."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pmlmm.design.design import check_finite
from pmlmm.design.table import column_names, complete_rows, variables
from pmlmm.errors import DataError, OptionError, suggest

if TYPE_CHECKING:
    from pmlmm.results.fit import Fit


def predict(fit: "Fit", data: Any, new_groups: str) -> np.ndarray:
    """Posterior mean of the linear predictor; see :meth:`pmlmm.Fit.predict`."""
    if new_groups not in ("error", "population"):
        raise OptionError(f"predict(new_groups={new_groups!r}): choose 'error' or 'population'.")
    design = fit.model.design
    if data is None:
        codes = None if design.grouping is None else design.grouping.codes
        return _linear(fit, design.X, [term.Z for term in design.terms], codes)
    table = complete_rows(data, _needed(fit, data), may_be_empty=True)
    if not len(table.frame):
        return np.full(table.rows_given, np.nan)
    X = _matrix(fit, design.parsed.fixed, design.spec, table.frame)
    Zs = [_matrix(fit, term.expression, term.spec, table.frame) for term in design.terms]
    codes = None if design.grouping is None else _codes(fit, table.frame, new_groups)
    result = np.full(table.rows_given, np.nan)
    result[table.rows] = _linear(fit, X, Zs, codes)
    return result


def _needed(fit: "Fit", data: Any) -> list[str]:
    design, columns = fit.model.design, column_names(data)
    expressions = [design.parsed.fixed, *(term.expression for term in design.terms)]
    used = set().union(*(variables(text, columns, fit.model._context) for text in expressions))
    if design.grouping is not None:
        factor = design.grouping.factor
        if factor not in columns:
            raise DataError(f"The new data have no column {factor!r}." + suggest(factor, columns))
        used.add(factor)
    return [name for name in columns if name in used]


def _matrix(fit: "Fit", expression: str, spec: Any, frame: pd.DataFrame) -> np.ndarray:
    from formulaic.errors import DataMismatchWarning, FormulaicError

    if not spec.column_names:
        return np.empty((len(frame), 0))
    try:
        with warnings.catch_warnings():
            # a level that the fit has not seen would silently be coded as the reference level
            warnings.simplefilter("error", DataMismatchWarning)
            matrix = spec.get_model_matrix(frame, context={"np": np, **fit.model._context})
    except (FormulaicError, DataMismatchWarning, ValueError, TypeError) as error:
        raise DataError(f"Cannot evaluate {expression!r} on the new data: {error}") from error
    check_finite(matrix)
    return matrix.to_numpy(dtype=float)


def _codes(fit: "Fit", frame: pd.DataFrame, new_groups: str) -> np.ndarray:
    """Group of each row, -1 for one that the fit has not seen."""
    grouping = fit.model.design.grouping
    codes = pd.Index(grouping.values).get_indexer(frame[grouping.factor])
    unknown = frame[grouping.factor][codes < 0].unique()
    if len(unknown) and new_groups == "error":
        raise DataError(
            f"{grouping.factor!r} has {len(unknown)} groups that the fit has not seen (first: {unknown[0]}). "
            "Use new_groups='population' to predict them with gamma = 0."
        )
    return codes


def _linear(fit: "Fit", X: np.ndarray, Zs: list[np.ndarray], codes: np.ndarray | None) -> np.ndarray:
    mean = fit.mean
    total = X @ mean["beta"].to_numpy()
    for term, Z in zip(fit.model.design.terms, Zs, strict=True):
        gamma = mean[f"gamma_{term.name}"].to_numpy()
        total = total + np.where(codes >= 0, np.sum(Z * gamma[codes], axis=1), 0.0)
    return total
