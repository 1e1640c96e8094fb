"""Marginal means, their contrasts, and slopes: linear functions of the fixed effects, with posterior intervals."""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from pmlmm.errors import OptionError, suggest
from pmlmm.posterior.source import Posterior
from pmlmm.report.derivative import derivative_of
from pmlmm.report.grid import Cells, Grid, Named, Weights, named_columns
from pmlmm.report.tables import described

_log = logging.getLogger("pmlmm")

#: Which means are compared.
Kind = Literal["pairwise", "reference", "sequential", "mean"]
_KINDS = ("pairwise", "reference", "sequential", "mean")
# Functions of which all draws are in memory at a time; more levels than so many have too many pairs.
_AT_ONCE, _MOST_PAIRED = 2_000, 200
# What the rows do not determine: of singular values, of the part outside of their space, and what is none.
_DEPENDENT, _OUTSIDE, _NOTHING = 1e-12, 1e-6, 1e-13


def means(
    posterior: Posterior, factors: Named, by: Named, at: Mapping[str, Any] | None, weights: Weights, interval: float
) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.means`."""
    cells = Grid(posterior.design).cells(_by_then(factors, by), at, weights)
    return estimated(posterior, _with_wide(cells.X), _index(cells.levels), interval, offset=cells.offset)


def contrast(
    posterior: Posterior,
    factors: Named,
    by: Named,
    kind: Kind,
    reference: Any,
    between: bool | Kind,
    at: Mapping[str, Any] | None,
    weights: Weights,
    interval: float,
) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.contrast`."""
    named, compared = _by_then(factors, by), list(named_columns(factors, "contrast(factors)"))
    if not compared:
        raise OptionError("contrast() needs a column whose means are compared: contrast('arm', by='visit').")
    cells = Grid(posterior.design).cells(named, at, weights)
    members = cells.levels[compared].drop_duplicates()
    groups = cells.levels.drop(columns=compared).iloc[:: len(members)]
    inside, labels = comparisons(members, kind, reference)
    outer, index = np.eye(len(groups)), groups
    if between:
        if not len(groups.columns):
            raise OptionError("contrast(between=...) compares contrasts between the cells of by=: give it too.")
        outer, names = comparisons(groups, kind if between is True else between, None)
        index = pd.DataFrame({":".join(map(str, groups.columns)): names})
    repeated = index.iloc[np.repeat(np.arange(len(index)), len(labels))].reset_index(drop=True)
    repeated["contrast"] = labels * len(index)
    compare = np.kron(outer, inside)
    X = np.pad(compare @ cells.X, ((0, 0), (0, 1)))  # wide blocks cancel
    return estimated(posterior, X, _index(repeated), interval, offset=compare @ cells.offset, direction=True)


def slopes(
    posterior: Posterior, column: str, by: Named, at: Mapping[str, Any] | str | None, weights: Weights, interval: float
) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.slopes`."""
    grid, named = Grid(posterior.design), named_columns(by, "slopes(by)")
    derivative = derivative_of(grid, column)
    if isinstance(at, str):
        if at != "rows":
            raise OptionError(f"slopes(at={at!r}): a dict from columns to values, or 'rows' for the rows of the fit.")
        cells = _over_rows(grid, named, derivative)
    else:
        cells = grid.cells(named, at, weights, derivative)
    index = _index(cells.levels) if named else pd.Index([column], name="slope")
    X = np.pad(cells.X, ((0, 0), (0, 1)))
    return estimated(posterior, X, index, interval, offset=cells.offset, direction=True)


def estimated(
    posterior: Posterior,
    weights: np.ndarray,
    index: pd.Index,
    interval: float,
    *,
    offset: np.ndarray,
    direction: bool = False,
) -> pd.DataFrame:
    """Mean, sd and interval of linear functions of the fixed effects; nan where the rows do not determine them.

    Parameters
    ----------
    posterior : Posterior
    weights : (functions, p + 1) array
        Of the coefficients, and last of what wide blocks add at their means.
    index : Index
    interval : float
        Probability of the equal-tailed interval.
    offset : (functions,) array
        What is added to each.
    direction : bool
        Also the probability of the mean's sign.
    """
    (mean, draws), unknown = posterior.population, not_estimable(posterior.design.X, weights[:, :-1])
    parts = [slice(first, first + _AT_ONCE) for first in range(0, len(weights), _AT_ONCE)]
    tables = [
        described(
            weights[part] @ mean + offset[part],
            draws @ weights[part].T + offset[part],
            index[part],
            interval,
            direction=direction,
        )
        for part in parts
    ]
    return _without(pd.concat(tables), unknown)


