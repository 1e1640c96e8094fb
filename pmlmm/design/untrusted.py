"""Formulas from people who may not run code: an allowlist on the syntax tree of everything that is evaluated.

formulaic evaluates calls in a formula as Python, as R does. Here only columns, numbers, arithmetic,
comparisons and the named transformations pass: no attributes, subscripts, lambdas or builtins.
"""

import ast
from collections.abc import Mapping
from typing import Any

from pmlmm.design.expression import Expression, original
from pmlmm.design.formula_terms import parse_terms
from pmlmm.design.functions import FUNCTIONS, MODULES
from pmlmm.errors import FormulaError, shown

_LONGEST, _LONGEST_TEXT = 2_000, 200
# Degrees of freedom, degrees, digits: nothing that a call takes is larger; no power either.
_LARGEST_ARGUMENT, _LARGEST_POWER = 100, 20
# Those that compute something else than a number or a category for every row are left out, as are lag and hashed.
_FUNCTIONS = frozenset(FUNCTIONS) - {*MODULES, "lag", "hashed", "te", "patsy"}
_SIGNS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.FloorDiv, ast.BitAnd, ast.BitOr)
_UNARY = (ast.UAdd, ast.USub, ast.Not)
_WORDS = {
    ast.Attribute: "an attribute",
    ast.Subscript: "a subscript",
    ast.Lambda: "a function",
    ast.ListComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.JoinedStr: "a formatted text",
}


def refuse_unsafe(expressions: list[Expression], formula: str, context: Mapping[str, Any]) -> None:
    """Raise for whatever in a formula is more than columns, numbers, arithmetic and known functions.

    Parameters
    ----------
    expressions : list of Expression
        Everything in the formula that will be evaluated.
    formula : str
    context : mapping
        Functions that may be called because whoever wrote the program gave them.

    Raises
    ------
    FormulaError
    """
    if len(formula) > _LONGEST:
        raise FormulaError(f"An untrusted formula may have {_LONGEST} characters; this one has {len(formula)}.")
    for expression in expressions:
        for code in _evaluated(expression):
            _Check(expression, _FUNCTIONS | set(context)).visit(ast.parse(code, mode="eval").body)


def _evaluated(expression: Expression) -> list[str]:
    """The pieces of Python in an expression."""
    factors = {factor for term in parse_terms(expression) for factor in term.factors}
    return [factor.expr for factor in factors if factor.eval_method.value == "python"]


class _Check:
    """Walks a tree and refuses what is not on the list."""

    def __init__(self, expression: Expression, functions: frozenset[str]):
        self._text, self._functions = expression.text, functions

    def visit(self, node: ast.AST) -> None:
        """Raise for the first node that may not be there."""
        if isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, _SIGNS):
            self._operation(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, _UNARY):
            self.visit(node.operand)
        elif isinstance(node, ast.Compare):
            for part in (node.left, *node.comparators):  # with text too
                self.visit(part)
        elif isinstance(node, ast.Name):
            self._column(node.id)
        elif not (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | None)):
            self._refuse(_WORDS.get(type(node), original(ast.unparse(node))[:60]))

    def _call(self, node: ast.Call) -> None:
        if not (isinstance(node.func, ast.Name) and node.func.id in self._functions):
            self._refuse(f"a call of {original(ast.unparse(node.func))[:60]}")
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            if isinstance(argument, ast.List | ast.Tuple):
                for entry in argument.elts:
                    self._constant(entry)
            elif isinstance(argument, ast.Constant):
                self._constant(argument)
            else:
                self.visit(argument)

    def _constant(self, node: ast.AST) -> None:
        """An argument or an entry of a list: a short text, or a number that makes no monster."""
        if not isinstance(node, ast.Constant):
            self.visit(node)
        elif isinstance(node.value, str) and len(node.value) > _LONGEST_TEXT:
            self._refuse("a long text")
        elif isinstance(node.value, int) and abs(node.value) > _LARGEST_ARGUMENT:
            self._refuse(f"the argument {node.value}")
        else:
            self.visit(node)

    def _operation(self, node: ast.BinOp) -> None:
        self._number(node.left)
        self._number(node.right)
        if isinstance(node.op, ast.Pow):
            power = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
            small = (
                isinstance(power, ast.Constant)
                and isinstance(power.value, int | float)
                and abs(power.value) <= _LARGEST_POWER
            )
            if not small or not any(isinstance(part, ast.Name) for part in ast.walk(node.left)):
                self._refuse(f"the power {original(ast.unparse(node))[:60]}")

    def _number(self, node: ast.AST) -> None:
        """Text is no number: repeated, it fills the memory."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            self._refuse(f"the text {node.value[:30]!r} in arithmetic")
        self.visit(node)

    def _column(self, name: str) -> None:
        if name in self._functions or name.startswith("__"):
            self._refuse(name)

    def _refuse(self, what: str) -> None:
        raise FormulaError(
            f"{shown(self._text)} has {what}. Untrusted formulas may have columns, numbers, arithmetic, comparisons "
            f"and the functions {', '.join(sorted(_FUNCTIONS))}."
        )
