"""Tables are read from files without loss: text stays text, and whatever a file leaves open is said."""

import contextlib
import csv
import importlib
import io
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.errors import DataError, suggest
from pmlmm.files import in_words, is_remote

CSV = (".csv",)
PARQUET = (".parquet", ".pq")
_UNPACK = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}  # modules that a Python may have been built without

# What is said of a table beside its content: the column it is about (None: the file), and a sentence.
Note = Callable[[str | None, str], None]


def read_table(
    path: str, missing: Iterable[str] = (), note: Note = lambda column, text: None, text: Iterable[str] = ()
) -> pd.DataFrame:
    """A CSV file, plain or packed, or a Parquet file.

    A word like NA is a missing value in a column that is otherwise numeric, and a level like any other in a column
    of text: there nothing tells a country called NA from a value that R left out. A first column without a name
    holds the labels of the rows, as R and pandas write them.

    Parameters
    ----------
    path : str
        Local; ``~`` is the home folder.
    missing : iterable of str
        Words that stand for a missing value in any column of a CSV file, beside the empty one.
    note : callable
        Told of what the file leaves open: the name of a column (or None), and a sentence.
    text : iterable of str
        Columns of a CSV file that are text whatever they look like: 001 stays that.

    Raises
    ------
    DataError
        No such file, or not one that can be read.
    """
    if is_remote(path):
        raise DataError(f"{path!r}: pmlmm reads local files only. Download it first: curl -LO '{path}'")
    source = os.path.expanduser(path)
    _check_kind(path, source)
    try:
        return _csv(path, _bytes(source), list(missing), note, text) if is_csv(path) else _parquet(source)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path!r}.{_tables_there(source)}") from error
    except OSError as error:
        raise DataError(f"Cannot read {path!r}: {in_words(error)}.") from error


def is_csv(path: str) -> bool:
    """Whether a file is read as CSV, by its name."""
    return _suffix(path)[0] in CSV


def _suffix(path: str) -> tuple[str, str]:
    """Suffix in lower case, and that of the packing behind it or nothing."""
    base, suffix = os.path.splitext(path.lower())
    return (os.path.splitext(base)[1], suffix) if suffix in _UNPACK else (suffix, "")


def _check_kind(path: str, source: str) -> None:
    suffix, packing = _suffix(source)
    if os.path.isdir(source) and suffix not in PARQUET:
        raise DataError(f"{path!r} is a folder; give the name of a file in it.")
    if suffix not in CSV and (packing or suffix not in PARQUET):
        kinds = ", ".join([*CSV, *(f"{end}{packed}" for end in CSV for packed in _UNPACK), *PARQUET])
        raise DataError(f"{path!r}: pmlmm reads {kinds} files; save the table as one of them.")


def _tables_there(source: str) -> str:
    """What could be meant instead of a file that does not exist."""
    folder, name = os.path.split(source)
    if not os.path.isdir(folder or "."):
        return f" Nor is there a folder {folder!r}."
    tables = []
    with contextlib.suppress(OSError):  # folders may hide what is in them
        tables = sorted(entry for entry in os.listdir(folder or ".") if _suffix(entry)[0] in CSV + PARQUET)
    return suggest(name, tables) if tables else ""


def _bytes(source: str) -> bytes:
    with open(source, "rb") as stream:
        content = stream.read()
    packing = _suffix(source)[1]
    try:
        return importlib.import_module(_UNPACK[packing]).decompress(content) if packing else content
    except Exception as error:  # each module has its own
        raise DataError(f"Cannot unpack {source!r}, it is broken or of another kind: {in_words(error)}.") from error


def _parquet(source: str) -> pd.DataFrame:
    if not os.path.isdir(source):  # a folder is a data set in parts, as Spark writes it
        open(source, "rb").close()
    try:
        return pd.read_parquet(source)
    except Exception as error:  # a broken file can fail anywhere in the reader
        raise DataError(f"Cannot read {source!r}, it is broken or no Parquet file: {in_words(error)}.") from error


