"""Formula and data to arrays with names: response, fixed effects, random-effect terms."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from pmlmm.design.expression import Expression, read_arithmetic, read_terms
from pmlmm.design.formula import ParsedFormula, RandomTerm, parse, with_all_others
from pmlmm.design.formula_terms import refuse_idle_minus
from pmlmm.design.grouping import Grouping, build_grouping
from pmlmm.design.identified import refuse_unidentified
from pmlmm.design.matrix import Recipe, make_columns, one_column, quoted
from pmlmm.design.names import RESERVED, covariance_dims, refuse_same_names, result_names
from pmlmm.design.table import Table, column_names, complete_rows, row_count, row_labels
from pmlmm.design.term import Term
from pmlmm.design.untrusted import refuse_unsafe
from pmlmm.design.weights import Given, mean_of, numbers_of, offset_of, offset_recipe, read_given, weights_of
from pmlmm.design.wide import WideBlock, build_wide
from pmlmm.errors import DataError, FormulaError, shown, suggest

# Covariances of their own in one model; every one of them has hyperparameters to be learned.
_MOST_TERMS = 40


@dataclass(frozen=True)
class Design:
    """Everything numeric about one formula and one table.

    Attributes
    ----------
    Y : (n, r) array
        Responses, a column each, in their own units; there is one.
    X : (n, p) array
        Fixed-effect columns, named by ``coefficients``; ``coefficient_terms`` gives the formula
        term that each comes from.
    recipe : Recipe
        Of X, for other rows.
    terms : tuple of Term
        Random-effect terms; those of one factor share their ``grouping``.
    wide : tuple of WideBlock
        Blocks of penalised columns given beside the formula.
    table : Table
        The complete rows, and the count of the dropped ones.
    weights : (n,) array, optional
        The residual variance of a row is ``sigma^2 / weight``.
    offset : (n,) array, optional
        The known part of the linear predictor, in the units of y.
    given : Given
        Where these two come from.
    """

    formula: str
    parsed: ParsedFormula
    Y: np.ndarray
    X: np.ndarray
    coefficients: tuple[str, ...]
    coefficient_terms: tuple[str, ...]
    recipe: Recipe
    terms: tuple[Term, ...]
    wide: tuple[WideBlock, ...]
    table: Table
    weights: np.ndarray | None = None
    offset: np.ndarray | None = None
    given: Given = field(default_factory=Given)

    @property
    def n_rows(self) -> int:
        return len(self.Y)

    @property
    def y(self) -> np.ndarray:
        """The response, (n,), in its own units."""
        return self.Y[:, 0]

    @cached_property
    def net(self) -> np.ndarray:
        """The response less the offset, (n,): what the effects and the noise make up."""
        return self.y if self.offset is None else self.y - self.offset

    def mean(self, x: np.ndarray) -> Any:
        """Mean over the rows of x (n, ...), by :attr:`shares`."""
        return mean_of(x, self.shares)

    def variance(self, x: np.ndarray) -> Any:
        """Variance over the rows of x (n, ...), likewise."""
        return np.var(x, axis=0) if self.shares is None else self.mean((x - self.mean(x)) ** 2)

    @cached_property
    def typical_weight(self) -> float:
        """The median: a mean square times this is in the units of sigma^2, the variance of a row of weight 1."""
        return 1.0 if self.weights is None else float(np.median(self.weights))

    @cached_property
    def shares(self) -> np.ndarray | None:
        """How much rows count where sizes of columns are judged, (n,): by weight, none more than a typical one.

        So neither a very noisy row nor a very exact one decides what is large.
        """
        return None if self.weights is None else np.minimum(self.weights, self.typical_weight)

    @cached_property
    def noise_sd(self) -> np.ndarray | float:
        """Residual standard deviations of the rows in units of sigma: (n,), or 1."""
        return 1.0 if self.weights is None else 1.0 / np.sqrt(self.weights)

    def log_weights(self, codes: np.ndarray, groups: int) -> np.ndarray:
        """Sums of the logarithms of the weights over the rows of each group, (groups,); 0 without weights."""
        logs = None if self.weights is None else np.log(self.weights)
        return np.zeros(groups) if logs is None else np.bincount(codes, weights=logs, minlength=groups)

    def whitened(self, x: np.ndarray) -> np.ndarray:
        """Rows of x (n, ...) times the root of their weight, so that their noise has one variance."""
        return x if self.weights is None else x * np.sqrt(self.weights).reshape(-1, *(1,) * (x.ndim - 1))

    def coords(self) -> dict[str, np.ndarray | list[str]]:
        """Names along every dimension of the parameters."""
        names: dict[str, np.ndarray | list[str]] = {"coefficient": list(self.coefficients)}
        for block in self.wide:
            names[block.name] = block.labels
        for term in self.terms:
            names[term.factor] = term.grouping.labels
            for dimension in (f"{term.name}_effect", *covariance_dims(term.name)):
                names[dimension] = list(term.coefficients)
        return names

    @property
    def sizes(self) -> tuple[int, ...]:
        """q of each term."""
        return tuple(term.q for term in self.terms)

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        """The distinct grouping factors."""
        return tuple({term.factor: term.grouping for term in self.terms}.values())

    @property
    def random_effects(self) -> int:
        """Of all terms."""
        return sum(term.n_groups * term.q for term in self.terms)

    def numbers_each(self, *, gamma: bool | None, wide: bool | None) -> int:
        """Numbers that one draw of all parameters takes, effects only where they are asked for."""
        number = 1 + len(self.coefficients) + 2 * sum(q * q for q in self.sizes)
        number += self.random_effects if gamma else 0
        return number + (sum(block.p for block in self.wide) if wide else 0)

    def effects(self, factor: str) -> int:
        """Random effects of one group, over all terms on the factor."""
        return sum(term.q for term in self.terms if term.factor == factor)


def build_design(
    formula: str,
    data: Any,
    context: Mapping[str, Any] | None = None,
    penalized: Mapping[str, Any] | None = None,
    *,
    trusted: bool = True,
    weights: Any = None,
    offset: Any = None,
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
    trusted : bool
        Whether the formula may call any Python; see :mod:`pmlmm.design.untrusted`.
    weights, offset : str, array or Series, optional
        See :func:`pmlmm.design.weights.read_given`.

    Raises
    ------
    FormulaError, DataError
        Naming the column, term or group, and what to do.
    """
    context = dict(context or {})
    parsed, columns = parse(formula), column_names(data)
    response = read_arithmetic(parsed.response, columns, context)
    given = read_given(weights, offset, columns, row_count(data), row_labels(data))
    known = [read_arithmetic(text, columns, context) for text in parsed.offsets]
    taken = given.columns.union(*(expression.columns for expression in (response, *known)))
    taken |= {name for term in parsed.random for name in term.columns}
    parsed = with_all_others(parsed, [name for name in columns if name not in taken])
    fixed = read_terms(parsed.fixed, columns, context)
    refuse_idle_minus(fixed)
    effects = {text: read_terms(text, columns, context) for text in map(_evaluated_text, parsed.random)}
    if not trusted:
        refuse_unsafe([*map(quoted, (response, *known)), fixed, *effects.values()], formula, context)
    factors = _factor_columns(parsed.random, columns)
    expressions = (response, fixed, *known, *effects.values())
    needed = factors.union(given.columns, *(expression.columns for expression in expressions))
    table = complete_rows(data, [name for name in columns if name in needed], beside=given.arrays)
    given = replace(given, recipes=tuple(offset_recipe(expression, table.frame, context) for expression in known))
    if "Intercept" in needed:
        raise FormulaError("A column called 'Intercept' cannot be told from the intercept: rename it.")
    Y, offset = _response(response, table, context)[:, None], offset_of(given, table.frame)
    _refuse_constant(response, Y[:, 0], offset)
    X, recipe = make_columns(fixed, table.frame, context)
    terms = _terms(parsed.random, effects, table, context)
    refuse_unidentified(terms)
    refuse_same_names(terms, (*recipe.names, *recipe.terms))
    taken = {*RESERVED, *recipe.names, *recipe.terms, *result_names(terms)}
    return Design(
        formula=formula,
        parsed=parsed,
        Y=Y,
        X=X,
        coefficients=recipe.names,
        coefficient_terms=recipe.terms,
        recipe=recipe,
        terms=terms,
        wide=build_wide(penalized, table, taken),
        table=table,
        weights=weights_of(given, table.frame),
        offset=offset,
        given=given,
    )


