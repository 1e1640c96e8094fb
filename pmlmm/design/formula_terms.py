"""The terms of an expression, as formulaic has them: read, counted, and refused where they would mislead."""

import re
from math import prod
from typing import Any

import pandas as pd

from pmlmm.design.expression import Expression, original
from pmlmm.design.lexer import split
from pmlmm.errors import DataError, FormulaError, shown
from pmlmm.memory import refuse_beyond

# More terms than this are no formula that anybody wrote.
_MOST_TERMS = 5_000
# Fewer columns than this fit anywhere.
_FEW_COLUMNS = 100
# Copies of the columns that are held while they are made.
_COPIES = 3
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def explain(error: BaseException) -> str:
    """Another library's message without its colours, with a caret under the place that it points at."""
    lines = original(_COLOURS.sub("", str(error))).strip().splitlines()
    first = lines[0] if lines else ""
    text = first if first[:1].isupper() or " " in first else f"{type(error).__name__} {first}".strip()
    if isinstance(error, TypeError) and ("ufunc" in text or "<class" in text):
        text = "it does arithmetic with text, flags or dates; make numbers of them first (1 * flag does)"
    source = next((line for line in lines[1:] if "⧛" in line), None)
    if source is not None:
        begin, end = source.index("⧛"), source.index("⧚")
        bare = source.replace("⧛", "").replace("⧚", "")
        text += f"\n    {bare}\n    {' ' * begin}{'^' * max(1, end - begin - 1)}"
    return text[:600]


def parse_terms(expression: Expression) -> Any:
    """formulaic's Formula.

    Raises
    ------
    FormulaError
        It cannot be read, or makes thousands of terms.
    """
    from formulaic import Formula
    from formulaic.errors import FormulaicError
    from formulaic.parser import DefaultFormulaParser

    try:
        tree = DefaultFormulaParser().get_ast(expression.code)
        if _count(tree) > _MOST_TERMS:
            raise FormulaError(f"{shown(expression.text)} makes more than {_MOST_TERMS} terms: write fewer.")
        formula = Formula(expression.code)
    except (FormulaicError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, FormulaError):
            raise
        raise FormulaError(f"Cannot read {shown(expression.text)}: {explain(error)}") from error
    if not hasattr(formula, "__iter__") or hasattr(formula, "lhs"):
        raise FormulaError(f"{shown(expression.text)} is several formulas; random terms are (1 | g), in parentheses.")
    return formula


def _count(node: Any) -> int:
    """Upper bound of the terms that a tree of operators makes."""
    operator = getattr(node, "operator", None)
    if operator is None:
        return 1
    arguments = list(node.args)
    if operator.symbol == "**":
        exponent = str(arguments[1])
        return _count(arguments[0]) ** int(exponent) if exponent.isdigit() and len(exponent) < 3 else _MOST_TERMS + 1
    counts = [_count(argument) for argument in arguments]
    if operator.symbol in ("*", "/", "in"):
        return prod(count + 1 for count in counts)
    return prod(counts) if operator.symbol == ":" else sum(counts)


def refuse_dates(formula: Any, expression: Expression, seen: pd.DataFrame) -> None:
    """A date is no number, and as a factor only on request; ``seen`` has the columns as formulaic gets them."""
    for factor in {factor for term in formula for factor in term.factors}:
        if factor.eval_method.value == "lookup" and factor.expr in seen and seen[factor.expr].dtype.kind in "mM":
            name = original(factor.expr)
            raise DataError(
                f"The column {name!r} in {shown(expression.text)} holds dates or times. Count from the first one: "
                f"(data[{name!r}] - data[{name!r}].min()) / pandas.Timedelta(days=1); C({name}) makes a factor of it."
            )


def refuse_too_many(formula: Any, expression: Expression, seen: pd.DataFrame) -> None:
    """Before a factor of many levels fills the memory."""
    widths: dict[str, int] = {}
    for factor in {factor for term in formula for factor in term.factors}:
        widths[factor.expr] = _levels(factor.expr, seen)
    total = sum(prod(widths[factor.expr] for factor in term.factors) for term in formula)
    if total < _FEW_COLUMNS:
        return
    widest = max(widths, key=widths.__getitem__)
    size = 8.0 * len(seen) * total * _COPIES
    refuse_beyond(
        size,
        f"The {total} columns of {shown(expression.text)} ({original(widest)} alone has {widths[widest]} levels) for "
        f"{len(seen)} rows",
        "A factor of so many levels is a grouping factor: (1 | ...); a block of many covariates goes into penalized=.",
    )


def _levels(code: str, seen: pd.DataFrame) -> int:
    """Columns that a part of a term makes, about: the levels of a factor, else 1."""
    call = re.fullmatch(r"(?:C|factor|relevel|dummy)\((\w+).*\)", code)
    name = call.group(1) if call else code
    if name not in seen:
        return 1
    values = seen[name]
    categorical = call is not None or values.dtype == object or isinstance(values.dtype, pd.CategoricalDtype)
    return int(values.nunique()) if categorical else 1


def refuse_vanished(formula: Any, spec: Any, expression: Expression) -> None:
    """A term without columns is lost: a factor of one level, or a function that returned nothing."""
    for term in formula:
        for factor in term.factors:
            if factor.eval_method.value != "literal" and factor.expr not in spec.encoder_state:
                raise FormulaError(
                    f"{original(factor.expr)!r} in {shown(expression.text)} returned no values (None): a function in a "
                    "formula must return a number for every row."
                )
    for entry in spec.structure:
        if not entry.columns:
            raise DataError(
                f"The term {original(str(entry.term))!r} has no columns: a factor with a single level says nothing. "
                "Take it out of the formula."
            )


def refuse_same(names: tuple[str, ...], made: int, expression: Expression) -> None:
    """A factor's level and another column can make one name."""
    if made == len(names) and len(set(names)) == made:
        return
    twice = next((name for name in names if names.count(name) > 1), names[0])
    raise FormulaError(
        f"Two columns of {shown(expression.text)} would be called {twice!r}: rename a column, or a level."
    )


def refuse_idle_minus(expression: Expression) -> None:
    """A term taken out that is not there does nothing, where a difference may have been meant."""
    pieces = [(sign, piece.strip()) for sign, piece in split(expression.code, "+-")]
    kept = " + ".join(piece for sign, piece in pieces if sign == "+" and piece) or "1"
    for piece in (piece for sign, piece in pieces if sign == "-" and piece not in ("0", "1", "")):
        if not _names(f"0 + {piece}", expression) <= _names(kept, expression):
            raise FormulaError(
                f"- {original(piece)} in {shown(expression.text)} takes out a term that is not there. The difference "
                f"of two numbers is I(x - {original(piece)})."
            )


def _names(code: str, expression: Expression) -> set[str]:
    return set(map(str, parse_terms(Expression(expression.text, code, ()))))
