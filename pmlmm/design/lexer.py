"""The words of a formula: tokens, and pieces between separators that stand outside of brackets and quotes."""

import re
from typing import NamedTuple

from pmlmm.errors import FormulaError, shown

OPENING, CLOSING = ("(", "[", "{"), (")", "]", "}")
# Brackets in brackets; Python's own parser gives up at some two hundred.
_DEEPEST = 50
_TOKENS = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<quoted>`[^`]*`)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[jJ]?)
    |(?P<name>[^\W\d][\w.]*)
    |(?P<sign>\*\*|%\w*%|[<>=!]=|//|.)""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of text; ``kind`` is that of the pattern above."""

    kind: str
    text: str


def tokens(text: str) -> list[Token]:
    """The expression in pieces, without white space."""
    found = [Token(str(match.lastgroup), match.group()) for match in _TOKENS.finditer(text)]
    return [token for token in found if token.kind != "space"]


def compared(pieces: list[Token]) -> list[Token]:
    """Brackets around what ``&`` and ``|`` join: in R they bind less than comparisons, in Python more."""
    opened, closed = [0] * len(pieces), [0] * len(pieces)
    for position, token in enumerate(pieces):
        if token.text in ("&", "|"):
            for first, last in ((_end(pieces, position, -1), position - 1), (position + 1, _end(pieces, position, 1))):
                if first <= last and not (opened[first] and closed[last]):
                    opened[first] += 1
                    closed[last] += 1
    result = []
    for token, before, after in zip(pieces, opened, closed, strict=True):
        result += [Token("sign", "(")] * before + [token] + [Token("sign", ")")] * after
    return result


def _end(pieces: list[Token], position: int, step: int) -> int:
    """The last token of the operand on one side of an operator."""
    inner, outer = (CLOSING, OPENING) if step < 0 else (OPENING, CLOSING)
    depth, at = 0, position + step
    while 0 <= at < len(pieces):
        text = pieces[at].text
        depth += (text in inner) - (text in outer)
        if depth < 0 or (depth == 0 and text in (",", "&", "|", "=")):
            break
        at += step
    return at - step


def split(text: str, separators: str) -> list[tuple[str, str]]:
    """Cut at separators outside parentheses and quotes: (separator before, piece) pairs."""
    pieces, depth, quote, begin, sign = [], 0, "", 0, "+"
    for position, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "`'\"":
            quote = char
        elif char in OPENING:
            depth += 1
            if depth > _DEEPEST:
                raise FormulaError(f"More than {_DEEPEST} brackets are open at once in {text.strip()[:60]!r}...")
        elif char in CLOSING:
            depth -= 1
            if depth < 0:
                raise FormulaError(f"Unbalanced {char!r} in {shown(text.strip())}.")
        elif char in separators and depth == 0:
            pieces.append((sign, text[begin:position]))
            begin, sign = position + 1, char
    if depth or quote:
        raise FormulaError(f"Unclosed {quote or 'parenthesis'} in {shown(text.strip())}.")
    return [*pieces, (sign, text[begin:])]
