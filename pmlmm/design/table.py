"""Take any data frame: find the columns a formula needs, drop incomplete rows, count them."""

import ast
import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from pmlmm.errors import DataError, FormulaError, suggest


@dataclass(frozen=True)
class Table:
    """Complete rows of the needed columns, and what was left out."""

    frame: pd.DataFrame
    rows: np.ndarray
    missing: dict[str, int] = field(default_factory=dict)
    rows_given: int = 0

    @property
    def rows_dropped(self) -> int:
        """Rows with a missing value in a needed column."""
        return self.rows_given - len(self.frame)


def column_names(data: Any) -> list[str]:
    """Names of the columns of any supported table."""
    return list(_as_narwhals(data).columns)


def row_labels(data: Any) -> pd.Index | None:
    """The index of a pandas table; None for tables whose rows have no names."""
    return data.index if isinstance(data, pd.DataFrame) else None


def _as_narwhals(data: Any):
    if isinstance(data, Mapping):
        try:
            data = pd.DataFrame(data)
        except ValueError as error:
            raise DataError(f"The dict of columns does not make a table: {error}") from error
    if isinstance(data, pd.DataFrame) and not data.columns.is_unique:
        twice = sorted({str(name) for name in data.columns[data.columns.duplicated()]})
        raise DataError(
            f"The data have several columns named {', '.join(map(repr, twice))}; rename or drop all but one."
        )
    try:
        frame = nw.from_native(data, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"The data have several columns of one name; rename or drop all but one: {error}") from error
    except TypeError as error:
        raise DataError(
            f"data is a {type(data).__name__}; pass a pandas, polars or Arrow table, or a dict of columns."
        ) from error
    return frame


def variables(expression: str, columns: list[str], context: Mapping[str, Any]) -> set[str]:
    """Columns that a formulaic expression uses.

    Raises
    ------
    FormulaError
        A name that is neither a column, nor a function of formulaic, nor in ``context``.
    """
    from formulaic import Formula
    from formulaic.errors import FormulaicError
    from formulaic.parser.types import Factor
    from formulaic.transforms import TRANSFORMS

    try:
        factors = [factor for term in Formula(expression) for factor in term.factors]
    except (FormulaicError, SyntaxError) as error:
        raise FormulaError(f"Cannot read {expression!r}: {error}") from error
    known = {*TRANSFORMS, *context, *dir(builtins), "I", "np"}
    used: set[str] = set()
    for factor in factors:
        if factor.eval_method is Factor.EvalMethod.LITERAL:
            continue
        names = {factor.expr} if factor.eval_method is Factor.EvalMethod.LOOKUP else _names(factor.expr)
        used |= names & set(columns)
        unknown = sorted(names - set(columns) - known)
        if unknown:
            raise FormulaError(
                f"{unknown[0]!r} in {expression!r} is not a column of the data." + suggest(unknown[0], columns)
            )
    return used


def _names(expression: str) -> set[str]:
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError:
        return {expression}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def complete_rows(data: Any, needed: list[str], *, may_be_empty: bool = False) -> Table:
    """Needed columns as pandas, without the rows where any of them is missing.

    The index of the frame is the number of each row in the data.

    Raises
    ------
    DataError
        No rows, a column without any value, or no complete row.
    """
    given = _as_narwhals(data)
    if len(given) == 0:
        raise DataError("The data have no rows.")
    frame = given.select(needed).to_pandas().reset_index(drop=True) if needed else pd.DataFrame(index=range(len(given)))
    absent = frame.isna()
    counts = {str(name): int(count) for name, count in absent.sum().items() if count}
    empty = [name for name, count in counts.items() if count == len(frame)]
    if empty and not may_be_empty:
        raise DataError(
            f"Column {empty[0]!r} has no value in any of the {len(frame)} rows: fill it or take it out of the formula."
        )
    keep = ~absent.any(axis=1).to_numpy()
    if not keep.any() and not may_be_empty:
        raise DataError(f"None of the {len(frame)} rows is complete; missing values by column: {counts}.")
    complete = frame.loc[keep].copy()
    for name in complete.columns[[isinstance(kind, pd.CategoricalDtype) for kind in complete.dtypes]]:
        complete[name] = complete[name].cat.remove_unused_categories()
    return Table(complete, np.flatnonzero(keep), counts, len(frame))
