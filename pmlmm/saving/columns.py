"""Columns and row labels of a table to plain values, and back with their type: categories, dates, text, numbers."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.errors import OptionError

Plain = dict[str, Any]


def plain_column(values: pd.Series | pd.Index) -> Plain:
    """What a column or an index is made of.

    Raises
    ------
    OptionError
        It holds objects that a file does not hold; the column is named.
    """
    if isinstance(values, pd.MultiIndex):
        levels = [plain_column(values.get_level_values(k)) for k in range(values.nlevels)]
        return {"kind": "multi", "levels": levels, "names": list(values.names)}
    if isinstance(values, pd.RangeIndex):
        return {"kind": "range", "ends": [values.start, values.stop, values.step], "name": values.name}
    return _plain_values(pd.Index(values)) | {"name": values.name}


def index_of(plain: Plain) -> pd.Index:
    """The index again, or a column as one."""
    if plain["kind"] == "multi":
        return pd.MultiIndex.from_arrays([index_of(level) for level in plain["levels"]], names=plain["names"])
    if plain["kind"] == "range":
        return pd.RangeIndex(*plain["ends"], name=plain["name"])
    return _KINDS[plain["kind"]](plain).rename(plain["name"])


def series_of(plain: Plain, index: pd.Index) -> pd.Series:
    """The column again."""
    values = index_of(plain)
    return pd.Series(values.array, index, dtype=values.dtype, name=plain["name"])


def _plain_values(values: pd.Index) -> Plain:
    dtype = values.dtype
    if isinstance(values, pd.CategoricalIndex):
        categories = plain_column(values.categories)
        return {"kind": "category", "codes": values.codes, "categories": categories, "ordered": bool(values.ordered)}
    if isinstance(values, pd.IntervalIndex):
        left, right = plain_column(values.left), plain_column(values.right)
        return {"kind": "interval", "left": left, "right": right, "closed": values.closed}
    if isinstance(values, pd.PeriodIndex):
        return {"kind": "period", "values": values.asi8, "freq": values.freqstr}
    if isinstance(values, pd.DatetimeIndex | pd.TimedeltaIndex):
        zone = None if getattr(values, "tz", None) is None else str(values.tz)
        kind = "M8" if isinstance(values, pd.DatetimeIndex) else "m8"
        return {"kind": "time", "values": values.asi8, "dtype": f"{kind}[{values.unit}]", "zone": zone} | {
            "freq": values.freqstr
        }
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return {"kind": "numbers", "values": values.to_numpy()}
    return _plain_objects(values)


def _plain_objects(values: pd.Index) -> Plain:
    """Distinct objects by kind, and which one each entry is."""
    seen: dict[tuple[type, str], int] = {}
    distinct: list[list] = []
    codes = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values.astype(object)):
        key = type(value), value if type(value) is str else repr(value)
        if key not in seen:
            seen[key] = len(distinct)
            distinct.append(_atom(value, values.name))
        codes[row] = seen[key]
    return {"kind": "objects", "distinct": distinct, "codes": codes, "dtype": str(values.dtype)}


def _atom(value: Any, column: Any) -> list:
    if value is None or value is pd.NA or value is pd.NaT:
        return ["nothing", str(value)]
    if isinstance(value, pd.Interval):
        return ["interval", [_atom(value.left, column), _atom(value.right, column), value.closed]]
    if isinstance(value, pd.Period):
        return ["period", [value.ordinal, value.freqstr]]
    if isinstance(value, pd.Timestamp | pd.Timedelta):
        return ["moment", plain_column(pd.Index([value]))]
    if isinstance(value, np.generic):
        return ["numpy", value]
    for kind, (of_kind, text, _) in _ATOMS.items():
        if type(value) is of_kind:
            return [kind, text(value)]
    raise OptionError(
        f"The column {column!r} has the {type(value).__name__} {str(value)[:40]!r}, which a file cannot hold: make the "
        f"labels text before the fit, data[{column!r}].astype(str)."
    )


# kind: (class, to something plain, back)
_ATOMS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "text": (str, str, str),
    "flag": (bool, bool, bool),
    "whole": (int, str, int),
    "number": (float, float.hex, float.fromhex),
    "decimal": (Decimal, str, Decimal),
    "date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),
}
_NOTHING = {"None": None, "<NA>": pd.NA, "NaT": pd.NaT}


def _of_atom(kind: str, content: Any) -> Any:
    if kind == "nothing":
        return _NOTHING[content]
    if kind == "interval":
        return pd.Interval(_of_atom(*content[0]), _of_atom(*content[1]), content[2])
    if kind == "period":
        return pd.Period(ordinal=content[0], freq=content[1])
    if kind == "moment":
        return index_of(content)[0]
    return content if kind == "numpy" else _ATOMS[kind][2](content)


def _objects(plain: Plain) -> pd.Index:
    distinct = np.empty(len(plain["distinct"]), dtype=object)
    distinct[:] = [_of_atom(*atom) for atom in plain["distinct"]]
    return pd.Index(distinct[plain["codes"]], dtype=plain["dtype"])


def _time(plain: Plain) -> pd.Index:
    values = plain["values"].view(plain["dtype"])
    if plain["dtype"].startswith("m8"):
        return pd.TimedeltaIndex(values, freq=plain["freq"])
    if plain["zone"] is None:
        return pd.DatetimeIndex(values, freq=plain["freq"])
    return pd.DatetimeIndex(pd.DatetimeIndex(values, tz="UTC").tz_convert(plain["zone"]), freq=plain["freq"])


def _category(plain: Plain) -> pd.Index:
    kind = pd.CategoricalDtype(index_of(plain["categories"]), plain["ordered"])
    return pd.CategoricalIndex(pd.Categorical.from_codes(plain["codes"], dtype=kind))


_KINDS: dict[str, Callable[[Plain], pd.Index]] = {
    "numbers": lambda plain: pd.Index(plain["values"], dtype=plain["values"].dtype),
    "objects": _objects,
    "time": _time,
    "category": _category,
    "period": lambda plain: pd.PeriodIndex.from_ordinals(plain["values"], freq=plain["freq"]),
    "interval": lambda plain: pd.IntervalIndex.from_arrays(
        index_of(plain["left"]), index_of(plain["right"]), closed=plain["closed"]
    ),
}
