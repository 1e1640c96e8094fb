"""Wide blocks: penalised columns that come as a matrix, possibly far more of them than rows.

The matrix is never copied: it is read in chunks of columns, dense or sparse, to form sums, the kernel
``X X'`` of the rows, and products with a few vectors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from pmlmm.design.table import Table
from pmlmm.errors import DataError

# Numbers in one chunk of columns.
_CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class WideBlock:
    """One named block of columns, as given; ``rows`` are those that the model uses.

    Attributes
    ----------
    name : str
    labels : (p,) array
        Names of the columns.
    matrix : (rows given, p) array or sparse array
    rows : (n,) int array
    """

    name: str
    labels: np.ndarray
    matrix: Any
    rows: np.ndarray

    @property
    def p(self) -> int:
        return self.matrix.shape[1]

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Ranges of columns with their values in the rows of the model, (n, width) floats."""
        n = max(1, len(self.rows))
        whole = len(self.rows) == self.matrix.shape[0]
        step = max(1, _CHUNK // n)
        for first in range(0, self.p, step):
            part = slice(first, min(first + step, self.p))
            values = self.matrix[:, part]
            values = values.toarray() if sparse.issparse(values) else np.asarray(values)
            yield part, np.asarray(values if whole else values[self.rows], dtype=float)

    def at_means(self, beta: np.ndarray) -> np.ndarray:
        """What the block adds at the means of its columns, (...,), for coefficients (..., p)."""
        return np.sum([beta[..., part] @ values.mean(axis=0) for part, values in self.chunks()], axis=0)


def build_wide(
    penalized: Mapping[str, Any] | None,
    table: Table,
    taken: set[str],
    *,
    constant_allowed: bool = False,
) -> tuple[WideBlock, ...]:
    """Check the blocks of ``Model(penalized=...)``.

    Parameters
    ----------
    penalized : mapping, optional
        From names to matrices: arrays, data frames or SciPy sparse matrices, one row for every row of
        the data.
    table : Table
        The complete rows of the model, whose row names are those of a block that is a data frame.
    taken : set of str
        Names that are in use.
    constant_allowed : bool
        Constant columns are fine: the rows are not those of a fit.

    Raises
    ------
    DataError
        Not a matrix of numbers, other rows than the data, no columns, entries that are missing or
        infinite, or constant columns; the column is named.
    """
    if penalized is None:
        return ()
    if not isinstance(penalized, Mapping):
        raise DataError(
            f"penalized is a {type(penalized).__name__}; it must be a dict from names to matrices, e.g. "
            "penalized={'genes': G}."
        )
    taken = taken | {f"beta_{name}" for name in penalized}
    blocks = tuple(_build(name, given, table, taken - {f"beta_{name}"}) for name, given in penalized.items())
    for block in blocks:
        _check_entries(block, constant_allowed)
    return blocks


def _build(name: str, given: Any, table: Table, taken: set[str]) -> WideBlock:
    if not isinstance(name, str) or not name or "/" in name:
        raise DataError(f"penalized has the key {name!r}; a block's name must be text without '/'.")
    if {name, f"beta_{name}"} & taken or name == "common":
        raise DataError(f"The penalised block cannot be called {name!r}: the model uses that name. Choose another.")
    matrix, labels = (given.matrix, given.labels) if isinstance(given, WideBlock) else as_matrix(name, given)
    if matrix.shape[0] != table.rows_given:
        raise DataError(
            f"The penalised block {name!r} has {matrix.shape[0]} rows, the data have {table.rows_given}: it needs one "
            "row for every row of the data, in the same order (rows with missing values included)."
        )
    if table.index is not None and isinstance(given, pd.DataFrame) and not given.index.equals(table.index):
        raise DataError(
            f"The rows of the penalised block {name!r} have other labels than those of the data: align it with "
            f"{name}.loc[data.index], or reset both indexes if the order is right."
        )
    if matrix.shape[1] == 0:
        raise DataError(f"The penalised block {name!r} has no columns: leave it out.")
    return WideBlock(name, labels, matrix, table.rows)


def as_matrix(name: str, given: Any) -> tuple[Any, np.ndarray]:
    """A two-dimensional numeric array, or sparse by columns, and the names of its columns."""
    if sparse.issparse(given):
        _check_kind(name, given.dtype, given.ndim)
        matrix = sparse.csc_array(given)
        return matrix, np.arange(matrix.shape[1])
    if isinstance(given, np.ma.MaskedArray):
        raise DataError(f"The penalised block {name!r} is a masked array: fill or impute the masked entries.")
    labels = None
    if not isinstance(given, np.ndarray | list | tuple):
        frame, labels = _frame(name, given)
        if _is_sparse(frame):
            matrix = sparse.csc_array(frame.sparse.to_coo())
            _check_kind(name, matrix.dtype, matrix.ndim)
            return matrix, labels
        given = frame.to_numpy(dtype=float, na_value=np.nan) if frame.isna().to_numpy().any() else frame.to_numpy()
    try:
        matrix = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"The penalised block {name!r} is not a matrix: {error}") from error
    _check_kind(name, matrix.dtype, matrix.ndim)
    if matrix.dtype.kind not in "biuf":
        try:
            matrix = matrix.astype(float)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"The penalised block {name!r} is not numeric (dtype {matrix.dtype}): code its columns as numbers "
                "(pandas.get_dummies does it for categories)."
            ) from error
    return matrix, np.arange(matrix.shape[1]) if labels is None else labels


