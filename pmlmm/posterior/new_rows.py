"""What a model's columns, groups and blocks are in the rows of the fit, or in new ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.design.grouping import Grouping
from pmlmm.design.label_types import refuse_other_kinds
from pmlmm.design.matrix import Recipe, columns_alone, refuse_dependent
from pmlmm.design.table import Table, column_names, complete_rows
from pmlmm.design.term import Term
from pmlmm.design.weights import offset_of, weights_of
from pmlmm.design.wide import WideBlock, build_wide
from pmlmm.errors import DataError, shown, suggest


@dataclass(frozen=True, eq=False)
class Rows:
    """Complete rows of a table as arrays, columns as in the design.

    Attributes
    ----------
    X : (n, p) array
    Zs : list of (n, q) arrays
        One for each term; none where random effects are left out.
    codes : dict
        Group of each row by factor, (n,) int; -1 for one that the fit has not seen, or that the row does not have.
    wide : tuple of WideBlock
    table : Table
        The rows themselves, and which of those given they are.
    offset : (n,) array, optional
        The known part of the linear predictor.
    noise_sd : (n,) array or float
        Residual standard deviations in units of sigma: 1 without weights, and in a table without a column of them.
    """

    X: np.ndarray
    Zs: list[np.ndarray]
    codes: dict[str, np.ndarray]
    wide: tuple[WideBlock, ...]
    table: Table
    offset: np.ndarray | None = None
    noise_sd: np.ndarray | float = 1.0

    @property
    def n_rows(self) -> int:
        return len(self.X)


def fitted_rows(design: Design, *, effects: bool = True) -> Rows:
    """The rows of the fit; ``effects`` as in :func:`new_rows`."""
    codes = {grouping.factor: grouping.codes for grouping in design.groupings if effects}
    Zs = [term.Z for term in design.terms if effects]
    return Rows(design.X, Zs, codes, design.wide, design.table, design.offset, design.noise_sd)


def new_rows(
    design: Design, data: Any, penalized: Mapping[str, Any] | None, *, unseen: bool, effects: bool = True
) -> Rows:
    """The complete rows of a new table.

    Parameters
    ----------
    design : Design
    data : table
    penalized : mapping, optional
        The wide blocks' columns for these rows.
    unseen : bool
        Whether there may be groups that the fit has not seen; the groups' columns may then have gaps, or be absent.
    effects : bool
        False: without random effects, whose columns may then be absent.

    Raises
    ------
    DataError
        A column or block that is missing or cannot be evaluated, groups or levels that the fit has not seen, or a
        term whose value in a row depends on the other rows.
    """
    terms = design.terms if effects else ()
    needed, optional = _needed(design, data, unseen, terms)
    table = complete_rows(data, needed, optional=optional, may_be_empty=True)
    groupings = {term.factor: term.grouping for term in terms}
    if not len(table.frame):
        nobody = dict.fromkeys(groupings, np.empty(0, dtype=np.int64))
        return Rows(design.X[:0], [term.Z[:0] for term in terms], nobody, (), table)
    refuse_dependent_columns(design, terms)
    refuse_other_kinds(design.table.frame, table.frame, sorted(_used(design, terms)))
    X, Zs = _columns(design, terms, lambda recipe: recipe.columns(table.frame))
    codes = {factor: _codes(grouping, table.frame, unseen) for factor, grouping in groupings.items()}
    blocks, offset = _new_blocks(design, penalized, table), offset_of(design.given, table.frame)
    return Rows(X, Zs, codes, blocks, table, offset, _noise_sd(design, table.frame))


def _noise_sd(design: Design, frame: pd.DataFrame) -> np.ndarray | float:
    """By the column of weights where there is one; nan where it has gaps."""
    name = design.given.weights
    if name not in frame:
        return 1.0
    known, sd = frame[name].notna().to_numpy(), np.full(len(frame), np.nan)
    weights = weights_of(design.given, frame.loc[known])
    assert weights is not None  # as there is a column of them
    sd[known] = 1.0 / np.sqrt(weights)
    return sd


def _columns(
    design: Design, terms: tuple[Term, ...], make: Callable[[Recipe], np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """X and every Z from what ``make`` makes of a recipe, which several terms may share."""
    made = {recipe: make(recipe) for recipe in {term.recipe: None for term in terms}}
    return make(design.recipe), [made[term.recipe][:, term.picked] for term in terms]


def refuse_dependent_columns(design: Design, terms: tuple[Term, ...]) -> None:
    """Raise for columns of the formula, these terms or an offset that mean something else in other tables."""
    frame = design.table.frame
    rows = np.unique(np.linspace(0, len(frame) - 1, 7).astype(int)[1:-1])
    X, Zs = _columns(design, terms, lambda recipe: columns_alone(recipe, frame.iloc[rows]))
    refuse_dependent(design.coefficients, X, design.X[rows])
    for recipe in design.given.recipes:
        refuse_dependent(recipe.names, columns_alone(recipe, frame.iloc[rows]), recipe.columns(frame)[rows])
    for term, Z in zip(terms, Zs, strict=True):
        refuse_dependent(term.coefficients, Z, term.Z[rows])


def _new_blocks(design: Design, penalized: Mapping[str, Any] | None, table: Table) -> tuple[WideBlock, ...]:
    """The wide blocks' columns for new rows, in the order of the fit."""
    if penalized is not None and not isinstance(penalized, Mapping):
        raise DataError(
            f"predict(penalized=...) is a {type(penalized).__name__}; it must be a dict from names to matrices."
        )
    given = dict(penalized or {})
    for block in design.wide:
        if block.name not in given:
            raise DataError(
                f"The model has a wide block {block.name!r}: predict(data, penalized={{{block.name!r}: ...}})."
            )
    for name in given:
        if name not in {block.name for block in design.wide}:
            raise DataError(f"The model has no wide block {name!r}." + suggest(name, [b.name for b in design.wide]))
    blocks = build_wide({b.name: given[b.name] for b in design.wide}, table, set(), constant_allowed=True)
    for block, new in zip(design.wide, blocks, strict=True):
        if not np.array_equal(block.labels, new.labels):
            raise DataError(
                f"The wide block {block.name!r} must have the columns of the fit, in their order: "
                + _difference(block.labels, new.labels)
            )
    return blocks


