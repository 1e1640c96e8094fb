"""Bundled data sets."""

import os
from collections.abc import Iterable
from importlib.resources import files

import pandas as pd

from pmlmm.datasets.reading import Note, read_table
from pmlmm.errors import DataError, suggest
from pmlmm.files import is_remote


def names() -> list[str]:
    """Names of the bundled data sets."""
    return sorted(entry.name.removesuffix(".csv") for entry in files(__name__).iterdir() if entry.name.endswith(".csv"))


def load(name: str) -> pd.DataFrame:
    """A bundled data set as a pandas data frame.

    Parameters
    ----------
    name : str
        ``"sleepstudy"``: average reaction time (ms) of 18 subjects on days 0-9 of sleep restriction;
        180 rows (Belenky et al. 2003, J. Sleep Res. 12; distributed with lme4).
        ``"penicillin"``: diameter of the zone of inhibition (mm) on 24 plates x 6 samples, fully crossed;
        144 rows. ``"pastes"``: strength of a paste, 3 casks in each of 10 batches, two assays a cask; 60 rows
        (both Davies and Goldsmith 1972, Statistical Methods in Research and Production; distributed with lme4).

    Raises
    ------
    DataError
        No such data set.
    """
    path = files(__name__) / f"{name}.csv"
    if not path.is_file():
        raise DataError(f"There is no bundled data set {name!r}." + suggest(name, names()))
    with path.open() as stream:
        return pd.read_csv(stream)


def read(source: str, missing: Iterable[str] = (), note: Note | None = None, text: Iterable[str] = ()) -> pd.DataFrame:
    """A bundled data set's name, or the path of a CSV or Parquet file; see :func:`pmlmm.datasets.reading.read_table`.

    Raises
    ------
    DataError
        Neither exists, or the file cannot be read.
    """
    path = os.path.expanduser(source)
    if source in names() or not (os.path.splitext(path)[1] or os.path.exists(path) or is_remote(source)):
        return load(source)
    return read_table(source, missing, note or (lambda column, text: None), text)
