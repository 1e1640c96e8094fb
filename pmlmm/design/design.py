"""Formula and data to arrays with names: response, fixed effects, random-effect terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.design.formula import ParsedFormula, RandomTerm, parse
from pmlmm.design.table import Table, column_names, complete_rows, variables
from pmlmm.errors import DataError, FormulaError, suggest

# Smallest eigenvalue of the correlations of the columns of Z that counts as full rank.
_COLLINEAR = 1e-10
# Names that the results and the PyMC graph use themselves.
_RESERVED = ("beta", "chain", "coefficient", "draw", "proposal_draw", "row", "sigma", "weight", "y")


@dataclass(frozen=True)
class Grouping:
    """The grouping factor: the group of each row, the groups' values, and as coordinate labels."""

    factor: str
    codes: np.ndarray
    values: Any
    labels: np.ndarray

    @property
    def n_groups(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Term:
    """One random-effect term: its columns Z (n, q), with one covariance Sigma."""

    name: str
    expression: str
    factor: str
    coefficients: tuple[str, ...]
    Z: np.ndarray
    spec: Any

    @property
    def q(self) -> int:
        return len(self.coefficients)


@dataclass(frozen=True)
class Design:
    """Everything numeric about one formula and one table.

    Attributes
    ----------
    y : (n,) array
        Response, in its own units.
    X : (n, p) array
        Fixed-effect columns, named by ``coefficients``; ``coefficient_terms`` gives the formula
        term that each comes from.
    terms : tuple of Term
        Random-effect terms, all on the one grouping factor ``grouping`` (None without terms).
    table : Table
        The complete rows, and the count of the dropped ones.
    """

    formula: str
    parsed: ParsedFormula
    y: np.ndarray
    X: np.ndarray
    coefficients: tuple[str, ...]
    coefficient_terms: tuple[str, ...]
    spec: Any
    terms: tuple[Term, ...]
    grouping: Grouping | None
    table: Table

    @property
    def n_rows(self) -> int:
        return len(self.y)

    def coords(self) -> dict[str, np.ndarray | list[str]]:
        """Names along every dimension of the parameters."""
        names: dict[str, np.ndarray | list[str]] = {"coefficient": list(self.coefficients)}
        if self.grouping is not None:
            names[self.grouping.factor] = self.grouping.labels
        for term in self.terms:
            names[f"{term.name}_effect"] = names[f"{term.name}_effect2"] = list(term.coefficients)
        return names

    @property
    def sizes(self) -> tuple[int, ...]:
        """q of each term."""
        return tuple(term.q for term in self.terms)

    @property
    def Z(self) -> np.ndarray:
        """All random-effect columns side by side: (n, sum of q)."""
        return np.hstack([term.Z for term in self.terms]) if self.terms else np.empty((self.n_rows, 0))


def build_design(formula: str, data: Any, context: Mapping[str, Any] | None = None) -> Design:
    """Evaluate a formula on a table.

    Parameters
    ----------
    formula : str
        lme4 syntax; the expressions are formulaic's.
    data : pandas, polars or Arrow table, or dict of columns
    context : mapping, optional
        Functions and values that the formula may use beside the columns.

    Raises
    ------
    FormulaError, DataError
        Naming the column, term or group, and what to do.
    """
    context = dict(context or {})
    parsed = parse(formula)
    columns = column_names(data)
    expressions = [parsed.response, parsed.fixed, *(term.expression for term in parsed.random)]
    factor = _one_factor(parsed.random, columns)
    needed = set().union(*(variables(text, columns, context) for text in expressions))
    table = complete_rows(data, [name for name in columns if name in needed | {factor}])
    if "Intercept" in needed:
        raise FormulaError("A column called 'Intercept' cannot be told from the intercept: rename it.")
    y = _response(parsed.response, table, context)
    fixed = evaluate(parsed.fixed, table.frame, context)
    grouping = None if factor is None else _grouping(factor, table)
    terms = _terms(parsed.random, table, context)
    _check_random_columns(terms)
    return Design(
        formula=formula,
        parsed=parsed,
        y=y,
        X=fixed.to_numpy(dtype=float),
        coefficients=tuple(fixed.columns),
        coefficient_terms=_column_terms(fixed),
        spec=fixed.model_spec,
        terms=terms,
        grouping=grouping,
        table=table,
    )


def _one_factor(random: tuple[RandomTerm, ...], columns: list[str]) -> str | None:
    factors = list(dict.fromkeys(term.factor for term in random))
    for factor in factors:
        if factor not in columns:
            raise FormulaError(
                f"The grouping factor {factor!r} is not a column of the data." + suggest(factor, columns)
            )
        if factor in _RESERVED or "/" in factor:
            raise FormulaError(
                f"The grouping factor cannot be called {factor!r}: the results use that name, or cannot hold it. "
                "Rename the column."
            )
    if len(set(random)) < len(random):
        twice = next(term for term in random if random.count(term) > 1)
        raise FormulaError(f"The random term ({twice.expression} | {twice.factor}) is given twice.")
    if len(factors) > 1:
        raise FormulaError(
            f"The random terms use {len(factors)} grouping factors ({', '.join(factors)}); crossed and "
            "nested factors are not supported yet. Keep the terms of one factor."
        )
    return factors[0] if factors else None


def evaluate(expression: str, frame: pd.DataFrame, context: Mapping[str, Any]) -> Any:
    """Model matrix of one formulaic expression, every entry finite."""
    from formulaic import model_matrix
    from formulaic.errors import FormulaicError

    try:
        with np.errstate(all="ignore"):  # what is not finite is reported below, by column
            matrix = model_matrix(expression, frame, context={"np": np, **context}, na_action="ignore", output="pandas")
    except FormulaicError as error:
        raise FormulaError(f"Cannot evaluate {expression!r}: {error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"Cannot evaluate {expression!r} on these data: {error}") from error
    check_finite(matrix)
    return matrix


def check_finite(matrix: pd.DataFrame) -> None:
    """Raise for the first column with an infinite or undefined entry."""
    try:
        bad = ~np.isfinite(matrix.to_numpy(dtype=float))
    except (ValueError, TypeError) as error:
        raise DataError(f"A column of {', '.join(map(repr, matrix.columns))} is not numeric: {error}") from error
    if bad.any():
        column = int(np.flatnonzero(bad.any(axis=0))[0])
        row = int(np.flatnonzero(bad[:, column])[0])
        raise DataError(
            f"Column {matrix.columns[column]!r} is infinite or undefined in {int(bad[:, column].sum())} of "
            f"{len(matrix)} rows (first: row {matrix.index[row]}): mend the values or the transformation."
        )


def _response(expression: str, table: Table, context: Mapping[str, Any]) -> np.ndarray:
    if expression in table.frame and not pd.api.types.is_numeric_dtype(table.frame[expression].dtype):
        raise DataError(
            f"The response {expression!r} is not numeric (dtype {table.frame[expression].dtype}): convert it, "
            "for example with pandas.to_numeric."
        )
    if expression in table.frame and pd.api.types.is_complex_dtype(table.frame[expression].dtype):
        raise DataError(f"The response {expression!r} is complex: model its real or its imaginary part.")
    if expression in table.frame:
        matrix = table.frame[[expression]].astype(float)
        check_finite(matrix)
    else:
        matrix = evaluate(f"0 + {expression}", table.frame, context)
    if matrix.shape[1] != 1:
        raise DataError(
            f"The response {expression!r} makes {matrix.shape[1]} columns "
            f"({', '.join(map(str, matrix.columns))}); it must be one numeric column."
        )
    y = matrix.to_numpy(dtype=float)[:, 0]
    if np.ptp(y) == 0:
        raise DataError(
            f"The response {expression!r} is {y[0]:g} in all {len(y)} rows: there is no variation to model."
        )
    return y


def _grouping(factor: str, table: Table) -> Grouping:
    values = table.frame[factor]
    try:
        codes, labels = pd.factorize(values, sort=True)
    except TypeError:  # labels of several types have no order: keep that of appearance
        try:
            codes, labels = pd.factorize(values)
        except TypeError as error:
            raise DataError(f"The labels of the grouping factor {factor!r} cannot be compared: {error}") from error
    if len(labels) < 2:
        raise DataError(
            f"The grouping factor {factor!r} has a single group ({labels[0]}): its covariance cannot be "
            "learned from one group. Leave the random term out, or use another factor."
        )
    return Grouping(factor, codes.astype(np.int64), labels, _label_array(labels))


def _label_array(labels: Any) -> np.ndarray:
    """Labels as numbers, dates or distinct strings (what a netCDF coordinate can hold)."""
    values = np.asarray(labels)
    if values.dtype.kind in "iufbM":
        return values
    text = [str(value) for value in values]
    if len(set(text)) < len(text):  # 1 and "1" are two groups
        text = [repr(value) for value in values]
    return np.array(text)


def _terms(random: tuple[RandomTerm, ...], table: Table, context: Mapping[str, Any]) -> tuple[Term, ...]:
    terms = []
    for number, term in enumerate(random, start=1):
        matrix = evaluate(term.expression, table.frame, context)
        if matrix.shape[1] == 0:
            raise FormulaError(f"The random term ({term.expression} | {term.factor}) has no columns.")
        name = term.factor if len(random) == 1 else f"{term.factor}_{number}"
        Z = matrix.to_numpy(dtype=float)
        terms.append(Term(name, term.expression, term.factor, tuple(matrix.columns), Z, matrix.model_spec))
    return tuple(terms)


def _check_random_columns(terms: tuple[Term, ...]) -> None:
    """Constant or collinear columns of Z leave their covariance to the prior alone: refuse them."""
    if not terms:
        return
    names = [name for term in terms for name in term.coefficients]
    Z = np.hstack([term.Z for term in terms])
    scale = np.sqrt(np.mean(Z**2, axis=0))
    if not scale.all():
        raise DataError(f"The random-effect column {names[int(np.argmin(scale))]!r} is zero in every row: take it out.")
    unit = Z / scale
    values, vectors = np.linalg.eigh(unit.T @ unit / len(unit))
    if values[0] < _COLLINEAR:
        involved = [name for name, x in zip(names, vectors[:, 0], strict=True) if abs(x) > 1e-3]
        raise DataError(
            f"The random-effect columns {', '.join(map(repr, involved))} are collinear over all rows (a "
            "constant column is collinear with the intercept): take one out, or centre and rescale "
            "them (poly() does)."
        )


def _column_terms(matrix: Any) -> tuple[str, ...]:
    terms = [""] * matrix.shape[1]
    for term, positions in matrix.model_spec.term_indices.items():
        for position in positions:
            terms[position] = str(term)
    return tuple(terms)