def _check_kind(name: str, dtype: np.dtype, ndim: int) -> None:
    if ndim != 2:
        raise DataError(f"The penalised block {name!r} has {ndim} dimensions; it must be rows by columns.")
    if dtype.kind == "c":
        raise DataError(f"The penalised block {name!r} is complex: use real and imaginary parts as columns.")


def _is_sparse(frame: pd.DataFrame) -> bool:
    """Whether every column is sparse around 0."""
    kinds = list(frame.dtypes)
    return bool(kinds) and all(isinstance(kind, pd.SparseDtype) and kind.fill_value == 0 for kind in kinds)


def _frame(name: str, given: Any) -> tuple[pd.DataFrame, np.ndarray]:
    if not isinstance(given, pd.DataFrame):
        import narwhals as nw

        try:
            given = nw.from_native(given, eager_only=True).to_pandas()
        except TypeError as error:
            raise DataError(
                f"The penalised block {name!r} is a {type(given).__name__}; pass an array, a pandas, polars or Arrow "
                "table (collected), or a SciPy sparse matrix."
            ) from error
    bad = [column for column, kind in given.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if bad:
        raise DataError(
            f"Column {bad[0]!r} of the penalised block {name!r} is not numeric (dtype {given.dtypes[bad[0]]}): code it "
            "as numbers (pandas.get_dummies does it for categories), or take it out."
        )
    return given, _labels(given.columns, name)


def _labels(columns: pd.Index, name: str) -> np.ndarray:
    labels = pd.Index([str(label) for label in columns])
    if not labels.is_unique:
        twice = labels[labels.duplicated()][0]
        raise DataError(f"The penalised block {name!r} has several columns called {twice!r}: rename all but one.")
    return np.array(labels, dtype=str)


def _check_entries(block: WideBlock, constant_allowed: bool) -> None:
    """Every entry finite and no column constant, in the rows of the model."""
    bad, constant = [], []
    for part, values in block.chunks():
        finite = np.isfinite(values).all(axis=0)
        names = block.labels[part]
        for label, column in zip(names[~finite], values.T[~finite], strict=True):
            bad.append((label, int(np.sum(~np.isfinite(column)))))
        constant += list(names[(values == values[:1]).all(axis=0)])
    if bad:
        more = f" and {len(bad) - 1} other columns" if len(bad) > 1 else ""
        raise DataError(
            f"Column {str(bad[0][0])!r} of the penalised block {block.name!r} is missing or infinite in {bad[0][1]} of "
            f"{len(block.rows)} rows{more}: impute the values or drop the columns."
        )
    if constant and not constant_allowed:
        shown = ", ".join(repr(str(label)) for label in constant[:3]) + (", ..." if len(constant) > 3 else "")
        raise DataError(
            f"The penalised block {block.name!r} has {len(constant)} constant columns ({shown}): they say nothing "
            "about the response. Drop them."
        )
