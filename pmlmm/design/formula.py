"""Split an lme4 formula at its bars; what is between them is read in expression.py."""

import re
from dataclasses import dataclass, field

from pmlmm.design.expression import alias, read_terms
from pmlmm.design.formula_terms import parse_terms
from pmlmm.design.lexer import split, tokens
from pmlmm.errors import FormulaError, shown


@dataclass(frozen=True)
class RandomTerm:
    """``(expression | factor)``: a correlated block; ``||`` and nested factors have been split into several.

    ``columns`` are those whose combined labels are the groups: several for ``a:b``. Of a ``||`` this is the term
    number ``part`` of ``whole``.
    """

    expression: str
    columns: tuple[str, ...]
    whole: str = field(default="", compare=False)
    part: int = field(default=0, compare=False)

    @property
    def factor(self) -> str:
        return ":".join(self.columns)


@dataclass(frozen=True)
class ParsedFormula:
    """Response, fixed part, random terms and what is inside ``offset()`` of one formula, as text."""

    response: str
    fixed: str
    random: tuple[RandomTerm, ...]
    offsets: tuple[str, ...] = ()


def parse(formula: str) -> ParsedFormula:
    """Read ``response ~ fixed + (expression | factor) + ...``.

    Raises
    ------
    FormulaError
        No response, unbalanced parentheses, a bar outside parentheses, a random term that is not
        added, or a grouping factor that is no column, nor columns joined by ``/`` or ``:``.
    """
    if not isinstance(formula, str):
        raise FormulaError(f"The formula must be a string, not {type(formula).__name__}.")
    sides = split(formula, "~")
    if len(sides) != 2 or not sides[0][1].strip():
        raise FormulaError(
            f"The formula {shown(formula)} needs one response on the left of one '~', "
            "for example 'Reaction ~ Days + (Days | Subject)'."
        )
    if len(split(sides[0][1], "|")) > 1:
        raise FormulaError(
            f"There is a bar on the left of '~' in {shown(formula)}: the left side is the response alone. Weights "
            "go into Model(..., weights='w'); censoring and the like (brms) are not supported."
        )
    fixed, random, offsets = [], [], []
    for sign, chunk in split(sides[1][1], "+-"):
        text = chunk.strip()
        bars = _bars(text)
        if bars is not None:
            if sign == "-":
                raise FormulaError(f"The random term {shown(text)} is subtracted; leave it out instead.")
            random.extend(_random_terms(text, bars))
        elif (inside := _offset(text)) is not None:
            if sign == "-":
                raise FormulaError(f"The offset {shown(text)} is subtracted; write + offset(-({inside})).")
            offsets.append(inside)
        elif text:
            fixed.append(f"{sign} {text}")
    fixed_text = " ".join(fixed).removeprefix("+ ") or "1"
    return ParsedFormula(sides[0][1].strip(), fixed_text, tuple(random), tuple(offsets))


def _offset(text: str) -> str | None:
    """What is inside of ``offset( ... )``; None where the term is something else."""
    match = re.fullmatch(r"offset\s*\((.*)\)", text, re.DOTALL)
    if match is None:
        return None
    depth = 0
    for char in match.group(1):
        depth += (char == "(") - (char == ")")
        if depth < 0:  # offset(a):(b)
            return None
    return match.group(1).strip()


def _bars(text: str) -> list[str] | None:
    """The pieces around the bars of ``( ... | ... )``; None where there is no bar to split at."""
    if len(split(text, "|")) > 1:
        raise FormulaError(f"The bar in {shown(text)} needs parentheses around it: (1 | g).")
    if text.startswith("(") and text.endswith(")"):
        try:
            pieces = [piece for _, piece in split(text[1:-1], "|")]
        except FormulaError:  # "(a) * (b)": the outer pair is not one pair
            pieces = [text]
        if len(pieces) > 1:
            return pieces
    if any("|" in inner for inner in _groups_without_name(text)):
        raise FormulaError(
            f"In {shown(text)} a random term is combined with another operator; random terms can only be "
            "added: y ~ x + (1 | g)."
        )
    return None


def _groups_without_name(text: str) -> list[str]:
    """Contents of the parentheses in text that are not the arguments of a function."""
    found, stack = [], []
    for position, char in enumerate(text):
        if char == "(":
            before = text[:position].rstrip()[-1:]
            stack.append((position, not (before.isalnum() or before in ("_", ".", ")", "]"))))
        elif char == ")" and stack:
            begin, plain = stack.pop()
            inside = text[begin + 1 : position]
            if plain and len(split(inside, "|")) > 1:
                found.append(inside)
    return found


def _random_terms(text: str, pieces: list[str]) -> list[RandomTerm]:
    correlated = len(pieces) == 2
    if not correlated and not (len(pieces) == 3 and not pieces[1]):
        raise FormulaError(f"{shown(text)} has several bars; write one term for each grouping factor.")
    expression, factors = pieces[0].strip(), _factors(pieces[-1].strip(), text)
    if not expression:
        raise FormulaError(
            f"{shown(text)} has nothing before its bar; (1 | {pieces[-1].strip()}) is a random intercept."
        )
    if correlated:
        return [RandomTerm(expression, columns) for columns in factors]
    parts = _uncorrelated(expression)
    if not parts:
        raise FormulaError(f"The random term {shown(text)} has no columns.")
    return [RandomTerm(part, columns, expression, k) for columns in factors for k, part in enumerate(parts)]


def _factors(factor: str, text: str) -> list[tuple[str, ...]]:
    """Columns of every grouping factor: ``a`` and ``a:b`` for ``a/b``."""
    levels = [tuple(_column(name, text) for _, name in split(piece, ":")) for _, piece in split(factor, "/")]
    nested = [sum(levels[: depth + 1], ()) for depth in range(len(levels))]
    for columns in nested:
        if len(set(columns)) < len(columns):
            raise FormulaError(f"The grouping factor {factor!r} in {shown(text)} names a column twice.")
    return nested


def _column(name: str, text: str) -> str:
    name = name.strip()
    if name.startswith("`") and name.endswith("`") and len(name) > 2:
        return name[1:-1]
    if not name.replace(".", "_").isidentifier():
        raise FormulaError(
            f"The grouping factor {name!r} in {shown(text)} must be the name of one column (in backticks if it has "
            "spaces or signs), or names joined by '/' (nested) or ':' (their combinations)."
        )
    return name


def _uncorrelated(expression: str) -> list[str]:
    """One expression for each term of ``expression``: '1 + t' gives '1' and '0 + t'."""
    words = [token for token in tokens(expression) if token.kind in ("quoted", "name")]
    names = [token.text.strip("`") for token in words]  # which of them are columns does not matter here
    code = read_terms(expression, names, dict.fromkeys(names))
    parts = [str(term) for term in parse_terms(code)]
    for token, name in zip(words, names, strict=True):
        parts = [part.replace(alias(name), token.text) for part in parts] if alias(name) != name else parts
    return [part if part == "1" else f"0 + {part}" for part in parts]
