"""Columns and labels of every type come back with values, type, names and order."""

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from pmlmm.saving.columns import index_of, plain_column, series_of
from pmlmm.saving.values import Arrays, packed, unpacked

INDEXES = {
    "range": pd.RangeIndex(3, 12, 2, name="row"),
    "text": pd.Index(["b", "a", "\u00e4\x00 '\"", "\ud800"], name="t", dtype=object),
    "str": pd.Index(["b", "a", None], dtype="string"),
    "integers": pd.Index([3, -1, 2**53 + 1]),
    "unsigned": pd.Index(np.array([0, 2**64 - 1], dtype=np.uint64)),
    "small": pd.Index(np.array([1, 2], dtype=np.int8)),
    "floats": pd.Index([0.1, -0.0, np.nan, np.inf, 5e-324]),
    "flags": pd.Index([True, False]),
    "nullable": pd.Index(pd.array([1, None, 3], dtype="Int64")),
    "dates": pd.date_range("2020-01-01", periods=3, freq="MS"),
    "seconds": pd.DatetimeIndex(np.array(["1850-01-01", "NaT"], dtype="M8[s]")),
    "zone": pd.date_range("2020-03-29", periods=4, freq="h", tz="Europe/Berlin"),
    "spans": pd.to_timedelta([1, 2], "h"),
    "periods": pd.period_range("2020", periods=3, freq="Q"),
    "intervals": pd.interval_range(0.0, 3.0, closed="left"),
    "categories": pd.CategoricalIndex(["lo", None, "hi"], ["lo", "mid", "hi"], ordered=True),
    "cuts": pd.CategoricalIndex(pd.cut([0.5, 1.5, np.nan], [0, 1, 2])),
    "mixed": pd.Index([1, "1", 1.5, True, None, Decimal("1.50"), datetime.date(2020, 1, 2), pd.NaT], dtype=object),
    "objects": pd.Index(
        [pd.Interval(0, 1), pd.Period("2020Q1"), pd.Timestamp("2020", tz="UTC"), np.float32(0.1), datetime.time(1, 2)],
        dtype=object,
    ),
    "several": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 2)], names=["f", None]),
    "empty": pd.Index([], dtype=object),
}


def there_and_back(plain):
    arrays = Arrays()
    return unpacked(json.loads(json.dumps(packed(plain, arrays))), arrays)


@pytest.mark.parametrize("kind", INDEXES)
def test_labels(kind):
    given = INDEXES[kind]
    found = index_of(there_and_back(plain_column(given)))
    pd.testing.assert_index_equal(found, given, exact=True)
    assert [type(value) for value in found] == [type(value) for value in given]
    assert getattr(found, "freq", None) == getattr(given, "freq", None)


@pytest.mark.parametrize("kind", [kind for kind in INDEXES if kind != "several"])
def test_columns(kind):
    given = pd.Series(INDEXES[kind].array, name="x", dtype=INDEXES[kind].dtype)
    found = series_of(there_and_back(plain_column(given)), given.index)
    pd.testing.assert_series_equal(found, given, check_freq=False)


@pytest.mark.parametrize(
    "array", [np.zeros((0, 3)), np.arange(6.0).reshape(2, 3).T, np.array(["a", "bc"]), np.bool_(1)]
)
def test_arrays_keep_their_order_in_memory(array):
    found = there_and_back(array)
    assert (type(found), found.dtype, found.flags.f_contiguous) == (type(array), array.dtype, array.flags.f_contiguous)
    np.testing.assert_array_equal(found, array)
