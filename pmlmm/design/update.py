"""Change a formula as R's update does: ``.`` stands for what was there."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pmlmm.design.formula import RandomTerm, parse
from pmlmm.design.lexer import split, tokens
from pmlmm.errors import FormulaError, shown

# A dot by itself: no part of a number or a name, no attribute of something.
_DOT = re.compile(r"(?<![\w.)\]`])\.(?![\w.`])")
_ONES = {("+", "1"), ("-", "0")}
_ZEROS = {("+", "0"), ("-", "1")}


@dataclass(frozen=True)
class _Piece:
    """A term with the sign before it; ``random`` has what a term with bars stands for."""

    sign: str
    text: str
    random: tuple[RandomTerm, ...] = ()


def updated(formula: str, change: str) -> str:
    """The new formula.

    Parameters
    ----------
    formula : str
        The one that ``.`` refers to.
    change : str
        ``". ~ . + x"``, ``"~ . - (0 + t | g)"``, ``"log(.) ~ ."``, or a whole formula. Without a left side the response
        stays.

    Raises
    ------
    FormulaError
        A term is taken out that is not there, or there is no one ``~``.
    """
    if not isinstance(change, str):
        raise FormulaError(f"update(formula={change!r}): a string, such as '~ . + x'.")
    old_response, old_right = (piece for _, piece in split(formula, "~"))
    sides = [piece.strip() for _, piece in split(change, "~")]
    if len(sides) != 2:
        raise FormulaError(
            f"update({shown(change)}): one '~' is needed, with '.' for what was there: '~ . + x', 'log(.) ~ .'."
        )
    response = _DOT.sub(lambda match: old_response.strip(), sides[0] or ".")
    old = _pieces(old_right)
    pieces: list[_Piece] = []
    for sign, text in _chunks(sides[1]):
        pieces = _changed(pieces, sign, text, old, change)
    return f"{response} ~ {_written(pieces)}"


def _changed(pieces: list[_Piece], sign: str, text: str, old: list[_Piece], change: str) -> list[_Piece]:
    """The terms so far, with one more term of the change."""
    if text == ".":
        if sign == "-":
            raise FormulaError(f"update({shown(change)}): '- .' takes everything out; write what is to stay.")
        return [*pieces, *old]
    piece = _piece(sign, _filled(text, old))
    if _DOT.search(text) and sign == "+":  # '. * b' is about fixed effects, the random ones stay
        pieces = [*pieces, *(p for p in old if p.random and p not in pieces)]
    if piece.random:
        return _without_random(pieces, piece) if sign == "-" else [*pieces, piece]
    if (sign, text) in _ONES | _ZEROS:
        others = [p for p in pieces if (p.sign, p.text) not in _ONES | _ZEROS]
        return (
            others
            if (sign, text) in _ONES and others
            else [_Piece("+", "1" if (sign, text) in _ONES else "0"), *others]
        )
    if sign == "-":
        return _without_fixed(pieces, piece)
    return [*pieces, piece]


def _without_fixed(pieces: list[_Piece], out: _Piece) -> list[_Piece]:
    """A term written as it was disappears; of ``a * b`` formulaic takes parts out."""
    same = [p for p in pieces if p.sign == "+" and not p.random and _bare(p.text) == _bare(out.text)]
    return [p for p in pieces if p not in same] if same else [*pieces, out]


def _without_random(pieces: list[_Piece], out: _Piece) -> list[_Piece]:
    """Without the random terms that ``out`` stands for, of which others may have been written with them."""
    gone = {_key(term) for term in out.random}
    present = {_key(term) for piece in pieces for term in piece.random}
    if not gone <= present:
        there = ", ".join(shown(p.text) for p in pieces if p.random) or "none"
        raise FormulaError(
            f"update(): the formula has no random term {shown(out.text)} to take out. It has: {there}. "
            "For less of one, take it out and add what is to stay: '~ . - (x | g) + (1 | g)'."
        )
    kept = []
    for piece in pieces:
        left = [term for term in piece.random if _key(term) not in gone]
        if len(left) == len(piece.random):
            kept.append(piece)
        else:
            kept += [_piece("+", text) for text in _terms_written(left)]
    return kept


def _terms_written(terms: Sequence[RandomTerm]) -> list[str]:
    """Random terms in bars; those of one ``||`` together, as a factor in it would be coded anew by itself."""
    written = [f"({term.expression} | {_factor(term)})" for term in terms if not term.whole]
    for factor in dict.fromkeys(_factor(term) for term in terms if term.whole):
        parts = [term.expression for term in terms if term.whole and _factor(term) == factor]
        inside = " + ".join(part.removeprefix("0 + ") for part in parts)
        written.append(f"({inside if '1' in parts else f'0 + {inside}'} || {factor})")
    return written


def _factor(term: RandomTerm) -> str:
    plain = (name if name.replace(".", "_").isidentifier() else f"`{name}`" for name in term.columns)
    return ":".join(plain)


def _key(term: RandomTerm) -> tuple[frozenset[str], frozenset[str]]:
    """The same for terms that mean the same: ``t`` is ``1 + t``, ``a:b`` is ``b:a``, order does not matter."""
    parts = {(sign, _bare(text)) for sign, text in _chunks(term.expression)}
    ones = set() if parts & _ZEROS else {"1"}
    named = {f"{sign} {text}" for sign, text in parts - _ONES - _ZEROS}
    return frozenset(named | ones), frozenset(term.columns)


def _bare(text: str) -> str:
    return " ".join(token.text for token in tokens(text))


def _chunks(text: str) -> list[tuple[str, str]]:
    """Terms with their signs."""
    return [(sign, piece.strip()) for sign, piece in split(text, "+-") if piece.strip()]


def _pieces(text: str) -> list[_Piece]:
    return [_piece(sign, chunk) for sign, chunk in _chunks(text)]


def _piece(sign: str, text: str) -> _Piece:
    return _Piece(sign, text, parse(f"y ~ {text}").random)


def _filled(text: str, old: Iterable[_Piece]) -> str:
    """A dot inside a term stands for the old fixed effects."""
    fixed = _written([piece for piece in old if not piece.random])
    return _DOT.sub(lambda match: f"({fixed})", text)


def _written(pieces: Sequence[_Piece]) -> str:
    text = " ".join(f"{piece.sign} {piece.text}" for piece in pieces).removeprefix("+ ")
    return text if any(not piece.random for piece in pieces) else f"1 + {text}".removesuffix(" + ")
