"""Marginal means, their contrasts, and slopes: linear functions of the fixed effects, with posterior intervals."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pmlmm.errors import DataError, OptionError, suggest
from pmlmm.options import probability
from pmlmm.posterior.source import Posterior
from pmlmm.report.grid import Cells, Grid, Named, Weights, named_columns

#: Which means are compared.
Kind = Literal["pairwise", "reference", "sequential", "mean"]
_KINDS = ("pairwise", "reference", "sequential", "mean")
# Functions of which all draws are in memory at a time; more levels than so many have too many pairs.
_AT_ONCE, _MOST_PAIRED = 2_000, 200
# A jump or a kink is taken for one if steps down to 4^-8 of the first one find different derivatives: by more than this
# share, a share of the column's range over that of x, and what rounding does.
_SHORTENED, _AGREE, _NEGLIGIBLE, _ROUNDING = 8, 1e-3, 1e-6, 4 * np.finfo(float).eps
#: Steps of a derivative in spreads of the column, and the weights of five points: in the middle, at either end.
_STEP = 1e-3
_MIDDLE = (-2, (1 / 12, -8 / 12, 0.0, 8 / 12, -1 / 12))
_LOWER = (0, (-25 / 12, 48 / 12, -36 / 12, 16 / 12, -3 / 12))
_UPPER = (-4, (3 / 12, -16 / 12, 36 / 12, -48 / 12, 25 / 12))


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
    derivative = _derivative(grid, column)
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
    """Mean, sd and interval of linear functions of the fixed effects.

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
    mean, draws = posterior.population
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
    return pd.concat(tables)


def described(
    mean: np.ndarray, draws: np.ndarray, index: pd.Index, interval: float, *, direction: bool = False
) -> pd.DataFrame:
    """A table of means (functions,) and draws (draws, functions)."""
    tail = (1.0 - probability("interval", interval)) / 2.0
    lower, upper = np.quantile(draws, [tail, 1.0 - tail], axis=0)
    columns = {"mean": mean, "sd": np.std(draws, axis=0, ddof=1), "lower": lower, "upper": upper}
    if direction:
        columns["probability_of_sign"] = np.mean(np.sign(draws) == np.sign(mean), axis=0)
    return pd.DataFrame(columns, index=index)


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
    names = [", ".join(map(level_name, row)) for row in levels.itertuples(index=False)]
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
    return f"{value:g}" if isinstance(value, float) else str(value)


def _position(names: Sequence[str], reference: Any) -> int:
    if reference is None:
        return 0
    name = ", ".join(map(level_name, reference)) if isinstance(reference, tuple | list) else level_name(reference)
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


def _derivative(grid: Grid, column: str) -> Callable[[pd.DataFrame], np.ndarray]:
    """How the fixed effects' columns and the offset of some rows change with one column of the table.

    Steps are shortened where a shorter one finds something else: it may go over a jump or a kink.
    """
    five, sizes = _FivePoints.of(grid, column), np.ptp(grid.evaluated(grid.frame), axis=0)
    negligible = _NEGLIGIBLE * sizes / max(np.ptp(grid.numbers(column)), np.finfo(float).tiny)

    def derivative(rows: pd.DataFrame) -> np.ndarray:
        step, left = five.steps(rows), np.arange(len(rows))
        slope, _ = five.slopes(rows, step)
        for _ in range(_SHORTENED):
            step = step / 4
            shorter, noise = five.slopes(rows.iloc[left], step)
            apart = np.abs(shorter - slope[left]) > _AGREE * np.abs(shorter) + negligible + noise
            again = apart.any(axis=1)
            left, step = left[again], step[again]
            slope[left] = shorter[again]
            if not len(left):
                return slope
        place = rows[column].iloc[left[0]]
        raise OptionError(
            f"There is no slope of {column!r} at {place:g}, as the formula is not smooth in it: compare values instead, "
            f"contrast({{{column!r}: [...]}})."
        )

    return derivative


@dataclass(frozen=True, eq=False)
class _FivePoints:
    """Differences of five points, exact for polynomials of degree four.

    Within the data's range, beyond which splines do not go.
    """

    grid: Grid
    column: str
    low: float
    high: float
    spread: float

    @classmethod
    def of(cls, grid: Grid, column: str) -> "_FivePoints":
        x = grid.numbers(column)
        return cls(grid, column, float(x.min()), float(x.max()), float(np.std(x)))

    def steps(self, rows: pd.DataFrame) -> np.ndarray:
        """The first ones, (rows,): where the data do not go to 0, no longer than suits a logarithm."""
        x = np.abs(rows[self.column].to_numpy(dtype=float))
        near = (x > 0) & (self.low > 0 or self.high < 0)
        return _STEP * np.where(near, np.minimum(self.spread, x), self.spread)

    def slopes(self, rows: pd.DataFrame, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives, 0 where they are rounding, and the size of rounding errors; (rows, p + 1) each."""
        x = rows[self.column].to_numpy(dtype=float)
        lower = (x >= self.low) & (x - 2 * step < self.low)
        upper = (x <= self.high) & (x + 2 * step > self.high)
        first = np.select([lower, upper], [_LOWER[0], _UPPER[0]], _MIDDLE[0])
        weights = np.where(lower[:, None], _LOWER[1], np.where(upper[:, None], _UPPER[1], _MIDDLE[1]))
        total, noise = 0.0, 0.0
        for k in range(5):
            weight, values = (weights[:, k] / step)[:, None], self._moved(rows, x + (first + k) * step)
            total, noise = total + weight * values, noise + np.abs(weight * values)
        noise = _ROUNDING * noise
        return np.where(np.abs(total) <= noise, 0.0, total), noise + _ROUNDING * np.abs(total * (x / step)[:, None])

    def _moved(self, rows: pd.DataFrame, x: np.ndarray) -> np.ndarray:
        try:
            return self.grid.evaluated(rows.assign(**{self.column: x}))
        except DataError as error:
            raise OptionError(
                f"The slope of {self.column!r} needs the formula next to the values asked for, which fails: {error}"
            ) from error


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
