"""The same values in every type that a table can bring."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

_WIDTHS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_NULLABLE = {kind: kind.replace("uint", "UInt").replace("int", "Int") for kind in _WIDTHS}


def _whole(values: np.ndarray, unsigned: bool = False) -> np.ndarray:
    """Small whole numbers that every integer type holds."""
    whole = np.clip(np.round(values), -100, 100)
    return np.abs(whole) if unsigned else whole


def _integers(kind: str) -> Callable[[np.ndarray], Any]:
    """NumPy integers; the nullable ones of that width where a value is missing."""

    def make(values: np.ndarray) -> pd.Series:
        whole = pd.Series(_whole(values, kind.startswith("u")))
        return whole.astype(_NULLABLE[kind] if whole.isna().any() else kind)

    return make


def _nullable(kind: str) -> Callable[[np.ndarray], Any]:
    return lambda values: pd.Series(_whole(values, kind.startswith("u"))).astype(_NULLABLE[kind])


def _arrow(kind: pa.DataType, whole: bool = True) -> Callable[[np.ndarray], Any]:
    def make(values: np.ndarray) -> pd.Series:
        numbers = _whole(values, str(kind).startswith("u")) if whole else values
        python = [None if np.isnan(x) else int(x) if pa.types.is_integer(kind) else float(x) for x in numbers]
        return pd.Series(pa.array(python).cast(kind), dtype=pd.ArrowDtype(kind))

    return make


def _objects(make: Callable[[float], Any], missing: Any = None) -> Callable[[np.ndarray], Any]:
    return lambda values: pd.Series([missing if np.isnan(x) else make(x) for x in values], dtype=object)


def _truth(values: np.ndarray) -> pd.Series:
    known = ~np.isnan(values)
    truth = pd.Series(values > np.nanmedian(values)) if known.any() else pd.Series(np.zeros(len(values), bool))
    return truth if known.all() else truth.astype("boolean").where(known)


#: Numbers of every kind, of float values with nan where they are missing.
NUMBERS: dict[str, Callable[[np.ndarray], Any]] = {
    **{kind: _integers(kind) for kind in _WIDTHS},
    **{_NULLABLE[kind]: _nullable(kind) for kind in _WIDTHS},
    **{kind: (lambda values, kind=kind: pd.Series(values.astype(kind))) for kind in ("float32", "float64")},
    "float16": lambda values: pd.Series(_whole(values).astype("float16")),
    "longdouble": lambda values: pd.Series(values.astype(np.longdouble)),
    "Float32": lambda values: pd.Series(values.astype("float32")).astype("Float32"),
    "Float64": lambda values: pd.Series(values).astype("Float64"),
    **{f"arrow {kind}": _arrow(kind) for kind in (pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64())},
    "arrow double": _arrow(pa.float64(), whole=False),
    "arrow float": _arrow(pa.float32(), whole=False),
    "arrow decimal": _arrow(pa.decimal128(12, 2)),
    "Decimal": _objects(lambda x: Decimal(repr(float(x)))),
    "Fraction": _objects(lambda x: Fraction(int(np.round(x)), 4)),
    "object floats": _objects(float, np.nan),
    "object integers": _objects(lambda x: int(np.clip(np.round(x), -(2**62), 2**62))),
    "object mixed": _objects(lambda x: int(x) if x > 0 and x < 2**62 else float(x)),
    "sparse": lambda values: pd.Series(pd.arrays.SparseArray(values)),
}

#: What looks like a covariate and is none, or is one of another kind.
STRANGE: dict[str, Callable[[np.ndarray], Any]] = {
    "bool": _truth,
    "object bool": lambda values: _truth(values).astype(object),
    "complex": lambda values: pd.Series(values + 1j * np.round(values)),
    "text of numbers": _objects(lambda x: f"{x:.2f}"),
    "text and numbers": _objects(lambda x: "n/a" if x > 1 else x),
    "dates": lambda values: pd.to_datetime("2020-01-01") + pd.to_timedelta(np.clip(np.round(values), -9e3, 9e3), "D"),
    "timedeltas": lambda values: pd.Series(pd.to_timedelta(np.clip(np.round(values), -9e3, 9e3), "D")),
    "zoned dates": lambda values: (
        pd.to_datetime("2020-01-01").tz_localize("Europe/Amsterdam")
        + pd.to_timedelta(np.clip(np.round(values), -9e3, 9e3), "D")
    ),
    "lists": _objects(lambda x: [float(x)]),
    "tuples": _objects(lambda x: (float(x), 1)),
    "all missing": lambda values: pd.Series(np.full(len(values), np.nan)),
    "all None": lambda values: pd.Series([None] * len(values), dtype=object),
    "infinite": lambda values: pd.Series(np.where(np.arange(len(values)) == len(values) // 2, np.inf, values)),
    "constant": lambda values: pd.Series(np.full(len(values), 3.0)),
    "zero": lambda values: pd.Series(np.zeros(len(values))),
}

_WORDS = ("ash", "Beech", "cedar", "dogwood", "elm", "Fir", "ginkgo", "holly", "ivy", "Juniper", "kapok", "larch")


def words(codes: np.ndarray) -> list[str | None]:
    """A word for every code; None for a code below 0."""
    return [None if code < 0 else _WORDS[code % len(_WORDS)] + "ish" * (code // len(_WORDS)) for code in codes]


def _category(ordered: bool, unused: bool) -> Callable[[np.ndarray], Any]:
    def make(codes: np.ndarray) -> pd.Series:
        text = words(codes)
        levels = sorted({word for word in text if word is not None}, reverse=ordered) + (["never"] if unused else [])
        return pd.Series(pd.Categorical(text, categories=levels, ordered=ordered))

    return make


def _arrow_text(kind: pa.DataType) -> Callable[[np.ndarray], Any]:
    return lambda codes: pd.Series(pa.array(words(codes)).cast(kind), dtype=pd.ArrowDtype(kind))


def _coded(make: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    """Numbers as labels."""
    return lambda codes: make(np.where(codes < 0, np.nan, codes.astype(float)))


def _days(codes: np.ndarray) -> pd.Series:
    return pd.Series(pd.to_datetime("2021-03-01") + pd.to_timedelta(np.where(codes < 0, np.nan, codes), "D"))


#: Factors of every kind, of integer codes with -1 where they are missing.
FACTORS: dict[str, Callable[[np.ndarray], Any]] = {
    "text": lambda codes: pd.Series(words(codes)),
    "object text": lambda codes: pd.Series(words(codes), dtype=object),
    "string": lambda codes: pd.Series(words(codes), dtype="string"),
    "string[python]": lambda codes: pd.Series(words(codes), dtype="string[python]"),
    "string[pyarrow]": lambda codes: pd.Series(words(codes), dtype="string[pyarrow]"),
    "arrow string": _arrow_text(pa.string()),
    "arrow large_string": _arrow_text(pa.large_string()),
    "category": _category(ordered=False, unused=False),
    "category unused": _category(ordered=False, unused=True),
    "ordered": _category(ordered=True, unused=False),
    "ordered unused": _category(ordered=True, unused=True),
}

#: Labels of other kinds, which only a grouping factor is likely to have.
LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    **{kind: _coded(NUMBERS[kind]) for kind in _WIDTHS},
    **{kind: _coded(NUMBERS[kind]) for kind in ("float16", "float32", "float64", "longdouble", "Int64", "Float64")},
    **{kind: _coded(NUMBERS[kind]) for kind in ("arrow int64", "arrow decimal", "Decimal", "Fraction", "sparse")},
    "arrow dictionary": lambda codes: pd.Series(
        pa.array(words(codes)).dictionary_encode(), dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    ),
    "dates": _days,
    "date objects": lambda codes: pd.Series(
        [None if c < 0 else date(2021, 3, 1 + c % 28) for c in codes], dtype=object
    ),
    "category of integers": lambda codes: pd.Series(pd.Categorical([None if c < 0 else 10 - c for c in codes])),
    "category of days": lambda codes: _days(codes).astype("category"),
    "periods": lambda codes: pd.Series(pd.PeriodIndex(_days(codes), freq="D")),
    "intervals": lambda codes: pd.Series([None if c < 0 else pd.Interval(c, c + 1) for c in codes]),
    "object integers": lambda codes: pd.Series([None if c < 0 else int(c) for c in codes], dtype=object),
    "numbers and text": lambda codes: pd.Series(
        [None if c < 0 else c if c % 2 else str(c) for c in codes], dtype=object
    ),
    "tuples": lambda codes: pd.Series([None if c < 0 else (int(c), "a") for c in codes], dtype=object),
    "bytes": lambda codes: pd.Series([None if c < 0 else str(c).encode() for c in codes], dtype=object),
    "bool": lambda codes: pd.Series(codes % 2 == 0),
    "one group": lambda codes: pd.Series(np.zeros(len(codes), dtype=int)),
    "own group a row": lambda codes: pd.Series(np.arange(len(codes))),
    "odd text": lambda codes: pd.Series(
        [
            None if c < 0 else ("", " ", "a:b", "a/b", "größe", "[x]", "NA", "None", "1", "nan", "\t", "é" * 40)[c % 12]
            for c in codes
        ],
        dtype=object,
    ),
}
