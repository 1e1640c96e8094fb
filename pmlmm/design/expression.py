"""Read one expression of a formula: which columns it uses, and what formulaic is to evaluate.

R's spelling becomes Python's on the way: ``^`` is a power wherever there is arithmetic, dots may be part of a
name, ``TRUE`` is ``True``. Columns whose names are no Python names, or those of functions, get an alias.
"""

import builtins
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pmlmm.design.functions import CONSTANTS, ELSEWHERE, FUNCTIONS, MODULES, SPELLINGS
from pmlmm.design.lexer import CLOSING, OPENING, Token, compared, tokens
from pmlmm.errors import FormulaError, shown, suggest

_ALIAS = re.compile(r"_column_((?:[0-9a-f]{2})+)_")
_BUILTINS = set(dir(builtins))
_WORDS = {*keyword.kwlist, "True", "False", "None"}


@dataclass(frozen=True)
class Expression:
    """An expression as it was written, as formulaic reads it, and the columns that it uses."""

    text: str
    code: str
    columns: tuple[str, ...]


def alias(name: str) -> str:
    """A Python name for a column of any name, the same for every table."""
    safe = name.isidentifier() and not keyword.iskeyword(name) and name not in FUNCTIONS and not _ALIAS.search(name)
    return name if safe and name.isascii() else f"_column_{name.encode().hex()}_"


def original(text: str) -> str:
    """Undo :func:`alias` in names and messages: in backticks where there is more around the name."""

    def name(match: re.Match) -> str:
        column = bytes.fromhex(match.group(1)).decode(errors="replace")
        inside = text.count("(", 0, match.start()) > text.count(")", 0, match.start())
        return f"`{column}`" if inside and not column.isidentifier() else column

    return _ALIAS.sub(name, text)


def read_terms(text: str, columns: list[str], context: Mapping[str, Any]) -> Expression:
    """The right side of a formula, or the left one of a random term: terms, with arithmetic inside calls.

    Raises
    ------
    FormulaError
        A name that is no column, or what looks like arithmetic where terms are combined.
    """
    reader = _Reader(text, columns, context, arithmetic=False)
    return Expression(text, reader.code(), reader.used())


def read_arithmetic(text: str, columns: list[str], context: Mapping[str, Any]) -> Expression:
    """A response: arithmetic all over, as R reads the left side."""
    reader = _Reader(text, columns, context, arithmetic=True)
    return Expression(text, reader.code(), reader.used())


