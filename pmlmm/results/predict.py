"""Predictions for the rows of the fit or for new data."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pmlmm.design.design import Design, check_finite
from pmlmm.design.grouping import Grouping
from pmlmm.design.table import Table, column_names, complete_rows, row_labels, variables
from pmlmm.design.wide import WideBlock, build_wide
from pmlmm.errors import DataError, OptionError, suggest

if TYPE_CHECKING:
    from pmlmm.results.fit import Fit


def predict(fit: "Fit", data: Any, penalized: Mapping[str, Any] | None, new_groups: str) -> np.ndarray:
    """Posterior mean of the linear predictor; see :meth:`pmlmm.Fit.predict`."""
    if new_groups not in ("error", "population"):
        raise OptionError(f"predict(new_groups={new_groups!r}): choose 'error' or 'population'.")
    design = fit.model.design
    if data is None:
        if penalized is not None:
            raise OptionError("predict(penalized=...) needs data with as many rows: the formula's columns and factors.")
        codes = {grouping.factor: grouping.codes for grouping in design.groupings}
        return _linear(fit, design.X, [term.Z for term in design.terms], codes) + _wide(fit, design.wide)
    table = complete_rows(data, _needed(fit, data), may_be_empty=True)
    if not len(table.frame):
        return np.full(table.rows_given, np.nan)
    X = _matrix(fit, design.parsed.fixed, design.spec, table.frame)
    Zs = [_matrix(fit, term.expression, term.spec, table.frame) for term in design.terms]
    codes = {g.factor: _codes(g, table.frame, new_groups) for g in design.groupings}
    result = np.full(table.rows_given, np.nan)
    blocks = _new_blocks(design, penalized, table, row_labels(data))
    result[table.rows] = _linear(fit, X, Zs, codes) + _wide(fit, blocks)
    return result


def _new_blocks(
    design: Design, penalized: Mapping[str, Any] | None, table: Table, index: pd.Index | None
) -> tuple[WideBlock, ...]:
    """The wide blocks' columns for new rows, in the order of the fit."""
    if penalized is not None and not isinstance(penalized, Mapping):
        raise DataError(
            f"predict(penalized=...) is a {type(penalized).__name__}; it must be a dict from names to matrices."
        )
    given = dict(penalized or {})
    for block in design.wide:
        if block.name not in given:
            raise DataError(
                f"The model has a wide block {block.name!r}: predict(data, penalized={{{block.name!r}: ...}})."
            )
    for name in given:
        if name not in {block.name for block in design.wide}:
            raise DataError(f"The model has no wide block {name!r}." + suggest(name, [b.name for b in design.wide]))
    blocks = build_wide({b.name: given[b.name] for b in design.wide}, table, index, set(), constant_allowed=True)
    for block, new in zip(design.wide, blocks, strict=True):
        if not np.array_equal(block.labels, new.labels):
            raise DataError(
                f"The wide block {block.name!r} must have the columns of the fit, in their order: "
                + _difference(block.labels, new.labels)
            )
    return blocks


def _difference(fitted: np.ndarray, given: np.ndarray) -> str:
    if len(fitted) != len(given):
        return f"{len(fitted)} columns, not {len(given)}."
    if fitted.dtype.kind != given.dtype.kind:
        return "pass it as in the fit, with column names or without."
    first = int(np.argmax(fitted != given))
    return f"column {first + 1} is {str(fitted[first])!r}, not {str(given[first])!r}."


def _wide(fit: "Fit", blocks: tuple[WideBlock, ...]) -> np.ndarray | float:
    """What wide blocks add to the linear predictor; their centring is in the intercept."""
    total: np.ndarray | float = 0.0
    for block in blocks:
        beta = fit.mean[f"beta_{block.name}"].to_numpy()
        total = total + sum(values @ beta[part] for part, values in block.chunks())
    return total


def _needed(fit: "Fit", data: Any) -> list[str]:
    design, columns = fit.model.design, column_names(data)
    expressions = [design.parsed.fixed, *(term.expression for term in design.terms)]
    used = set().union(*(variables(text, columns, fit.model._context) for text in expressions))
    for name in dict.fromkeys(name for grouping in design.groupings for name in grouping.columns):
        if name not in columns:
            raise DataError(f"The new data have no column {name!r}." + suggest(name, columns))
        used.add(name)
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


def _codes(grouping: Grouping, frame: pd.DataFrame, new_groups: str) -> np.ndarray:
    """Group of each row, -1 for one that the fit has not seen."""
    codes = grouping.find(frame)
    unknown = frame[list(grouping.columns)][codes < 0].drop_duplicates()
    if len(unknown) and new_groups == "error":
        first = ":".join(map(str, unknown.iloc[0]))
        raise DataError(
            f"{grouping.factor!r} has {len(unknown)} groups that the fit has not seen (first: {first}). "
            "Use new_groups='population' to predict them with gamma = 0."
        )
    return codes


def _linear(fit: "Fit", X: np.ndarray, Zs: list[np.ndarray], codes: dict[str, np.ndarray]) -> np.ndarray:
    mean = fit.mean
    total = X @ mean["beta"].to_numpy()
    for term, Z in zip(fit.model.design.terms, Zs, strict=True):
        gamma, groups = mean[f"gamma_{term.name}"].to_numpy(), codes[term.factor]
        total = total + np.where(groups >= 0, np.sum(Z * gamma[groups], axis=1), 0.0)
    return total