def _difference(fitted: np.ndarray, given: np.ndarray) -> str:
    if len(fitted) != len(given):
        return f"{len(fitted)} columns, not {len(given)}."
    if fitted.dtype.kind != given.dtype.kind:
        return "pass it as in the fit, with column names or without."
    first = int(np.argmax(fitted != given))
    return f"column {first + 1} is {str(fitted[first])!r}, not {str(given[first])!r}."


def _needed(design: Design, data: Any, unseen: bool, terms: tuple[Term, ...]) -> tuple[list[str], list[str]]:
    """Columns of the new data that must be complete, and those of groups that may be missing."""
    columns = column_names(data)
    used = _used(design, terms)
    factors = {name for term in terms for name in term.grouping.columns}
    wanted = used if unseen else used | factors
    for name in sorted(wanted - set(columns)):
        raise DataError(f"The new data have no column {name!r}, which the model uses." + suggest(name, columns))
    optional = (factors if unseen else set()) | {design.given.weights}
    return [name for name in columns if name in wanted], [name for name in columns if name in optional - wanted]


def _used(design: Design, terms: tuple[Term, ...]) -> set[str]:
    """Columns of the formula's expressions."""
    recipes = [design.recipe, *(term.recipe for term in terms)]
    used = {name for recipe in recipes if recipe.names for name in recipe.expression.columns}
    return used | design.given.offset_columns


def _codes(grouping: Grouping, frame: pd.DataFrame, unseen: bool) -> np.ndarray:
    """Group of each row, -1 for one that the fit has not seen, or that has none."""
    if not set(grouping.columns) <= set(frame.columns):
        return np.full(len(frame), -1)
    codes = grouping.find(frame)
    if (codes < 0).any():
        grouping.refuse_other_types(frame)
    if not unseen and (codes < 0).any():
        unknown = frame[list(grouping.columns)][codes < 0].drop_duplicates()
        first = ":".join(shown(label) if isinstance(label, str) else str(label) for label in unknown.iloc[0])
        raise DataError(
            f"{grouping.factor!r} has {len(unknown)} group{'s' * (len(unknown) > 1)} that the fit has not seen (first: "
            f"{first}). predict(groups='new') draws their random effects, predict(groups='none') predicts without any."
        )
    return codes
