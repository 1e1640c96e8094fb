"""Evaluate an expression on a table: columns with names, and the recipe for them on other rows."""

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from threading import RLock
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.design.columns import for_formula
from pmlmm.design.expression import Expression, alias, original
from pmlmm.design.formula_terms import explain, parse_terms, refuse_dates, refuse_same, refuse_too_many, refuse_vanished
from pmlmm.design.functions import FUNCTIONS
from pmlmm.errors import DataError, shown, suggest

# The filters of warnings belong to the whole process.
_ONE_THREAD = RLock()
# Beyond these sizes squares and products of columns leave the range of floating-point numbers.
_SMALLEST, _LARGEST = 1e-70, 1e70


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the columns of an expression are made, levels and other states of the fit's rows remembered.

    Attributes
    ----------
    expression : Expression
    names : tuple of str
        Of the columns.
    terms : tuple of str
        The formula term that each column comes from.
    numbers : tuple of int
        The same by number, in the order of the formula's terms.
    factors : frozenset of int
        Numbers of the terms that are made of categories alone, or with numbers.
    """

    expression: Expression
    names: tuple[str, ...]
    terms: tuple[str, ...]
    numbers: tuple[int, ...]
    factors: frozenset[int]
    _spec: Any = field(repr=False)
    _context: Mapping[str, Any] = field(repr=False)

    def columns(self, frame: pd.DataFrame) -> np.ndarray:
        """The columns for other rows, (rows, columns).

        Raises
        ------
        DataError
            They cannot be made; a level that the fit has not seen.
        """
        if not self.names:
            return np.empty((len(frame), 0))
        make = partial(self._spec.get_model_matrix, context={**FUNCTIONS, **self._context})
        seen = _as_seen(self.expression, frame)
        return _numbers(_evaluated(self.expression, seen, make, "the new data", self._levels))

    def _levels(self) -> dict[str, list]:
        """Levels by the code of each factor."""
        states = {code: state for code, (_, state) in self._spec.encoder_state.items()}
        return {code: list(state["categories"]) for code, state in states.items() if "categories" in state}

    @property
    def coded(self) -> frozenset[str]:
        """Columns of the table that stand for categories: by themselves, or in a ``C(column)``."""
        factors = {factor.expr for entry in self._spec.structure for factor in entry.term.factors}
        states = {code: self._spec.encoder_state[code][0].value for code in factors & set(self._spec.encoder_state)}
        return frozenset(original(_coded_name(code)) for code, kind in states.items() if kind == "categorical")


def _coded_name(code: str) -> str:
    """The name in ``name``, ``C(name, ...)`` or another word for a factor; the code itself if it is something else."""
    node = ast.parse(code, mode="eval").body
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("C", "factor", "relevel") and node.args:
        node = node.args[0]
    return node.id if isinstance(node, ast.Name) else code


def columns_alone(recipe: Recipe, frame: pd.DataFrame) -> np.ndarray:
    """The columns of some rows of the fit by themselves, nan where they cannot be made without the others."""
    try:
        return recipe.columns(frame)
    except DataError:  # a row that the expression names is not among them
        return np.full((len(frame), len(recipe.names)), np.nan)


def refuse_dependent(names: tuple[str, ...], alone: np.ndarray, values: np.ndarray) -> None:
    """Columns whose value in a row depends on the other rows mean something else in new data.

    Parameters
    ----------
    names : tuple of str
        Of the columns.
    alone, values : (rows, columns) arrays
        Some rows of the fit by themselves, and among all of its rows.

    Raises
    ------
    DataError
        They differ.
    """
    differs = ~np.isclose(alone, values, rtol=1e-8, atol=1e-12).all(axis=0)
    if differs.any():
        name = names[int(np.argmax(differs))]
        raise DataError(
            f"{name!r} depends on the other rows of the table, so that it means something else in new data. Write it "
            "with functions that remember the rows of the fit (mean, sd, median, min, max, center, scale), or make it "
            "a column."
        )


def make_columns(expression: Expression, frame: pd.DataFrame, context: Mapping[str, Any]) -> tuple[np.ndarray, Recipe]:
    """Columns of an expression, (rows, columns), every entry finite, and their recipe.

    Parameters
    ----------
    expression : Expression
    frame : DataFrame
        Complete rows with the columns that the expression uses.
    context : mapping
        The user's functions and values.

    Raises
    ------
    FormulaError, DataError
        Naming the column or term, and what to do.
    """
    from formulaic import model_matrix

    formula, seen = parse_terms(expression), _as_seen(expression, frame)
    refuse_dates(formula, expression, seen)
    refuse_too_many(formula, expression, seen)
    options = {"context": {**FUNCTIONS, **context}, "na_action": "ignore", "output": "pandas"}
    matrix = _evaluated(expression, seen, partial(model_matrix, formula, **options), "these data")
    spec = matrix.model_spec
    refuse_vanished(formula, spec, expression)
    names = tuple(original(str(name)) for name in spec.column_names)
    refuse_same(names, matrix.shape[1], expression)
    numbers, factors = _terms(spec)
    terms = tuple(original(str(spec.structure[number].term)) for number in numbers)
    values = _numbers(matrix)
    return values, Recipe(expression, names, terms, numbers, factors, spec, context)


def quoted(expression: Expression) -> Expression:
    """Arithmetic as one term."""
    return Expression(expression.text, f"0 + {{{expression.code}}}", expression.columns)


def one_column(expression: Expression, frame: pd.DataFrame, context: Mapping[str, Any]) -> np.ndarray:
    """The values of one piece of arithmetic, (rows,)."""
    values, recipe = make_columns(quoted(expression), frame, context)
    if values.shape[1] != 1:
        names = ", ".join(recipe.names[:5])
        raise DataError(
            f"The response {shown(expression.text)} makes {values.shape[1]} columns ({names}); it must be one numeric "
            "column."
        )
    return values[:, 0]


def check_finite(matrix: pd.DataFrame) -> None:
    """Raise for the first column with an infinite or undefined entry, or of a size that cannot be squared."""
    values = matrix.to_numpy()
    bad = ~np.isfinite(values)
    if bad.any():
        column = int(np.flatnonzero(bad.any(axis=0))[0])
        row = int(np.flatnonzero(bad[:, column])[0])
        raise DataError(
            f"Column {original(str(matrix.columns[column]))!r} is infinite or undefined in {int(bad[:, column].sum())} "
            f"of {len(matrix)} rows (first: row {matrix.index[row]}): mend the values or the transformation."
        )
    largest = np.abs(values).max(axis=0, initial=0.0)
    extreme = (largest > _LARGEST) | ((largest > 0) & (largest < _SMALLEST))
    if extreme.any():
        column = int(np.argmax(extreme))
        raise DataError(
            f"Column {original(str(matrix.columns[column]))!r} has values of up to {largest[column]:.3g}: their "
            "squares leave the range of floating-point numbers. Change its unit."
        )


def _evaluated(
    expression: Expression,
    seen: pd.DataFrame,
    make: Callable[..., pd.DataFrame],
    where: str,
    known: Callable[[], dict[str, list]] = dict,
) -> pd.DataFrame:
    """formulaic at work; whatever it or a function in the formula raises comes out in our words."""
    from formulaic.errors import DataMismatchWarning, FormulaicError

    try:
        with _ONE_THREAD, np.errstate(all="ignore"), warnings.catch_warnings():
            # a level that the fit has not seen would silently be coded as the reference level
            warnings.simplefilter("error", DataMismatchWarning)
            return make(data=seen)  # what is not finite is reported below, by column
    except DataMismatchWarning as error:
        listed = str(error).partition("{")[2].partition("}")[0]
        cause, levels = error, re.sub(r"np\.\w+\(([^()]*)\)", r"\1", listed)  # without NumPy's types
        name, choices = _with_level(levels, expression, seen, known())
        why = f"{name} has levels there that the fit has not seen: {levels}.{choices}"
    except FormulaicError as error:
        cause = error.__cause__ or error
        why = explain(cause)
    except (Exception, SystemExit) as error:
        cause, why = error, explain(error)
    raise DataError(f"Cannot evaluate {shown(expression.text)} on {where}: {why.removesuffix('.')}.") from cause


def _with_level(levels: str, expression: Expression, seen: pd.DataFrame, known: Mapping[str, list]) -> tuple[str, str]:
    """The column that has one of the levels, which formulaic does not name, and a sentence with the valid ones."""
    listed = set(levels.split(", "))
    for code, name in product(known, expression.columns):
        used = {node.id for node in ast.walk(ast.parse(code, mode="eval")) if isinstance(node, ast.Name)}
        values = seen[alias(name)].unique().tolist() if alias(name) in used else []
        unseen = [v for v in values if {repr(v), repr(v).removesuffix(".0")} & listed and v not in known[code]]
        if unseen:
            return repr(name), suggest(str(unseen[0]), known[code])
    return "a factor", ""


def _as_seen(expression: Expression, frame: pd.DataFrame) -> pd.DataFrame:
    """The columns under the names and in the types that formulaic gets."""
    return pd.DataFrame({alias(name): for_formula(frame[name]) for name in expression.columns}, index=frame.index)


def _terms(spec: Any) -> tuple[tuple[int, ...], frozenset[int]]:
    """The number of the term of every column, and those of the terms in which a factor takes part."""
    numbers, factors = [], set()
    for number, entry in enumerate(spec.structure):
        numbers += [number] * len(entry.columns)
        kinds = [spec.encoder_state[f.expr][0].value for f in entry.term.factors if f.expr in spec.encoder_state]
        if "categorical" in kinds:
            factors.add(number)
    return tuple(numbers), frozenset(factors)


def _numbers(matrix: pd.DataFrame) -> np.ndarray:
    for name, kind in matrix.dtypes.items():
        if pd.api.types.is_complex_dtype(kind):
            raise DataError(f"Column {original(str(name))!r} is complex: use its real and its imaginary part.")
    try:
        numbers = matrix.astype(float)
    except (ValueError, TypeError) as error:
        names = ", ".join(repr(original(str(name))) for name in matrix.columns[:5])
        raise DataError(f"A column of {names} is not numeric: {explain(error)}") from error
    check_finite(numbers)
    return numbers.to_numpy()
