"""A group's own curve over one column: the rows that make it, and draws of the linear predictor there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.design.grouping import Grouping
from pmlmm.errors import DataError, OptionError, suggest
from pmlmm.posterior.draws import PREDICTOR

_POINTS = 60
# Columns that are a polynomial of x up to this degree, such as its square, move along with it.
_DEGREE, _EXACT = 5, 1e-8


@dataclass(frozen=True, eq=False)
class Curve:
    """One group's.

    Attributes
    ----------
    rows : (n_i,) int array
        The group's rows of the fit.
    frame : DataFrame
        Rows of a grid, with the columns that the model uses.
    between : (grid, n_i) array
        The grid's points as averages of the rows, for what is only known in these.
    """

    rows: np.ndarray
    frame: pd.DataFrame
    between: np.ndarray


def column_of_x(design: Design, x: str | None, grouping: Grouping) -> str:
    """The column on the x axis.

    By default the first one, of the random part before the fixed part, that differs within groups: numeric if there is
    such a one.
    """
    frame = design.table.frame
    recipes = [term.recipe for term in design.terms if term.grouping is grouping]
    used = [name for recipe in [*recipes, design.recipe] for name in recipe.expression.columns]
    choices = list(dict.fromkeys(name for name in used if name not in grouping.columns))
    if x is not None:
        if x not in choices:
            raise OptionError(f"x={x!r} is no column that the model uses." + suggest(x, choices))
        return x
    within = [name for name in choices if _differs(frame[name], grouping)]
    numeric = [name for name in within if is_numeric(frame[name])]
    if not choices:
        raise OptionError(
            "The model has no column for the x axis of trajectories: plot_random_effects() shows the groups."
        )
    return (numeric or within or choices)[0]


def _differs(values: pd.Series, grouping: Grouping) -> bool:
    """Whether a column has several values in some group."""
    codes = pd.factorize(values)[0]
    return len(np.unique(grouping.codes * (codes.max() + 1) + codes)) > grouping.n_groups


@dataclass(frozen=True, eq=False)
class Grids:
    """How the columns of a group run along one of them.

    Attributes
    ----------
    design : Design
    x : str
    grouping : Grouping
    levels : frozenset of str
        Columns whose values have nothing in between: text, flags, numbers inside of ``C()``.
    followers : dict
        Columns that are a polynomial of x in all rows, as functions of it.
    """

    design: Design
    x: str
    grouping: Grouping
    levels: frozenset[str]
    followers: dict[str, Callable]

    @property
    def continuous(self) -> bool:
        """Whether there is a curve at all."""
        return self.x not in self.levels

    def curve(self, group: int, *, extend: bool) -> Curve:
        """The grid of one group: between its ends, or over the range of all rows.

        The other columns are the group's own: numbers on the line between its rows, levels of the nearest row; those
        that are polynomials of x move along with it. Where x has levels, these are the grid.
        """
        frame, rows = self.design.table.frame, np.flatnonzero(self.grouping.codes == group)
        own = frame.iloc[rows]
        if not self.continuous:
            return _at_levels(own, rows, self.x, self.levels | {*self.grouping.columns})
        at = own[self.x].to_numpy(dtype=float)
        low, high = (float(x) for x in (frame[self.x] if extend else own[self.x]).agg(["min", "max"]))
        grid = np.linspace(low, high, _POINTS if high > low else 1)
        between = _averages(at, grid)
        made = own.iloc[np.argmax(between, axis=1)].reset_index(drop=True)
        for name in set(frame.columns) - self.levels - set(self.grouping.columns) - {self.x}:
            follow = self.followers.get(name)
            made[name] = between @ own[name].to_numpy(dtype=float) if follow is None else follow(grid)
        made[self.x] = grid
        return Curve(rows, made, between)


def grids(design: Design, x: str, grouping: Grouping) -> Grids:
    """How a design's columns run along x."""
    frame = design.table.frame
    levels = frozenset(name for name in frame.columns if not is_numeric(frame[name]) or _refused(design, name))
    followers = {} if x in levels else _followers(frame, x, set(frame.columns) - levels - {x})
    return Grids(design, x, grouping, levels, followers)


def is_numeric(values: pd.Series) -> bool:
    """Numbers, and not flags."""
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)


def _refused(design: Design, name: str) -> bool:
    """Whether a number between two of a column's values is no value that the model knows."""
    frame = design.table.frame
    values = np.unique(frame[name].to_numpy(dtype=float))
    if len(values) < 2:
        return False
    row = frame.iloc[:1].assign(**{name: 0.5 * (values[0] + values[1])})
    try:
        for recipe in {design.recipe, *(term.recipe for term in design.terms)}:
            recipe.columns(row)
    except DataError:
        return True
    return False


def _followers(frame: pd.DataFrame, x: str, names: set[str]) -> dict[str, Callable]:
    from numpy.polynomial import Chebyshev

    places, first = np.unique(frame[x].to_numpy(dtype=float), return_index=True)
    found: dict[str, Callable] = {}
    if len(places) < 3:
        return found
    for name in names:
        values = frame[name].to_numpy(dtype=float)
        fitted = Chebyshev.fit(places, values[first], min(_DEGREE, len(places) - 2))
        spread = np.ptp(values)
        if spread > 0.0 and np.max(np.abs(fitted(frame[x].to_numpy(dtype=float)) - values)) < _EXACT * spread:
            found[name] = fitted
    return found


def _at_levels(own: pd.DataFrame, rows: np.ndarray, x: str, levels: frozenset[str]) -> Curve:
    """The levels of x that the group has: numbers at the mean of the level's rows, other columns as in the first."""
    places = list(pd.unique(own[x].sort_values()))
    which = np.array([(own[x] == level).to_numpy() for level in places])
    between = which / which.sum(axis=1, keepdims=True)
    made = own.iloc[which.argmax(axis=1)].reset_index(drop=True)
    for name in set(own.columns) - levels:
        made[name] = between @ own[name].to_numpy(dtype=float)
    return Curve(rows, made, between)


def _averages(at: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Weights (grid, rows) of linear interpolation; rows at one x share theirs, outside are those of the end."""
    places, which = np.unique(at, return_inverse=True)
    shares = np.equal.outer(np.arange(len(places)), which).astype(float)
    shares /= shares.sum(axis=1, keepdims=True)
    units = np.eye(len(places))
    return np.stack([np.interp(grid, places, unit) for unit in units], axis=1) @ shares


def predictor(design: Design, curve: Curve, draws: dict[str, np.ndarray], factors: Sequence[str]) -> np.ndarray:
    """Draws of the linear predictor on the grid, (draws, grid), with the effects of these factors."""
    X = design.recipe.columns(curve.frame)
    total = draws["beta"] @ X.T
    if design.wide:
        total = total + _wide(design, curve.rows, draws) @ curve.between.T
    for term in design.terms:
        if term.factor in factors:
            Z = term.recipe.columns(curve.frame)[:, list(term.picked)]
            total = total + draws[f"gamma_{term.name}"][:, term.grouping.codes[curve.rows[0]]] @ Z.T
    return total


def _wide(design: Design, rows: np.ndarray, draws: dict[str, np.ndarray]) -> np.ndarray:
    """What wide blocks add in these rows, (draws, rows): the drawn linear predictor without all the rest."""
    rest = draws["beta"] @ design.X[rows].T
    for term in design.terms:
        gamma = draws[f"gamma_{term.name}"][:, term.grouping.codes[rows]]
        rest += np.einsum("sna,na->sn", gamma, term.Z[rows])
    return draws[PREDICTOR][:, rows] - rest