class _Reader:
    """Translates one expression, piece by piece."""

    def __init__(self, text: str, columns: list[str], context: Mapping[str, Any], *, arithmetic: bool):
        self._text, self._tokens = text, compared(tokens(text))
        self._columns, self._context = dict.fromkeys(columns), context
        self._arithmetic = arithmetic
        self._found: dict[str, None] = {}

    def used(self) -> tuple[str, ...]:
        """Columns, in the order in which they occur."""
        return tuple(self._found)

    def code(self) -> str:
        """What formulaic reads."""
        return "".join(self._pieces()).strip()

    def _pieces(self) -> Iterator[str]:
        inside = [self._arithmetic]  # whether each open bracket holds arithmetic
        for position, token in enumerate(self._tokens):
            joined = "." in (token.text, self._at(position - 1).text)
            if token.text in OPENING and token.kind == "sign":
                joined = self._is_call(position)
                inside.append(inside[-1] or token.text == "{" or joined)
            elif token.text in CLOSING and token.kind == "sign" and len(inside) > 1:
                inside.pop()
            yield ("" if joined else " ") + self._piece(position, token, inside[-1])

    def _is_call(self, position: int) -> bool:
        """Whether the bracket here follows something that can be called or indexed."""
        before = self._at(position - 1)
        return before.kind in ("name", "quoted") or before.text in (")", "]")

    def _at(self, position: int) -> Token:
        return self._tokens[position] if 0 <= position < len(self._tokens) else Token("end", "")

    def _piece(self, position: int, token: Token, arithmetic: bool) -> str:
        if token.kind == "quoted":
            return self._column(token.text[1:-1])
        if token.kind == "name":
            return self._name(position, token.text)
        if token.kind == "sign" and token.text in ("^", "**"):
            if not arithmetic:
                self._refuse_power_of_one(position)
            return "**"
        if token.text == "." and self._at(position - 1).kind != "quoted" and self._at(position - 1).text not in CLOSING:
            raise FormulaError(
                f"'.' in {shown(self._text)}: all other columns stand among the fixed effects only, outside of "
                f"functions. Name columns here, as in {' + '.join(list(self._columns)[:4])}."
            )
        if not arithmetic:
            self._refuse_arithmetic(position, token)
        return token.text

    def _name(self, position: int, name: str) -> str:
        before, after = self._at(position - 1).text, self._at(position + 1).text
        if before == "." or (after == "=" and self._is_keyword(position)):
            return SPELLINGS.get(name, name)
        if after == "(":
            return self._function(name)
        if name in self._columns:
            return self._column(name)
        root, _, rest = name.partition(".")
        if rest and root in self._columns and root not in MODULES:
            return f"{self._column(root)}.{rest}"
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in _WORDS or root in self._context or root in FUNCTIONS or root in _BUILTINS:
            return name
        return self._column(name)

    def _is_keyword(self, position: int) -> bool:
        """``df`` in ``bs(x, df=3)``."""
        return self._at(position - 1).text in ("(", ",")

    def _function(self, name: str) -> str:
        root, _, rest = name.partition(".")
        if name in self._context or name in FUNCTIONS or name in _WORDS:
            return name
        if name in SPELLINGS:
            return SPELLINGS[name]
        if name in ELSEWHERE:
            raise FormulaError(f"{name}() in {shown(self._text)} is not a function of formulas here. {ELSEWHERE[name]}")
        if rest and root in self._columns and root not in MODULES:
            return f"{self._column(root)}.{rest}"
        if root in self._context or root in FUNCTIONS or root in _BUILTINS:
            return name
        choices = [key for key, value in FUNCTIONS.items() if callable(value)]
        raise FormulaError(
            f"{name}() in {shown(self._text)} is not a function that formulas know."
            + suggest(name, choices)
            + f" NumPy's are np.{name}(...) and the like; your own come by Model(..., context={{{name!r}: function}})."
        )

    def _column(self, name: str) -> str:
        if not name:
            raise FormulaError(f"There is an empty name (``) in {shown(self._text)}.")
        if name not in self._columns:
            raise FormulaError(
                f"{shown(name)} in {shown(self._text)} is not a column of the data."
                + suggest(name, list(self._columns))
            )
        self._found[name] = None
        return alias(name)

    def _refuse_power_of_one(self, position: int) -> None:
        """A power of one term is that term: R takes ``t^2`` for ``t`` without a word."""
        before, exponent = self._at(position - 1), self._at(position + 1).text
        first = self._opening(position - 1) if before.text == ")" else position - 1
        single = before.kind in ("name", "quoted", "number") or self._is_call(first) or position - first <= 3
        if single:
            start = first - 1 if before.text == ")" and self._is_call(first) else first
            base = "".join(token.text for token in self._tokens[start:position])
            raise FormulaError(
                f"{base}^{exponent} in {shown(self._text)} crosses {base} with itself, which is {base} again. The "
                f"power of a number is I({base}^{exponent})."
            )

    def _opening(self, position: int) -> int:
        """Where the bracket that closes here was opened."""
        depth = 0
        for first in range(position, -1, -1):
            text = self._tokens[first].text
            depth += (text in CLOSING) - (text in OPENING)
            if depth == 0:
                return first
        return 0

    def _refuse_arithmetic(self, position: int, token: Token) -> None:
        """Numbers and comparisons have a meaning inside of functions only."""
        before, after = self._at(position - 1).text, self._at(position + 1).text
        alone = token.text in ("0", "1") and not {before, after} & {"*", "/", ":"}
        if token.kind == "number" and not alone and before not in ("^", "**"):
            raise FormulaError(
                f"The number {token.text} in {shown(self._text)} is no term: + - * / : combine terms here. Arithmetic "
                f"goes into I(), as in I({token.text} * x) or I(x / {token.text})."
            )
        if token.kind == "sign" and token.text in ("<", ">", "=", "==", "<=", ">=", "!=", "!", "&", "//", "@", "$"):
            raise FormulaError(
                f"{token.text!r} in {shown(self._text)} stands between terms; comparisons and arithmetic go into I(), "
                f"as in I(x {token.text if token.text != '=' else '=='} {after or 3})."
            )
