"""Formula and data to arrays with names: response, fixed effects, random-effect terms."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.design.formula import ParsedFormula, RandomTerm, parse
from pmlmm.design.grouping import Grouping, build_grouping
from pmlmm.design.table import Table, column_names, complete_rows, row_labels, variables
from pmlmm.design.wide import WideBlock, build_wide
from pmlmm.errors import DataError, FormulaError, suggest

# Smallest eigenvalue of the correlations of the columns of Z that counts as full rank.
_COLLINEAR = 1e-10
# Names that the results and the PyMC graph use themselves.
_RESERVED = ("beta", "chain", "coefficient", "draw", "proposal_draw", "row", "sigma", "weight", "y")


@dataclass(frozen=True, eq=False)
class Term:
    """One random-effect term: its columns Z (n, q), with one covariance Sigma for its factor's groups."""

    name: str
    expression: str
    grouping: Grouping
    coefficients: tuple[str, ...]
    Z: np.ndarray
    spec: Any

    @property
    def factor(self) -> str:
        return self.grouping.factor

    @property
    def q(self) -> int:
        return len(self.coefficients)

    @property
    def n_groups(self) -> int:
        return self.grouping.n_groups

    def stacked(self, others: "list[Term]") -> "Term":
        """This term and others on its factor as one, their columns side by side."""
        if not others:
            return self
        names = tuple(name for term in (self, *others) for name in term.coefficients)
        Z = np.hstack([self.Z, *(term.Z for term in others)])
        return Term(self.factor, "", self.grouping, names, Z, None)


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
        Random-effect terms; those of one factor share their ``grouping``.
    wide : tuple of WideBlock
        Blocks of penalised columns given beside the formula.
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
    wide: tuple[WideBlock, ...]
    table: Table

    @property
    def n_rows(self) -> int:
        return len(self.y)

    def coords(self) -> dict[str, np.ndarray | list[str]]:
        """Names along every dimension of the parameters."""
        names: dict[str, np.ndarray | list[str]] = {"coefficient": list(self.coefficients)}
        for block in self.wide:
            names[block.name] = block.labels
        for term in self.terms:
            names[term.factor] = term.grouping.labels
            names[f"{term.name}_effect"] = names[f"{term.name}_effect2"] = list(term.coefficients)
        return names

    @property
    def sizes(self) -> tuple[int, ...]:
        """q of each term."""
        return tuple(term.q for term in self.terms)

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        """The distinct grouping factors."""
        return tuple({term.factor: term.grouping for term in self.terms}.values())

    def effects(self, factor: str) -> int:
        """Random effects of one group, over all terms on the factor."""
        return sum(term.q for term in self.terms if term.factor == factor)


def build_design(
    formula: str, data: Any, context: Mapping[str, Any] | None = None, penalized: Mapping[str, Any] | None = None
) -> Design:
    """Evaluate a formula on a table.

    Parameters
    ----------
    formula : str
        lme4 syntax; the expressions are formulaic's.
    data : pandas, polars or Arrow table, or dict of columns
    context : mapping, optional
        Functions and values that the formula may use beside the columns.
    penalized : mapping, optional
        Names and blocks of penalised columns; see :func:`pmlmm.design.wide.build_wide`.

    Raises
    ------
    FormulaError, DataError
        Naming the column, term or group, and what to do.
    """
    context = dict(context or {})
    parsed = parse(formula)
    columns = column_names(data)
    expressions = [parsed.response, parsed.fixed, *(term.expression for term in parsed.random)]
    factors = _factor_columns(parsed.random, columns)
    needed = set().union(*(variables(text, columns, context) for text in expressions))
    table = complete_rows(data, [name for name in columns if name in needed | factors])
    if "Intercept" in needed:
        raise FormulaError("A column called 'Intercept' cannot be told from the intercept: rename it.")
    y = _response(parsed.response, table, context)
    fixed = evaluate(parsed.fixed, table.frame, context)
    terms = _terms(parsed.random, table, context)
    _check_random_columns(terms)
    _refuse_same_names(terms)
    taken = {*_RESERVED, *fixed.columns, *_column_terms(fixed), *_names(terms)}
    return Design(
        formula=formula,
        parsed=parsed,
        y=y,
        X=fixed.to_numpy(dtype=float),
        coefficients=tuple(fixed.columns),
        coefficient_terms=_column_terms(fixed),
        spec=fixed.model_spec,
        terms=terms,
        wide=build_wide(penalized, table, row_labels(data), taken),
        table=table,
    )