def not_estimable(X: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Which linear functions (functions, p) are none of the rows' expectations X (n, p): (functions,) flags.

    A prior makes no difference. Columns are scaled to one size first, as they may be of any units.
    """
    size = np.sqrt(np.mean(X**2, axis=0))
    size = np.where(size > 0, size, 1.0)
    _, singular, directions = np.linalg.svd(np.linalg.qr(X / size, mode="r"), full_matrices=False)
    seen = directions[singular > _DEPENDENT * singular.max(initial=0.0)]
    scaled = weights / size
    left = scaled - scaled @ seen.T @ seen
    return np.linalg.norm(left, axis=1) > _OUTSIDE * np.linalg.norm(scaled, axis=1) + _NOTHING


def _without(table: pd.DataFrame, unknown: np.ndarray) -> pd.DataFrame:
    """A table with nan in the rows that are not estimable, which its attributes name, and a warning."""
    if unknown.any():
        names = [_row_name(label) for label in table.index[unknown]]
        table.loc[unknown] = np.nan
        table.attrs["not_estimable"] = names
        _log.warning(
            "Not estimable, as the rows of the fit do not determine it (a cell without rows?): %s%s.",
            ", ".join(names[:10]),
            f" and {len(names) - 10} more" if len(names) > 10 else "",
        )
    return table


def _row_name(label: Any) -> str:
    return ", ".join(map(level_name, label)) if isinstance(label, tuple) else level_name(label)


def comparisons(levels: pd.DataFrame, kind: Kind, reference: Any) -> tuple[np.ndarray, list[str]]:
    """Weights of the means (contrasts, levels) and what each contrast is called.

    Parameters
    ----------
    levels : DataFrame
        What is compared, a row each.
    kind : "pairwise", "reference", "sequential" or "mean"
    reference : object
        The level that others are compared with; the first one by default.
    """
    if kind not in _KINDS:
        raise OptionError(f"kind={kind!r}: choose one of {', '.join(map(repr, _KINDS))}.")
    names = [_row_name(tuple(row)) for row in levels.itertuples(index=False)]
    if len(names) < 2:
        raise OptionError(f"{', '.join(map(str, levels.columns))} has one value, {names}; a contrast needs two.")
    if reference is not None and kind != "reference":
        raise OptionError(f"reference={reference!r} goes with kind='reference'; kind is {kind!r}.")
    if kind == "pairwise" and len(names) > _MOST_PAIRED:
        raise OptionError(f"{len(names)} levels make {len(names) * (len(names) - 1) // 2} pairs: choose another kind.")
    unit, first = np.eye(len(names)), _position(names, reference)
    if kind == "mean":
        return unit - 1.0 / len(names), [f"{name} - mean" for name in names]
    pairs = {
        "pairwise": [(b, a) for a, b in itertools.combinations(range(len(names)), 2)],
        "reference": [(a, first) for a in range(len(names)) if a != first],
        "sequential": [(a + 1, a) for a in range(len(names) - 1)],
    }[kind]
    return np.array([unit[a] - unit[b] for a, b in pairs]), [f"{names[a]} - {names[b]}" for a, b in pairs]


def level_name(value: Any) -> str:
    """A level as text, whole numbers without a decimal point."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _position(names: Sequence[str], reference: Any) -> int:
    if reference is None:
        return 0
    name = _row_name(tuple(reference) if isinstance(reference, list) else reference)
    if name not in names:
        raise OptionError(f"reference={reference!r} is none of the levels." + suggest(name, names))
    return names.index(name)


def _by_then(factors: Named, by: Named) -> dict[str, Any]:
    """All named columns, those of ``by`` first."""
    first, then = named_columns(by, "by"), named_columns(factors, "the first argument")
    for name in first.keys() & then.keys():
        raise OptionError(f"{name!r} is named twice, by by= too.")
    return first | then


def _index(levels: pd.DataFrame) -> pd.Index:
    """The values of the named columns; whole numbers without a decimal point."""
    whole = [n for n, v in levels.items() if v.dtype.kind == "f" and (v == np.round(v)).all() and v.abs().max() < 2**53]
    levels = levels.astype(dict.fromkeys(whole, np.int64))
    if not len(levels.columns):
        return pd.Index(["overall"])
    if len(levels.columns) == 1:
        return pd.Index(levels.iloc[:, 0], name=levels.columns[0])
    return pd.MultiIndex.from_frame(levels)


def _with_wide(X: np.ndarray) -> np.ndarray:
    return np.pad(X, ((0, 0), (0, 1)), constant_values=1.0)


def _over_rows(grid: Grid, by: dict[str, Any], derivative: Callable[[pd.DataFrame], np.ndarray]) -> Cells:
    """Averages over the rows of the fit, those of each level of ``by``."""
    if any(values is not None for values in by.values()):
        raise OptionError("slopes(at='rows') averages over the rows of each level: name the columns of by= alone.")
    grid.check(list(by))
    X = derivative(grid.frame)
    if not by:
        return Cells(pd.DataFrame(index=[0]), X[:, :-1].mean(axis=0)[None], X[:, -1].mean(keepdims=True))
    groups = grid.frame.groupby(list(by), observed=True, sort=True)
    levels = groups.size().index.to_frame(index=False)
    total = np.array([X[groups.ngroup().to_numpy() == g].mean(axis=0) for g in range(len(levels))])
    return Cells(levels, total[:, :-1], total[:, -1])
