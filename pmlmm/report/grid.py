"""The reference grid of the fixed effects: rows for chosen values of the formula's columns, and their averages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from pmlmm.design.columns import for_formula
from pmlmm.design.design import Design
from pmlmm.design.weights import OFFSET, offset_of
from pmlmm.errors import OptionError, suggest
from pmlmm.posterior.new_rows import refuse_dependent_columns

#: How the levels of factors that are not named are averaged.
Weights = Literal["equal", "observed"]
#: Names of columns, or columns with the values that they are to have.
Named = str | Sequence[str] | Mapping[str, Any] | None

# Columns with more different numbers than this have no levels of their own: the user says which values.
_FEW_VALUES = 12
_MOST_ROWS = 1_000_000
# Numbers of the matrix that are in memory at a time.
_CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class Cells:
    """A linear function of the fixed effects for each combination of the named columns' values.

    Attributes
    ----------
    levels : DataFrame
        The combinations, (cells, named columns).
    X : (cells, p) array
        Averages of the rows of the grid.
    offset : (cells,) array
        The same of the known part of the linear predictor, 0 without one.
    """

    levels: pd.DataFrame
    X: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, eq=False)
class Grid:
    """The columns that the fixed effects and the offset are made of, in the rows of the fit."""

    design: Design

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The columns, as the formula sees them."""
        rows = self.design.table.frame
        return pd.DataFrame({name: for_formula(rows[name]) for name in self.columns}, index=rows.index)

    @property
    def fixed_columns(self) -> tuple[str, ...]:
        """Those of the fixed effects."""
        recipe = self.design.recipe
        return tuple(recipe.expression.columns) if recipe.names else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the fixed effects and then of the offset; an array is no column."""
        given = self.design.given
        return (*self.fixed_columns, *sorted(given.offset_columns - set(self.fixed_columns)))

    @cached_property
    def factors(self) -> dict[str, pd.Series]:
        """Levels of the columns that stand for categories, in their order."""
        coded = self.design.recipe.coded if self.fixed_columns else frozenset()
        categories = {n for n in self.columns if n in coded or self.frame[n].dtype.kind not in "fiu"}
        return {name: _levels(self.frame[name]) for name in self.columns if name in categories}

    def numbers(self, name: str) -> np.ndarray:
        """The values of a column that is no factor.

        Raises
        ------
        OptionError
            It is one.
        """
        self.check([name])
        if name in self.factors:
            numeric = [column for column in self.columns if column not in self.factors]
            raise OptionError(f"{name!r} is a factor in this formula, which has no slope." + suggest(name, numeric))
        return self.frame[name].to_numpy(dtype=float)

    def evaluated(self, rows: pd.DataFrame) -> np.ndarray:
        """The fixed effects' columns and the offset of a table of rows, (rows, p + 1); an array is at its mean."""
        given = self.design.given
        if given.offset == OFFSET:
            rows = rows.assign(**{OFFSET: self.design.table.frame[OFFSET].mean()})
        offset = offset_of(given, rows)
        return np.column_stack([self.design.recipe.columns(rows), np.zeros(len(rows)) if offset is None else offset])

    def check(self, names: Sequence[str]) -> None:
        """Raise for a name that is no column of the fixed effects."""
        if not self.design.coefficients:
            raise OptionError(
                "This model has no fixed effects, so that it has no marginal means, contrasts or slopes: leave out the "
                "0 in the formula, or ask predict() for the groups."
            )
        for name in names:
            if name not in self.columns:
                raise OptionError(
                    f"{name!r} is not a column that the fixed effects or the offset use." + suggest(name, self.columns)
                )

    def cells(
        self,
        named: Mapping[str, Any],
        at: Mapping[str, Any] | None,
        weights: Weights,
        make: Callable[[pd.DataFrame], np.ndarray] | None = None,
    ) -> Cells:
        """Averages over the grid for every combination of the named columns' values.

        Parameters
        ----------
        named : mapping
            Columns and their values; None for the levels that a column has.
        at : mapping, optional
            Values of other columns, or of those named without any.
        weights : "equal" or "observed"
        make : callable, optional
            What is averaged, of a table of rows, (rows, p + 1); by default :meth:`evaluated`.
        """
        if weights not in ("equal", "observed"):
            raise OptionError(f"weights={weights!r}: choose 'equal' or 'observed'.")
        axes = self._axes(named, dict(at or {}))
        outer = _crossed({name: axes[name] for name in named})
        inner, shares = self._averaged({n: v for n, v in axes.items() if n not in named}, weights)
        if len(outer) * len(inner) > _MOST_ROWS:
            raise OptionError(
                f"The reference grid has {len(outer)} x {len(inner)} rows: give fewer values with at={{...}}, or "
                "weights='observed', which leaves out combinations that do not occur."
            )
        refuse_dependent_columns(self.design, ())
        total = np.empty((len(outer), len(self.design.coefficients) + 1))
        for part, rows in self._rows(outer, inner):
            values = (make or self.evaluated)(rows)
            total[part] = np.tensordot(shares, values.reshape(-1, len(inner), total.shape[1]), axes=(0, 1))
        return Cells(outer, total[:, :-1], total[:, -1])

    def _rows(self, outer: pd.DataFrame, inner: pd.DataFrame) -> Iterator[tuple[slice, pd.DataFrame]]:
        """Rows of the grid in chunks: some of the cells, each crossed with all that is averaged over."""
        step = max(1, _CHUNK // (len(inner) * max(1, len(self.design.coefficients))))
        for first in range(0, len(outer), step):
            cells = outer.iloc[first : first + step]
            repeated = cells.iloc[np.repeat(np.arange(len(cells)), len(inner))].reset_index(drop=True)
            tiled = inner.iloc[np.tile(np.arange(len(inner)), len(cells))].reset_index(drop=True)
            yield slice(first, first + step), pd.concat([repeated, tiled], axis=1)

    def _axes(self, named: Mapping[str, Any], at: dict[str, Any]) -> dict[str, pd.Series]:
        """The values of every column: those asked for, levels, or the mean."""
        self.check([*named, *at])
        asked = at | {name: values for name, values in named.items() if values is not None}
        for name in at.keys() & {n for n, values in named.items() if values is not None}:
            raise OptionError(f"The values of {name!r} are given twice, and in at= too.")
        return {name: self._values(name, asked.get(name), name in named) for name in self.columns}

    def _values(self, name: str, asked: Any, named: bool) -> pd.Series:
        if asked is not None:
            return self._chosen(name, asked)
        if name in self.factors:
            return self.factors[name]
        values = np.unique(self.frame[name].to_numpy(dtype=float))
        if not named:
            return pd.Series([self.frame[name].mean()])
        if len(values) > _FEW_VALUES:
            raise OptionError(
                f"{name!r} has {len(values)} different values: say which, as in "
                f"{{{name!r}: [{values[0]:g}, {np.median(values):g}, {values[-1]:g}]}}."
            )
        return pd.Series(values)

    def _chosen(self, name: str, asked: Any) -> pd.Series:
        """Values that the user asks for, in the column's type."""
        many = isinstance(asked, list | tuple | range | np.ndarray | pd.Series | pd.Index)
        given = list(asked) if many else [asked]
        if not given or len(set(given)) < len(given):
            raise OptionError(f"The values of {name!r} must be different ones, at least one; they are {given}.")
        if name not in self.factors:
            return pd.Series([_number(name, value) for value in given])
        levels = self.factors[name]
        for value in given:
            if value not in set(levels):
                raise OptionError(f"{name!r} has no level {value!r}." + suggest(value, levels))
        known = list(levels)
        return levels.iloc[[known.index(value) for value in given]].reset_index(drop=True)

    def _averaged(self, axes: dict[str, pd.Series], weights: Weights) -> tuple[pd.DataFrame, np.ndarray]:
        """The combinations that are averaged over, and their shares."""
        factors = [name for name in axes if name in self.factors]
        if weights == "equal" or not factors:
            combinations = _crossed(axes, _MOST_ROWS)
            return combinations, np.full(len(combinations), 1.0 / len(combinations))
        kept = np.logical_and.reduce([self.frame[name].isin(axes[name]) for name in factors])
        counts = self.frame.loc[kept, factors].groupby(factors, observed=True, sort=True).size()
        if not len(counts):
            raise OptionError(f"weights='observed': no row has the chosen levels of {', '.join(map(repr, factors))}.")
        seen = counts.index.to_frame(index=False)
        typed = pd.DataFrame({name: seen[name].astype(self.frame[name].dtype) for name in factors})
        others = _crossed({name: values for name, values in axes.items() if name not in factors})
        shares = np.repeat(counts.to_numpy() / counts.sum(), len(others)) / len(others)
        return typed.merge(others, how="cross") if len(others.columns) else typed, shares


def _levels(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return pd.Series(pd.Categorical(values.cat.categories, dtype=values.dtype))
    return pd.Series(sorted(values.unique()), dtype=values.dtype)


def _crossed(axes: Mapping[str, pd.Series], most: int | None = None) -> pd.DataFrame:
    """All combinations, the last column fastest; one row without columns where there are none."""
    sizes = [len(values) for values in axes.values()]
    if most is not None and np.prod(sizes, dtype=float) > most:
        raise OptionError(
            f"The reference grid has {np.prod(sizes, dtype=float):.3g} combinations to average over: give values with "
            "at={...}, or weights='observed', which leaves out combinations that do not occur."
        )
    codes = np.indices(sizes).reshape(len(sizes), int(np.prod(sizes)))
    columns = {n: v.iloc[index].array for (n, v), index in zip(axes.items(), codes, strict=True)}
    return pd.DataFrame(columns, index=range(codes.shape[1]))


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise OptionError(f"{name!r} is a number; it cannot be {value!r}.")
    return number


def named_columns(names: Named, where: str) -> dict[str, Any]:
    """Names with values, None where a name came alone.

    Raises
    ------
    OptionError
        Something else than names, or a name twice.
    """
    if names is None:
        return {}
    if isinstance(names, Mapping):
        return dict(names)
    listed = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) for name in listed) or len(set(listed)) < len(listed):
        raise OptionError(f"{where} is {names!r}; give a column, a list of columns, or a dict from columns to values.")
    return dict.fromkeys(listed)
