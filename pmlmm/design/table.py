"""Take any data frame: pick the columns that a formula needs, drop incomplete rows, count them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from pmlmm.design.columns import plain
from pmlmm.errors import DataError


@dataclass(frozen=True)
class Table:
    """Complete rows of the needed columns, and what was left out.

    Attributes
    ----------
    frame : DataFrame
        Its index is ``rows``.
    rows : (n,) int array
        Which of the rows given they are.
    missing : dict
        Missing values by column.
    rows_given : int
    index : Index, optional
        Labels of the rows given, where they have any.
    """

    frame: pd.DataFrame
    rows: np.ndarray
    missing: dict[str, int] = field(default_factory=dict)
    rows_given: int = 0
    index: pd.Index | None = None

    @property
    def rows_dropped(self) -> int:
        """Rows with a missing value in a needed column."""
        return self.rows_given - len(self.frame)

    @property
    def labels_given(self) -> pd.Index:
        """Labels of the rows given, numbers where they have none."""
        return pd.RangeIndex(self.rows_given) if self.index is None else self.index

    def part(self, needed: list[str]) -> "Table":
        """The same rows with these columns alone."""
        return replace(self, frame=self.frame[needed])

    def aligned(self, values: np.ndarray) -> pd.DataFrame:
        """Values of the complete rows (rows, columns) as a table of all rows given, nan where these are incomplete."""
        result = np.full((self.rows_given, values.shape[1]), np.nan)
        result[self.rows] = values
        return pd.DataFrame(result, index=self.labels_given)


def column_names(data: Any) -> list[str]:
    """Names of the columns of any supported table, or of one that was made before."""
    if isinstance(data, Table):
        return list(data.frame.columns)
    return list(_as_narwhals(data).columns)


def row_labels(data: Any) -> pd.Index | None:
    """The index of a pandas table; None for tables whose rows have no names."""
    if isinstance(data, Table):
        return data.index
    return data.index if isinstance(data, pd.DataFrame) else None


def row_count(data: Any) -> int:
    """Rows of any supported table."""
    if isinstance(data, Table):
        return data.rows_given
    return len(_as_narwhals(data))


def _as_narwhals(data: Any):
    if isinstance(data, Mapping):
        try:
            data = pd.DataFrame(data)
        except ValueError as error:
            raise DataError(f"The dict of columns does not make a table: {error}") from error
    if isinstance(data, pd.DataFrame) and not all(isinstance(name, str) for name in data.columns):
        data = data.set_axis(data.columns.map(str), axis=1)  # formulas name columns by text
    if isinstance(data, pd.DataFrame) and not data.columns.is_unique:
        twice = sorted({str(name) for name in data.columns[data.columns.duplicated()]})
        raise DataError(
            f"The data have several columns named {', '.join(map(repr, twice))}; rename or drop all but one."
        )
    if type(data).__module__.startswith("pyarrow") and hasattr(data, "replace_schema_metadata"):
        data = data.replace_schema_metadata()  # what pandas once noted there of types it cannot always read again
    try:
        frame = nw.from_native(data, eager_only=True)
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"The data have several columns of one name; rename or drop all but one: {error}") from error
    except TypeError as error:
        raise DataError(
            f"data is a {type(data).__name__}; pass a pandas, polars or Arrow table, or a dict of columns."
        ) from error
    return frame


def complete_rows(
    data: Any,
    needed: list[str],
    *,
    optional: list[str] | None = None,
    beside: Mapping[str, np.ndarray] | None = None,
    may_be_empty: bool = False,
) -> Table:
    """Needed columns as pandas, without the rows where any of them is missing.

    The index of the frame is the number of each row in the data. ``optional`` columns come too, gaps included;
    ``beside`` are needed columns, (rows,), that are not in the data.

    Raises
    ------
    DataError
        No rows, a column without any value, or no complete row.
    """
    if isinstance(data, Table):  # of a saved fit
        return data.part([*needed, *(optional or []), *(beside or [])])
    given = _as_narwhals(data)
    if len(given) == 0 and not may_be_empty:
        raise DataError("The data have no rows.")
    wanted = [*needed, *(optional or [])]
    frame = given.select(wanted).to_pandas().reset_index(drop=True) if wanted else pd.DataFrame(index=range(len(given)))
    if beside:
        frame, needed = frame.assign(**beside), [*needed, *beside]
    absent = pd.DataFrame({name: np.asarray(frame[name].isna()) for name in needed}, index=frame.index, dtype=bool)
    counts = {str(name): int(count) for name, count in absent.sum().items() if count}
    empty = [name for name, count in counts.items() if count == len(frame)]
    if empty and not may_be_empty:
        raise DataError(
            f"Column {empty[0]!r} has no value in any of the {len(frame)} rows: fill it or take it out of the formula."
        )
    keep = ~absent.any(axis=1).to_numpy()
    if not keep.any() and not may_be_empty:
        raise DataError(f"None of the {len(frame)} rows is complete; missing values by column: {counts}.")
    complete = frame.loc[keep]
    unordered = _without_order(given)
    columns = {name: _used_levels(plain(complete[name]), name in unordered) for name in complete.columns}
    return Table(
        pd.DataFrame(columns, index=complete.index), np.flatnonzero(keep), counts, len(frame), row_labels(data)
    )


def _without_order(given: Any) -> set[str]:
    """Categoricals of polars have their levels in order of appearance; its Enums have an order of their own."""
    if not given.implementation.is_polars():
        return set()
    return {name for name, kind in given.schema.items() if kind == nw.Categorical}


def _used_levels(values: pd.Series, sort: bool) -> pd.Series:
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return values
    used = values.cat.remove_unused_categories()
    return used.cat.reorder_categories(sorted(used.cat.categories)) if sort else used
