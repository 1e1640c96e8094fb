"""Predictions, with their uncertainty, for the rows of the fit or for new ones."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pmlmm.design.table import column_names
from pmlmm.design.wide import WideBlock
from pmlmm.errors import DataError, OptionError, suggest
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.options import ends
from pmlmm.posterior.labels import response_name
from pmlmm.posterior.new_rows import Rows, fitted_rows, new_rows
from pmlmm.posterior.predicted_draws import MOST_DRAWN, PredictedDraws
from pmlmm.posterior.predicted_moments import many_rows
from pmlmm.posterior.source import CHAINS, Posterior

KINDS = ("mean", "response", "draws")
GROUPS = ("known", "new", "none")
# Draws of fewer rows than this, times draws, are all made for a table; of more rows, moments.
_FEW = 5_000_000
# Fewer draws than this are not made of themselves, however many rows there are.
_FEWEST = 100

_log = logging.getLogger("pmlmm")


def predict(
    posterior: Posterior,
    data: Any,
    *,
    kind: str,
    groups: str,
    interval: float,
    penalized: Mapping[str, Any] | None,
    draws: int | None,
    random_seed: int,
) -> pd.DataFrame | xr.DataTree:
    """See :meth:`pmlmm.Fit.predict`."""
    _check("kind", kind, KINDS)
    _check("groups", groups, GROUPS)
    tails = ends(interval)
    rows = _rows(posterior, data, penalized, groups)
    number = CHAINS * draws if draws else posterior.learned.number_of_draws
    with blas_threads(posterior.learned.dense):
        if kind == "draws":
            return _tree(posterior, rows, number if draws else _fewer(number, rows), random_seed)
        return _table(posterior, rows, kind == "response", tails, number, random_seed)


def _check(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not (isinstance(value, str) and value in choices):
        raise OptionError(f"predict({name}={value!r}): choose one of {', '.join(map(repr, choices))}.")


def _rows(posterior: Posterior, data: Any, penalized: Mapping[str, Any] | None, groups: str) -> Rows:
    """The rows to be predicted, without random effects where there shall be none."""
    design, effects = posterior.design, groups != "none"
    if data is None:
        if penalized is not None:
            raise OptionError("predict(penalized=...) needs data with as many rows: the formula's columns and factors.")
        rows = fitted_rows(design, effects=effects)
    else:
        if groups == "new":
            _need_groups(posterior, data)
        rows = new_rows(design, data, penalized, unseen=groups == "new", effects=effects)
    if rows.table.rows_dropped:
        _log.info("%d of %d rows have missing values: nan.", rows.table.rows_dropped, rows.table.rows_given)
    return rows


def _need_groups(posterior: Posterior, data: Any) -> None:
    """Rows of one new group share its effects: which rows these are must be said."""
    columns = column_names(data)
    for grouping in posterior.design.groupings:
        for name in grouping.columns:
            if name not in columns:
                raise DataError(
                    f"The new data have no column {name!r}, which says which rows are of one new group: add it (any "
                    "new label will do), or predict(groups='none') without random effects." + suggest(name, columns)
                )


def _fewer(number: int, rows: Rows) -> int:
    """Of very many rows fewer draws."""
    fit = MOST_DRAWN // max(1, 2 * rows.table.rows_given)
    return max(CHAINS, min(number, max(_FEWEST, fit)) // CHAINS * CHAINS)


def _table(
    posterior: Posterior, rows: Rows, response: bool, tails: tuple[float, float], number: int, random_seed: int
) -> pd.DataFrame:
    """Mean, sd and interval of every row given, nan where it is not complete."""
    drawn = PredictedDraws(posterior, number, np.random.default_rng([random_seed, 9]))
    mean = predictor_mean(posterior, rows)
    if rows.n_rows * number <= _FEW:
        sd, around = drawn.sd_and_ends(rows, tails, response)
    else:
        sd, around = many_rows(drawn, rows, tails, response)
    values = np.column_stack([mean, sd, mean[:, None] + around])
    table = rows.table.aligned(values).set_axis(["mean", "sd", "lower", "upper"], axis=1)
    table.attrs["dropped"] = rows.table.rows_dropped
    return table


def _tree(posterior: Posterior, rows: Rows, number: int, random_seed: int) -> xr.DataTree:
    """Draws of every row given, of what is expected and of a new observation."""
    shape = CHAINS, number // CHAINS
    refuse_draws(number, rows.table.rows_given, f"predict(draws={shape[1]})")
    rng = np.random.default_rng([random_seed, 9])
    drawn = PredictedDraws(posterior, shape[0] * shape[1], rng)
    predictor = drawn.predictor(rows)
    observed = rng.standard_normal(predictor.shape)
    observed *= drawn.sigma[:, None] * rows.noise_sd
    observed += predictor
    name = response_name(posterior.design)
    values = {"mean": predictor, "y" if name == "mean" else name: observed}
    labels = rows.table.labels_given
    row = np.arange(len(labels)) if isinstance(labels, pd.MultiIndex) else np.asarray(labels)
    variables = {key: (("chain", "draw", "row"), _aligned(value, rows, shape)) for key, value in values.items()}
    coords = {"chain": np.arange(shape[0]), "draw": np.arange(shape[1]), "row": row}
    attributes = posterior.attributes | {"dropped": rows.table.rows_dropped}
    return xr.DataTree.from_dict({"predictions": xr.Dataset(variables, coords=coords, attrs=attributes)})


def _aligned(values: np.ndarray, rows: Rows, shape: tuple[int, int]) -> np.ndarray:
    """(draws, n) as (chains, draws, rows given)."""
    if rows.table.rows_dropped == 0:
        return values.reshape(*shape, values.shape[1])
    result = np.full((*shape, rows.table.rows_given), np.nan)
    result[..., rows.table.rows] = values.reshape(*shape, -1)
    return result


def predictor_mean(posterior: Posterior, rows: Rows) -> np.ndarray:
    """Posterior mean of ``offset + X beta + Z gamma`` in complete rows, (n,); that of a group not seen has no gamma."""
    mean = posterior.mean
    total = rows.X @ mean["beta"].to_numpy() + _wide(posterior, rows.wide)
    total = total if rows.offset is None else total + rows.offset
    for term, Z in zip(posterior.design.terms if rows.Zs else (), rows.Zs, strict=True):
        gamma, groups = mean[f"gamma_{term.name}"].to_numpy(), rows.codes[term.factor]
        total = total + np.where(groups >= 0, np.sum(Z * gamma[groups], axis=1), 0.0)
    return total


def _wide(posterior: Posterior, blocks: tuple[WideBlock, ...]) -> np.ndarray | float:
    """What wide blocks add to the linear predictor; their centring is in the intercept."""
    total: np.ndarray | float = 0.0
    for block in blocks:
        beta = posterior.mean[f"beta_{block.name}"].to_numpy()
        total = total + sum(values @ beta[part] for part, values in block.chunks())
    return total
