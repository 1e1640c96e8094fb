"""A fit as the content of a file: what its model was made of, and what was found; and both again."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import sparse

from pmlmm.design.design import Design
from pmlmm.design.table import Table
from pmlmm.design.weights import OFFSET, WEIGHTS
from pmlmm.design.wide import WideBlock
from pmlmm.errors import DataError, OptionError, PmlmmError, suggest
from pmlmm.files import in_words, netcdf, netcdf_target, write
from pmlmm.inference.integrate import Integrated
from pmlmm.inference.learned import FitOptions, Found
from pmlmm.posterior.source import Posterior
from pmlmm.priors.hyperprior import Hyperprior
from pmlmm.saving.columns import index_of, plain_column, series_of
from pmlmm.saving.sealed import sealed, unsealed
from pmlmm.saving.values import Arrays, packed, unpacked

_TEXT = "description"
# Arguments of a model that are not written as they were given: they are in the table, or asked for at loading.
_NOT_WRITTEN = ("data", "penalized", "context", "trusted")


@dataclass(frozen=True)
class Saved:
    """What a file holds.

    Attributes
    ----------
    formula : str
    table : Table
        The complete rows of the columns that the model needs.
    penalized : dict
        Wide blocks by name.
    arguments : dict
        Further arguments of the model.
    context : list of str
        Names that the formula was given.
    hyperprior : Hyperprior or None
    options : FitOptions
    found : Found
    integrated : Integrated or None
    """

    formula: str
    table: Table
    penalized: dict[str, WideBlock]
    arguments: dict[str, Any]
    context: list[str]
    hyperprior: Hyperprior | None
    options: FitOptions
    found: Found
    integrated: Integrated | None


def save(posterior: Posterior, arguments: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Write a fit; ``arguments`` are those of its model. See :meth:`pmlmm.Fit.save`."""
    target = netcdf_target(path)
    write(sealed(_content(posterior, arguments)), path, target)


def _content(posterior: Posterior, arguments: Mapping[str, Any]) -> bytes:
    """A fit as netCDF."""
    learned, design, arrays = posterior.learned, posterior.design, Arrays()
    parts = {
        "formula": posterior.problem.formula,
        "table": _plain_table(design.table),
        "penalized": [_plain_block(block) for block in design.wide],
        "arguments": {name: value for name, value in arguments.items() if name not in _NOT_WRITTEN}
        | _beside(design, arguments),
        "context": sorted(arguments.get("context") or {}),
        "hyperprior": learned.space.hyperprior,
        "options": learned.options,
        "found": learned.found,
        "integrated": posterior.integrated,
    }
    text = json.dumps({name: packed(part, arrays) for name, part in parts.items()}).encode("ascii")
    variables = {**arrays, _TEXT: np.frombuffer(text, dtype=np.uint8)}
    about = {"title": "pmlmm fit", "pmlmm_version": version("pmlmm"), "formula": posterior.problem.formula[:1000]}
    about |= {"comment": "read it with pmlmm.load(); draws for other programs: fit.posterior.to_netcdf()"}
    dataset = xr.Dataset({name: (f"{name}_entry", values) for name, values in variables.items()}, attrs=about)
    return netcdf(xr.DataTree(dataset))


def _beside(design: Design, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Weights and offset: the name of a column, or the array as it was when the model was made."""
    arrays = design.given.arrays or {}
    return {key.rstrip("="): arrays.get(key, arguments.get(key.rstrip("="))) for key in (WEIGHTS, OFFSET)}


def read(path: str | os.PathLike) -> Saved:
    """What a file holds; no code of it runs.

    Raises
    ------
    DataError
        It is damaged, of another version or something else.
    """
    inside = unsealed(path)
    try:
        return _saved(inside)
    except PmlmmError:
        raise
    except Exception as error:  # intact, but not what this version writes
        raise DataError(
            f"{os.fspath(path)!r} is intact but does not hold what a saved fit does ({in_words(error)}): it was "
            "written by something else than fit.save()."
        ) from error


def _saved(inside: bytes) -> Saved:
    import h5netcdf

    with h5netcdf.File(io.BytesIO(inside), "r") as file:
        arrays = {name: np.asarray(variable[...]) for name, variable in file.variables.items()}
    text = json.loads(arrays.pop(_TEXT).tobytes().decode("ascii"))
    parts = {name: unpacked(part, arrays) for name, part in text.items()}
    table = _table_of(parts.pop("table"))
    blocks = {block["name"]: _block_of(block, table.rows) for block in parts.pop("penalized")}
    return Saved(table=table, penalized=blocks, **parts)


def _plain_table(table: Table) -> dict[str, Any]:
    index = None if table.index is None else plain_column(table.index)
    columns = [plain_column(table.frame[name]) for name in table.frame.columns]
    return {"columns": columns, "rows": table.rows, "missing": table.missing, "given": table.rows_given} | {
        "index": index
    }


def _table_of(plain: dict[str, Any]) -> Table:
    rows, index = plain["rows"], plain["index"]
    labels = pd.Index(rows)
    columns = {column["name"]: series_of(column, labels) for column in plain["columns"]}
    frame = pd.DataFrame(columns, index=labels)
    return Table(frame, rows, plain["missing"], plain["given"], None if index is None else index_of(index))


def _plain_block(block: WideBlock) -> dict[str, Any]:
    matrix = block.matrix
    if sparse.issparse(matrix):
        matrix = {"parts": (matrix.data, matrix.indices, matrix.indptr), "shape": matrix.shape}
    return {"name": block.name, "labels": block.labels, "matrix": matrix}


def _block_of(plain: dict[str, Any], rows: np.ndarray) -> WideBlock:
    matrix = plain["matrix"]
    if isinstance(matrix, dict):
        matrix = sparse.csc_array(matrix["parts"], shape=matrix["shape"])
    return WideBlock(plain["name"], plain["labels"], matrix, rows)


def refuse_other_context(saved: Saved, context: Mapping[str, Any] | None, path: str | os.PathLike) -> None:
    """Names that the formula had been given must be given again.

    Raises
    ------
    OptionError
        One is missing, or was not there.
    """
    given = set(context or {})
    if missing := [name for name in saved.context if name not in given]:
        raise OptionError(
            f"The formula of {os.fspath(path)!r} was given {', '.join(saved.context)}, which a file cannot hold: "
            f"pmlmm.load(path, context={{{missing[0]!r}: ...}})."
        )
    if unknown := sorted(given - set(saved.context)):
        raise OptionError(
            f"load(context=...): the formula of {os.fspath(path)!r} was not given {unknown[0]!r}."
            + (suggest(unknown[0], saved.context) if saved.context else "")
        )
