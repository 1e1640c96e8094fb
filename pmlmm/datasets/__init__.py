"""Bundled data sets."""

from importlib.resources import files
from pathlib import Path

import pandas as pd

from pmlmm.errors import DataError, suggest


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


def read(source: str) -> pd.DataFrame:
    """A bundled data set's name, or the path of a CSV or Parquet file.

    Raises
    ------
    DataError
        Neither exists, or the file cannot be read.
    """
    path = Path(source)
    if not path.suffix and not path.exists():
        return load(source)
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet, ".pq": pd.read_parquet}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise DataError(f"{source!r}: pmlmm reads {', '.join(readers)} files and the data sets {names()}.")
    try:
        return readers[suffix](path)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {source!r}. Bundled data sets: {', '.join(names())}.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {source!r}: {error}") from error