def _names(terms: tuple[Term, ...]) -> list[str]:
    """Dimensions and variables that the results make of the terms."""
    names = list({term.factor: None for term in terms})
    for term in terms:
        own = (f"{term.name}_effect", f"{term.name}_effect2", f"Sigma_{term.name}", f"gamma_{term.name}")
        names += [term.name, *own] if term.name != term.factor else own
    return names


def _refuse_same_names(terms: tuple[Term, ...]) -> None:
    names = _names(terms)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise FormulaError(
            f"Two parts of the results would be called {twice[0]!r}, from the factors "
            f"{', '.join(repr(f) for f in dict.fromkeys(term.factor for term in terms))}: rename a column."
        )


def _factor_columns(random: tuple[RandomTerm, ...], columns: list[str]) -> set[str]:
    """Columns that the grouping factors are made of."""
    names = {name for term in random for name in term.columns}
    for name in sorted(names - set(columns)):
        raise FormulaError(f"The grouping factor {name!r} is not a column of the data." + suggest(name, columns))
    for term in random:
        if term.factor in _RESERVED or "/" in term.factor:
            raise FormulaError(
                f"The grouping factor cannot be called {term.factor!r}: the results use that name, or cannot hold it. "
                "Rename the column."
            )
    if len({term.factor for term in random}) < len({term.columns for term in random}):
        raise FormulaError("Two grouping factors read alike once their columns are joined by ':': rename a column.")
    if len(set(random)) < len(random):
        twice = next(term for term in random if random.count(term) > 1)
        raise FormulaError(
            f"The random term ({twice.expression} | {twice.factor}) is given twice (a/b stands for a and a:b)."
        )
    return names


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


def _terms(random: tuple[RandomTerm, ...], table: Table, context: Mapping[str, Any]) -> tuple[Term, ...]:
    groupings = {term.columns: build_grouping(term.columns, table) for term in random}
    on_factor = Counter(term.factor for term in random)
    seen: Counter[str] = Counter()
    terms = []
    for term in random:
        matrix = evaluate(term.expression, table.frame, context)
        if matrix.shape[1] == 0:
            raise FormulaError(f"The random term ({term.expression} | {term.factor}) has no columns.")
        seen[term.factor] += 1
        name = term.factor if on_factor[term.factor] == 1 else f"{term.factor}_{seen[term.factor]}"
        Z = matrix.to_numpy(dtype=float)
        terms.append(Term(name, term.expression, groupings[term.columns], tuple(matrix.columns), Z, matrix.model_spec))
    return tuple(terms)


def _check_random_columns(terms: tuple[Term, ...]) -> None:
    """Zero or collinear columns of Z on one factor leave their covariance to the prior alone: refuse them."""
    for factor in {term.factor: None for term in terms}:
        own = [term for term in terms if term.factor == factor]
        names = [name if len(own) == 1 else f"{term.name} {name}" for term in own for name in term.coefficients]
        _refuse_collinear(names, np.hstack([term.Z for term in terms if term.factor == factor]))
    for k, term in enumerate(terms):
        for other in terms[:k]:
            if other.grouping is not term.grouping and _same_effects(term, other):
                raise DataError(
                    f"The factors {other.factor!r} and {term.factor!r} make the same {term.n_groups} groups, and both "
                    "have the same random effects: nothing in the data tells them apart. Keep one of the terms."
                )


def _same_effects(term: Term, other: Term) -> bool:
    """Whether two factors are one partition of the rows, with a column of Z in common."""
    m = term.n_groups
    if other.n_groups != m or len(np.unique(term.grouping.codes * m + other.grouping.codes)) > m:
        return False
    return any(np.array_equal(a, b) for a in term.Z.T for b in other.Z.T)


def _refuse_collinear(names: list[str], Z: np.ndarray) -> None:
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
