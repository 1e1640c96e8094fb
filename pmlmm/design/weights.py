"""Weights and offset: columns, arrays beside the table or terms of the formula, checked; and those of other rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.design.columns import for_formula
from pmlmm.design.expression import Expression
from pmlmm.design.matrix import Recipe, check_finite, make_columns, quoted
from pmlmm.errors import DataError, shown, suggest

#: Names of the table's columns that hold what was given as arrays.
WEIGHTS, OFFSET = "weights=", "offset="


@dataclass(frozen=True, eq=False)
class Given:
    """What a model was given beside its columns.

    Attributes
    ----------
    weights, offset : str or None
        Column of the table with it; :data:`WEIGHTS` and :data:`OFFSET` are those of arrays.
    arrays : dict
        The arrays by these names, one value for every row of the data.
    recipes : tuple of Recipe
        The terms ``offset(...)`` of the formula.
    """

    weights: str | None = None
    offset: str | None = None
    arrays: Mapping[str, np.ndarray] | None = None
    recipes: tuple[Recipe, ...] = ()

    @property
    def columns(self) -> set[str]:
        """Columns of the data that hold weights or an offset."""
        return {name for name in (self.weights, self.offset) if name is not None} - set(self.arrays or {})

    @property
    def offset_columns(self) -> set[str]:
        """Columns that new data need for their offset."""
        own = {self.offset} & self.columns if self.offset is not None else set()
        return own.union(*(recipe.expression.columns for recipe in self.recipes))


def read_given(weights: Any, offset: Any, columns: list[str], rows: int, index: pd.Index | None) -> Given:
    """Where weights and offset of ``Model(weights=, offset=)`` are to be found.

    Parameters
    ----------
    weights, offset : str, array or Series, optional
    columns : list of str
        Of the data.
    rows : int
        Of the data.
    index : Index, optional
        Row names of the data; a Series' own must be the same.

    Raises
    ------
    DataError
        No such column, or values that are not one number for every row of the data.
    """
    arrays: dict[str, np.ndarray] = {}
    names: dict[str, str | None] = {}
    for key, given in ((WEIGHTS, weights), (OFFSET, offset)):
        names[key] = given if isinstance(given, str) else None
        if isinstance(given, str):
            if given not in columns:
                raise DataError(f"{key}{given!r} is not a column of the data." + suggest(given, columns))
        elif given is not None:
            names[key], arrays[key] = key, _values(key, given, rows, index)
    return Given(names[WEIGHTS], names[OFFSET], arrays)


def _values(key: str, given: Any, rows: int, index: pd.Index | None) -> np.ndarray:
    if isinstance(given, pd.Series) and index is not None and not given.index.equals(index):
        raise DataError(
            f"{key} is a Series whose labels are not those of the data: align it with .loc[data.index], or make it a "
            f"column and give its name."
        )
    try:
        values = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{key} is a {type(given).__name__}; give the name of a column, or one number for every row."
        ) from error
    if values.shape != (rows,):
        raise DataError(
            f"{key} has the shape {values.shape}, the data have {rows} rows: give the name of a column, or one number "
            "for every row (rows with missing values included)."
        )
    return values


def numbers_of(what: str, name: str, values: pd.Series) -> np.ndarray:
    """A column of numbers, or flags, (n,); ``what`` starts the message.

    Raises
    ------
    DataError
        Not numeric, or not finite.
    """
    numbers = for_formula(values)
    if isinstance(numbers.dtype, pd.CategoricalDtype) or numbers.dtype.kind not in "bf":
        raise DataError(
            f"{what} {name!r} is not numeric (dtype {values.dtype}): convert it, for example with pandas.to_numeric."
        )
    frame = numbers.astype(float).to_frame(name)
    check_finite(frame)
    return frame[name].to_numpy()


def mean_of(x: np.ndarray, weights: np.ndarray | None) -> Any:
    """Mean over the first axis of x, weighted where there are weights (n,)."""
    return np.mean(x, axis=0) if weights is None else np.average(x, axis=0, weights=weights)


def weights_of(given: Given, frame: pd.DataFrame) -> np.ndarray | None:
    """Weights of rows, (n,); None where there are none.

    Raises
    ------
    DataError
        One that is not positive; the row is named.
    """
    if given.weights is None:
        return None
    weights = numbers_of("The column of weights", given.weights, frame[given.weights])
    if (bad := np.flatnonzero(weights <= 0.0)).size:
        raise DataError(
            f"Weights must be positive, as the residual variance is sigma^2 / weight; {len(bad)} are not (first: row "
            f"{frame.index[bad[0]]} has {weights[bad[0]]:g}). Drop rows that are not to count."
        )
    return weights


def offset_of(given: Given, frame: pd.DataFrame) -> np.ndarray | None:
    """The known part of the linear predictor in rows that the fit may not have seen, (n,); None where there is none.

    Raises
    ------
    DataError
        It cannot be evaluated, or was given as an array: other rows have none.
    """
    parts = [recipe.columns(frame)[:, 0] for recipe in given.recipes]
    if given.offset is not None:
        if given.offset not in frame:
            raise DataError(
                "The offset of the fit was an array, so new rows have none: make it a column of both tables, and give "
                "its name, Model(..., offset='name')."
            )
        parts.append(numbers_of("The column of the offset", given.offset, frame[given.offset]))
    return sum(parts[1:], parts[0]) if parts else None


def offset_recipe(expression: Expression, frame: pd.DataFrame, context: Mapping[str, Any]) -> Recipe:
    """How a term ``offset(...)`` is made.

    Raises
    ------
    FormulaError, DataError
        Not one column of numbers.
    """
    _, recipe = make_columns(quoted(expression), frame, context)
    if len(recipe.names) != 1 or recipe.factors:
        raise DataError(f"offset({shown(expression.text)[1:-1]}) must be one column of numbers.")
    return recipe