def _evaluated_text(term: RandomTerm) -> str:
    """Terms of a ``||`` are made together, so that a factor beside the intercept has a reference level."""
    return term.whole or term.expression


def _factor_columns(random: tuple[RandomTerm, ...], columns: list[str]) -> set[str]:
    """Columns that the grouping factors are made of."""
    names = {name for term in random for name in term.columns}
    for name in sorted(names - set(columns)):
        raise FormulaError(f"The grouping factor {name!r} is not a column of the data." + suggest(name, columns))
    for term in random:
        if term.factor in RESERVED or "/" in term.factor:
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


def _response(response: Expression, table: Table, context: Mapping[str, Any]) -> np.ndarray:
    if response.text in table.frame:
        return numbers_of("The response", response.text, table.frame[response.text])
    return one_column(response, table.frame, context)


def _refuse_constant(response: Expression, y: np.ndarray, offset: np.ndarray | None) -> None:
    left = y if offset is None else y - offset
    if np.ptp(left) == 0:
        less = "" if offset is None else " less its offset"
        raise DataError(
            f"The response {shown(response.text)}{less} is {left[0]:g} in all {len(y)} rows: there is no variation to "
            "model."
        )


def _terms(
    random: tuple[RandomTerm, ...], effects: dict[str, Expression], table: Table, context: Mapping[str, Any]
) -> tuple[Term, ...]:
    groupings = {term.columns: build_grouping(term.columns, table) for term in random}
    made = {text: make_columns(expression, table.frame, context) for text, expression in effects.items()}
    pieces = [(term, picked) for term in random for picked in _pieces(term, made[_evaluated_text(term)][1])]
    if len(pieces) > _MOST_TERMS:
        raise FormulaError(
            f"The formula makes {len(pieces)} random-effect terms, each with a covariance of its own; {_MOST_TERMS} "
            f"are the most. (1 | {pieces[0][0].factor}:f) gives all levels of a factor f one variance."
        )
    on_factor = Counter(term.factor for term, _ in pieces)
    seen: Counter[str] = Counter()
    terms = []
    for term, picked in pieces:
        Z, recipe = made[_evaluated_text(term)]
        names = tuple(recipe.names[j] for j in picked)
        seen[term.factor] += 1
        name = term.factor if on_factor[term.factor] == 1 else f"{term.factor}_{seen[term.factor]}"
        terms.append(Term(name, term.expression, groupings[term.columns], names, Z[:, picked], recipe, picked))
    return tuple(terms)


def _pieces(term: RandomTerm, recipe: Recipe) -> list[tuple[int, ...]]:
    """Columns that share a covariance: all, or of a ``||`` those of one term, those of a factor one by one."""
    if not recipe.names:
        raise FormulaError(f"The random term ({term.expression} | {term.factor}) has no columns.")
    if not term.whole:
        return [tuple(range(len(recipe.names)))]
    own = tuple(j for j, number in enumerate(recipe.numbers) if number == term.part)
    return [(j,) for j in own] if term.part in recipe.factors else [own]
