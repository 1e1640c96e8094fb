"""Labels and columns of new data that differ from those of the fit in their type alone, text or numbers."""

from collections.abc import Iterable
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.design.columns import for_formula
from pmlmm.errors import DataError, shown, suggest

_KINDS = {"string": "text", "integer": "numbers", "floating": "numbers", "mixed-integer-float": "numbers"}
_KINDS |= {"decimal": "numbers", "boolean": "flags"}


def kind_of(values: pd.Series | pd.Index) -> str:
    """``"text"``, ``"numbers"``, ``"flags"``, or what pandas calls the type; of categories, theirs."""
    labels = values.dtype.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    found = pd.api.types.infer_dtype(labels, skipna=True)
    return _KINDS.get(found, found)


def text_columns(frame: pd.DataFrame) -> list[str]:
    """Columns that hold text, which a reader of files may take for numbers."""
    return [name for name in frame.columns if kind_of(frame[name]) == "text"]


def refuse_other_kinds(fitted: pd.DataFrame, frame: pd.DataFrame, names: Iterable[str]) -> None:
    """Columns of a formula that are text in the fit or in the complete rows of new data, but not in both.

    Raises
    ------
    DataError
    """
    for name in names:
        was, now = for_formula(fitted[name]), for_formula(frame[name])
        kinds = kind_of(was), kind_of(now)
        if kinds[0] == kinds[1] or "text" not in kinds or not set(kinds) <= {"text", "numbers", "flags"}:
            continue
        if kinds[1] == "text":
            _refuse_text(name, now.astype(object), kinds[0])
        raise DataError(
            f"The column {name!r} holds {kinds[1]} in the new data (such as {frame[name].iloc[0]}), but text in the "
            f"fit: {_as_text(name)}" + suggest(str(frame[name].iloc[0]), sorted(was.unique()))
        )


def _refuse_text(name: str, now: pd.Series, was: str) -> None:
    first = int(np.argmax(pd.to_numeric(now, errors="coerce").isna()))  # 0 where all of it reads as numbers
    mend = f"pandas.to_numeric(new[{name!r}], errors='coerce')" if was == "numbers" else f"new[{name!r}] == 'True'"
    raise DataError(
        f"The column {name!r} is text in the new data (such as {shown(now.iloc[first], 40)} in row "
        f"{now.index[first]}), but held {was} in the fit. Convert it: new[{name!r}] = {mend}"
        + ("; what is no number is missing then." if was == "numbers" else ".")
    )


def refuse_other_types(name: str, known: pd.Index, labels: pd.Index) -> None:
    """Labels that are not among those of the fit, but would be if text and numbers were compared by what they say.

    Parameters
    ----------
    name : str
        The column of groups.
    known, labels : Index
        Distinct labels of the fit, and of new data.

    Raises
    ------
    DataError
    """
    kinds = {kind_of(known), kind_of(labels)}
    unseen = [] if kinds in ({"text"}, {"numbers"}) else labels[(known.get_indexer(labels) < 0) & labels.notna()]
    said = {} if len(unseen) == 0 else {form: label for label in known.astype(object) for form in _forms(label)}
    for label in unseen:
        twin = next((said[form] for form in _forms(label) if form in said), None)
        if twin is not None and isinstance(twin, str) != isinstance(label, str):
            raise DataError(
                f"The column {name!r} has {_typed(label)} in the new data and {_typed(twin)} in the fit: the same "
                f"group, it seems, in another type. Convert it: {_conversion(name, twin, label)}"
            )


def _forms(label: Any) -> list[Any]:
    """A label as text, and as a number where it reads as one."""
    text = str(label)
    try:
        number = float(text) if "_" not in text else float("nan")
    except ValueError:
        return [text]
    return [text, number] if isfinite(number) else [text]


def _typed(label: Any) -> str:
    """A label with its type, in Python's words."""
    value = label.item() if isinstance(label, np.generic) else label
    return f"{shown(value, 40)} (text)" if isinstance(value, str) else f"{value} ({type(value).__name__})"


def _conversion(name: str, twin: Any, label: Any) -> str:
    if isinstance(label, str):
        if isinstance(twin, bool | np.bool_):
            return f"new[{name!r}] = new[{name!r}] == 'True'."
        made = "numeric" if len(_forms(twin)) > 1 else "datetime"
        return f"new[{name!r}] = pandas.to_{made}(new[{name!r}])."
    if str(label) == twin:
        return _as_text(name)
    whole = ".astype('Int64')" if isinstance(label, float | np.floating) else ""
    zeros = f".str.zfill({len(twin)})" if twin.startswith("0") else ""
    return f"read it as text, pandas.read_csv(..., dtype={{{name!r}: str}}), or " + (
        f"new[{name!r}] = new[{name!r}]{whole}.astype('string'){zeros} for labels as in the fit."
    )


def _as_text(name: str) -> str:
    return (
        f"new[{name!r}] = new[{name!r}].astype(str), or read it as text: pandas.read_csv(..., dtype={{{name!r}: str}})."
    )
