"""What a grouping factor and a formula see of a column, whatever the library that stored it."""

from decimal import Decimal
from numbers import Complex, Real

import numpy as np
import pandas as pd

from pmlmm.errors import DataError

# Larger integers are not all told apart by floating-point numbers.
_LARGEST_WHOLE = 2**53


def plain(values: pd.Series) -> pd.Series:
    """The column in NumPy's own types: no nullable, Arrow, sparse or narrow ones; text is Python's.

    Categories stay categories.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_object_dtype(dtype):
        return values
    if isinstance(dtype, pd.SparseDtype):
        return plain(values.sparse.to_dense())
    if pd.api.types.is_bool_dtype(dtype):
        return values.astype(object if values.isna().any() else bool)
    if pd.api.types.is_complex_dtype(dtype):
        return values
    if pd.api.types.is_numeric_dtype(dtype):
        return _plain_number(values)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return pd.to_datetime(values.astype(object)) if isinstance(dtype, pd.ArrowDtype) else values
    if isinstance(dtype, pd.ArrowDtype) and "dictionary" in str(dtype):
        return values.astype(object).astype("category")
    return values if dtype.kind == "m" else values.astype(object)


def _plain_number(values: pd.Series) -> pd.Series:
    """int64, uint64 or float64; with missing values float64."""
    if pd.api.types.is_integer_dtype(values.dtype) and not values.isna().any():
        kind = np.uint64 if pd.api.types.is_unsigned_integer_dtype(values.dtype) else np.int64
        numbers = values.to_numpy(dtype=kind)
    else:
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series(numbers, values.index, name=values.name)


def for_formula(values: pd.Series) -> pd.Series:
    """A plain, complete column as arithmetic needs it: float64, flags, dates, or labels.

    Raises
    ------
    DataError
        Complex numbers, numbers mixed with text, integers that floating point cannot tell apart, or
        objects that are neither numbers nor text.
    """
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype) or dtype.kind in "bmM":
        return values
    if dtype.kind == "c":
        _refuse_complex(values)
    if pd.api.types.is_object_dtype(dtype):
        return _of_objects(values)
    return _as_float(values) if dtype.kind in "iuf" else values


def _as_float(values: pd.Series) -> pd.Series:
    whole = (
        [int(value) for value in values if isinstance(value, int | np.integer)] if values.dtype == object else values
    )
    if values.dtype.kind in "iuO" and len(whole) and max(-int(min(whole)), int(max(whole))) > _LARGEST_WHOLE:
        raise DataError(
            f"The column {values.name!r} has integers beyond 2^53, which floating point cannot tell apart. For labels, "
            f"make them text: data[{values.name!r}].astype(str); for numbers, subtract a constant."
        )
    return values.astype(float) + 0.0  # no -0.0, which would be a level of its own name


def _of_objects(values: pd.Series) -> pd.Series:
    """Python objects: numbers become numbers, text and what else is a label becomes text."""
    kinds = set(map(type, values))
    flags = {kind for kind in kinds if issubclass(kind, bool | np.bool_)}
    numbers = {kind for kind in kinds if issubclass(kind, Real | Decimal)} - flags
    if kinds == flags:
        return values.astype(bool)
    if kinds == numbers:
        return _as_float(values)
    if any(issubclass(kind, Complex) for kind in kinds - numbers - flags):
        _refuse_complex(values)
    if numbers or flags:
        _refuse_mixed(values, tuple(numbers | flags))
    labels = (str, pd.Interval, pd.Period)
    odd = next((value for value in values if not isinstance(value, labels)), None)
    if odd is not None:
        raise DataError(
            f"The column {values.name!r} holds {type(odd).__name__} objects (such as {str(odd)[:40]}), neither numbers "
            f"nor labels. Convert them: data[{values.name!r}].astype(str) for labels, pandas.to_numeric for numbers."
        )
    return values.map(str).astype(object)


def _refuse_complex(values: pd.Series) -> None:
    raise DataError(f"The column {values.name!r} is complex: use its real and its imaginary part as two columns.")


def _refuse_mixed(values: pd.Series, numeric: tuple[type, ...]) -> None:
    number = next(value for value in values if isinstance(value, numeric))
    other = next(value for value in values if not isinstance(value, numeric))
    name = values.name
    raise DataError(
        f"The column {name!r} mixes numbers (such as {number}) with other values (such as {str(other)[:40]!r}). Make "
        f"it one or the other: pandas.to_numeric(data[{name!r}], errors='coerce') for numbers with missing values, "
        f"data[{name!r}].astype(str) for labels."
    )