def _csv(path: str, content: bytes, missing: list[str], note: Note, as_text: Iterable[str]) -> pd.DataFrame:
    if b"\0" in content:
        raise DataError(f"{path!r} is not text in UTF-8 (it may be UTF-16, or a workbook): save it as CSV in UTF-8.")
    frame = _parsed(path, content, na_values=missing, dtype=dict.fromkeys(as_text, str))
    header, first = _first_lines(content)
    _check_lines(path, header, first)
    for name, count in Counter(filter(None, header)).items():
        if count > 1:  # the second x is renamed to x.1, so that x alone would be taken for the only one
            note(name, f"{count} columns of {path!r} are called {name!r}: the first of them is taken")
    frame = _with_levels_kept(path, content, frame, missing, note)
    return _with_row_labels(path, frame, len(first) > len(header), note)


def _first_lines(content: bytes) -> tuple[list[str], list[str]]:
    """Names in the header and values in the line after it; none where a value is longer than a line can be."""
    lines = filter(None, csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", newline="")))
    try:
        header = next(lines, [])
        return header, next(lines, header)
    except csv.Error:
        return [], []


def _check_lines(path: str, header: list[str], first: list[str]) -> None:
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        raise DataError(
            f"The header of {path!r} is one name, {header[0]!r}: save the file with commas between its columns."
        )
    if len(first) > len(header) + 1 or (len(first) > len(header) and not first[-1]):
        raise DataError(
            f"The lines of {path!r} have {len(first)} values, its header has {len(header)} names: name every column, "
            "and take out commas at the ends of lines."
        )


def _parsed(path: str, content: bytes, **how: Any) -> pd.DataFrame:
    try:
        return pd.read_csv(io.BytesIO(content), low_memory=False, **how)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path!r} is empty.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path!r} is not text in UTF-8 ({_bad_line(content)}): save it as CSV in UTF-8.") from error
    except (pd.errors.ParserError, ValueError) as error:
        reason = str(error).rpartition("C error: ")[2].strip()
        raise DataError(
            f"Cannot read {path!r}: {reason[:1].lower() + reason[1:]}. A line has more values than the header has "
            "names, or a quotation mark is not closed; text that holds a comma must stand in quotes."
        ) from error


def _bad_line(content: bytes) -> str:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"line {content[: error.start].count(b'\n') + 1}"
    return "a broken character"


def _with_levels_kept(path: str, content: bytes, frame: pd.DataFrame, missing: list[str], note: Note) -> pd.DataFrame:
    """Words like NA, None and null as they stand in columns of text, where the reader has made them missing."""
    absent = frame.columns[frame.isna().any().to_numpy()]
    texts = {name for name in absent if pd.api.types.infer_dtype(frame[name], skipna=True) == "string"}
    if not texts:
        return frame
    as_it_stands = {"dtype": str, "keep_default_na": False, "na_values": ["", *missing]}
    text = _parsed(path, content, usecols=lambda name: name in texts, **as_it_stands)
    for name in text.columns:
        kept = text[name][frame[name].isna().to_numpy() & text[name].notna().to_numpy()]
        for word, count in kept.value_counts().items():
            rows = "1 row that reads" if count == 1 else f"{count} rows that read"
            mend = f"--missing {shlex.quote(str(word))} makes it missing"
            note(name, f"column {name!r} of {path!r} has {rows} {word!r}: taken as a level; {mend}")
        frame[name] = text[name].array
    return frame


def _with_row_labels(path: str, frame: pd.DataFrame, one_more: bool, note: Note) -> pd.DataFrame:
    """Labels of the rows, as R and pandas write them, as the index: they are no covariate."""
    if not one_more and frame.shape[1] > 1 and str(frame.columns[0]) == "Unnamed: 0":
        frame = frame.set_index(frame.columns[0]).rename_axis(None)
    if _numbers_of_rows(frame.index):
        return frame.reset_index(drop=True)
    why = "its lines have one value more than its header" if one_more else "that column has no name"
    note(None, f"the first column of {path!r} is taken as the labels of the rows: {why}")
    return frame


def _numbers_of_rows(labels: pd.Index) -> bool:
    """Whether the labels only count the rows, from 0 or 1: they say nothing that the order does not."""
    return labels.dtype.kind in "iu" and any(np.array_equal(labels, np.arange(len(labels)) + first) for first in (0, 1))
