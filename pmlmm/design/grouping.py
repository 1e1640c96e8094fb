"""Grouping factors: which group each row belongs to, for one column or combinations of several."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pmlmm.design.label_types import refuse_other_types
from pmlmm.design.table import Table
from pmlmm.errors import DataError


@dataclass(frozen=True, eq=False)
class Grouping:
    """A grouping factor.

    Attributes
    ----------
    factor : str
        Its name: a column, or columns joined by colons.
    columns : tuple of str
    codes : (n,) int array
        Group of each row.
    values : Index
        The groups' values: of one column, or combinations (MultiIndex).
    labels : (m,) array
        The same as coordinate labels.
    """

    factor: str
    columns: tuple[str, ...]
    codes: np.ndarray
    values: pd.Index
    labels: np.ndarray

    @property
    def n_groups(self) -> int:
        return len(self.labels)

    def within(self, other: "Grouping") -> bool:
        """Whether every group is in one group of another factor."""
        return len(np.unique(self.codes * other.n_groups + other.codes)) == self.n_groups

    def find(self, frame: pd.DataFrame) -> np.ndarray:
        """Group of each row of other data, -1 for one that is not among the groups."""
        if len(self.columns) == 1:
            return self.values.get_indexer(pd.Index(frame[self.columns[0]]))
        return self.values.get_indexer(pd.MultiIndex.from_frame(frame[list(self.columns)]))

    def refuse_other_types(self, frame: pd.DataFrame) -> None:
        """Raise for labels of other data that are among the groups' but for their type, as 1 and "1" are."""
        for level, name in enumerate(self.columns):
            refuse_other_types(name, self.values.get_level_values(level).unique(), pd.Index(frame[name].unique()))


def build_grouping(columns: tuple[str, ...], table: Table) -> Grouping:
    """Groups of the complete rows.

    Raises
    ------
    DataError
        Labels that cannot be compared, or combinations that read alike.
    """
    factor = ":".join(columns)
    parts = [_factorize(name, table) for name in columns]
    if len(parts) == 1:
        codes, values = parts[0]
        labels = _label_array(values)
    else:
        codes, values = _combine(parts, columns)
        labels = _joined_labels(values, columns)
    return Grouping(factor, columns, codes.astype(np.int64), values, labels)


def _factorize(name: str, table: Table) -> tuple[np.ndarray, pd.Index]:
    values = table.frame[name]
    try:
        codes, found = pd.factorize(values, sort=True)
    except TypeError:  # labels of several types have no order: keep that of appearance
        try:
            codes, found = pd.factorize(values)
        except TypeError as error:
            raise DataError(f"The labels of the grouping factor {name!r} cannot be compared: {error}") from error
    return codes, pd.Index(found, dtype=found.dtype)


def _combine(parts: list[tuple[np.ndarray, pd.Index]], columns: tuple[str, ...]) -> tuple[np.ndarray, pd.MultiIndex]:
    """The combinations that occur, in order, and which one each row has."""
    key = np.zeros(len(parts[0][0]), dtype=np.int64)
    for codes, values in parts:
        key = key * len(values) + codes
    _, first, codes = np.unique(key, return_index=True, return_inverse=True)
    arrays = [values.take(part[first]) for part, values in parts]
    return codes, pd.MultiIndex.from_arrays(arrays, names=columns)


def _label_array(values: pd.Index) -> np.ndarray:
    """Labels as numbers, dates or distinct strings (what a netCDF coordinate can hold)."""
    array = np.asarray(values)
    if array.dtype.kind in "iufbM":
        return array
    text = [str(value) for value in array]
    if len(set(text)) < len(text):  # 1 and "1" are two groups
        text = [repr(value) for value in array]
    return np.array(text)


def _joined_labels(values: pd.MultiIndex, columns: tuple[str, ...]) -> np.ndarray:
    text = [":".join(map(str, combination)) for combination in values]
    if len(set(text)) < len(text):
        seen: dict[str, tuple] = {}
        for label, combination in zip(text, values, strict=True):
            if label in seen:
                raise DataError(
                    f"The labels of {' and '.join(map(repr, columns))} are ambiguous once joined: {seen[label]} and "
                    f"{combination} both read {label!r}. Rename labels so that they have no colon."
                )
            seen[label] = combination
    return np.array(text)
