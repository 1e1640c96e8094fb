"""Statements about parameters as text, and their posterior probabilities."""

import ast
import keyword
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from pmlmm.errors import OptionError, shown, suggest
from pmlmm.posterior.savage_dickey import log_density_ratio
from pmlmm.posterior.source import Posterior
from pmlmm.report.grid import Grid
from pmlmm.report.means import level_name, not_estimable
from pmlmm.report.tables import described

_QUOTED = re.compile(r"`([^`]*)`")
_ALONE = re.compile(r"(?<![<>=!])=(?!=)")
_LONGEST, _LARGEST = 1_000, 1e300
_SIGNS: dict[type, Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs}
_COMPARED: dict[type, str] = {ast.Gt: ">", ast.GtE: ">", ast.Lt: "<", ast.LtE: "<", ast.Eq: "="}


@dataclass(frozen=True, eq=False)
class Quantity:
    """A parameter, or what arithmetic makes of some.

    Attributes
    ----------
    draws : (draws,) array, or one number
    weights : (p + 2,) array, optional
        Where it is linear in the fixed effects: of these, of the wide blocks' part, and a constant.
    """

    draws: Any
    weights: np.ndarray | None = None

    @property
    def constant(self) -> bool:
        """Whether it has no uncertainty."""
        return self.weights is not None and not self.weights[:-1].any()


def hypotheses(posterior: Posterior, texts: str | Sequence[str], interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.hypothesis`."""
    listed = [texts] if isinstance(texts, str) or not isinstance(texts, Sequence) else list(texts)
    if not listed or not all(isinstance(text, str) for text in listed):
        raise OptionError("hypothesis() takes a text such as 'x > 0', or a list of texts.")
    names = Names(posterior)
    return pd.concat([_statement(posterior, names, text, interval) for text in listed])


def _statement(posterior: Posterior, names: "Names", text: str, interval: float) -> pd.DataFrame:
    """A row of the table."""
    difference, sign = _Reader(names, text).read()
    if difference.constant:
        raise OptionError(f"{shown(text)} names no parameter." + suggest("", names.known))
    draws, mean = difference.draws, float(np.mean(difference.draws))
    if not np.isfinite(draws).all():
        raise OptionError(f"{shown(text)} is not defined in {np.sum(~np.isfinite(draws))} of {len(draws)} draws.")
    if difference.weights is not None:
        mean = float(difference.weights @ np.append(posterior.population[0], 1.0))
    table = described(np.array([mean]), draws[:, None], pd.Index([text], name="hypothesis"), interval)
    table["probability"], table["evidence_ratio"] = _evidence(posterior, difference, sign, text)
    return table


def _evidence(posterior: Posterior, difference: Quantity, sign: str | None, text: str) -> tuple[float, float]:
    """Probability of the statement, and its odds."""
    if sign is None:
        return np.nan, np.nan
    if sign == "=":
        if difference.weights is None:
            raise OptionError(f"{shown(text)}: '=' is for sums and differences of fixed effects. Ask for > or <.")
        ratio = np.exp(log_density_ratio(posterior, difference.weights[:-1], -difference.weights[-1]))
        return float(ratio / (1.0 + ratio)), float(ratio)
    share = float(np.mean(difference.draws > 0 if sign == ">" else difference.draws < 0))
    return share, share / (1.0 - share) if share < 1.0 else np.inf


@dataclass(frozen=True, eq=False)
class Names:
    """What the words of a statement stand for."""

    posterior: Posterior

    @cached_property
    def grid(self) -> Grid:
        """What marginal means are averages over."""
        return Grid(self.posterior.design)

    @cached_property
    def cells(self) -> dict[str, tuple[str, Any]]:
        """Marginal means by ``factor_level``."""
        factors = self.grid.factors
        return {f"{name}_{level_name(level)}": (name, level) for name in factors for level in factors[name]}

    @property
    def known(self) -> list[str]:
        """All names and calls, as they must be written."""
        terms = self.posterior.design.terms
        calls = [_as_call("sd", (term.name, name)) for term in terms for name in term.coefficients]
        pairs = [(t.name, a, b) for t in terms for i, a in enumerate(t.coefficients) for b in t.coefficients[i + 1 :]]
        words = [*self.posterior.design.coefficients, *self.cells, "sigma"]
        return [*map(_as_word, words), *calls, *(_as_call("cor", pair) for pair in pairs)]

    def number(self, value: float) -> Quantity:
        return Quantity(float(value), np.append(np.zeros(len(self.posterior.population[0])), value))

    def word(self, name: str) -> Quantity:
        """A fixed effect, a marginal mean or sigma."""
        coefficients = self.posterior.design.coefficients
        if name in coefficients:
            return self._linear(np.eye(len(coefficients) + 1)[coefficients.index(name)])
        if name == "sigma":
            return Quantity(self.posterior.without_effects["sigma"].to_numpy().ravel())
        if name not in self.cells:
            raise OptionError(f"{shown(name)} is not known in this model." + suggest(name, self.known))
        column, level = self.cells[name]
        cells = self.grid.cells({column: [level]}, None, "equal")
        if not_estimable(self.posterior.design.X, cells.X).any():
            raise OptionError(
                f"{shown(name)} is not estimable: some of the cells that it averages have no rows. Take means() with "
                "by= or at= for those that have."
            )
        return self._linear(np.append(cells.X, 1.0), float(cells.offset[0]))

    def _linear(self, weights: np.ndarray, offset: float = 0.0) -> Quantity:
        return Quantity(self.posterior.population[1] @ weights + offset, np.append(weights, offset))

    def call(self, function: str, arguments: list[str]) -> Quantity:
        """``sd(term, effect)`` or ``cor(term, effect, effect)``."""
        terms = {term.name: term for term in self.posterior.design.terms}
        term = terms.get(arguments[0]) if arguments else None
        if term is not None and function == "sd" and len(arguments) == 1 and term.q == 1:
            arguments = [*arguments, term.coefficients[0]]
        effects = arguments[1:]
        wanted = 1 if function == "sd" else 2
        if term is None or len(effects) != wanted or not set(effects) <= set(term.coefficients):
            asked = _as_call(function, arguments)
            choices = [name for name in self.known if name.startswith(f"{function}(")]
            raise OptionError(f"{shown(asked)} is not known in this model." + suggest(asked, choices))
        where = [term.coefficients.index(name) for name in effects]
        Sigma = self.posterior.without_effects[f"Sigma_{term.name}"].to_numpy().reshape(-1, term.q, term.q)
        sds = np.sqrt(np.diagonal(Sigma, axis1=1, axis2=2))[:, where]
        return Quantity(sds[:, 0] if function == "sd" else Sigma[:, where[0], where[1]] / np.prod(sds, axis=1))


def _as_word(name: str) -> str:
    """A name in a statement: in backticks where it is more than a word."""
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"`{name}`"


def _as_call(function: str, arguments: Sequence[str]) -> str:
    return f"{function}({', '.join(map(_as_word, arguments))})"


class _Reader:
    """Evaluates one statement: numbers, names, arithmetic and the functions on the list; nothing else."""

    def __init__(self, names: Names, text: str):
        self._names, self._text = names, text
        self._quoted: dict[str, str] = {}

    def read(self) -> tuple[Quantity, str | None]:
        """Left minus right, and the sign between them."""
        if len(self._text) > _LONGEST:
            raise OptionError(f"A hypothesis may have {_LONGEST} characters; this one has {len(self._text)}.")
        code = _ALONE.sub("==", _QUOTED.sub(self._placeholder, self._text).replace("^", "**"))
        try:
            node = ast.parse(code.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self._refuse("cannot be read")
        with np.errstate(all="ignore"):  # what is not finite is reported
            if not isinstance(node, ast.Compare):
                return self._visit(node), None
            sign = _COMPARED.get(type(node.ops[0]))
            if sign is None or len(node.ops) > 1:
                self._refuse("has another comparison")
            left, right = self._visit(node.left), self._visit(node.comparators[0])
            return self._operation(ast.Sub, left, right), sign

    def _placeholder(self, match: re.Match) -> str:
        name = f"_quoted_{len(self._quoted)}_"
        self._quoted[name] = match.group(1)
        return f" {name} "

    def _visit(self, node: ast.AST) -> Quantity:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and abs(node.value) < _LARGEST:
            return self._names.number(node.value)
        if isinstance(node, ast.Name):
            return self._names.word(self._word(node))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign = self._names.number(-1.0 if isinstance(node.op, ast.USub) else 1.0)
            return self._operation(ast.Mult, sign, self._visit(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
            return self._operation(type(node.op), self._visit(node.left), self._visit(node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._call(node.func.id, node.args)
        self._refuse("has more than names, numbers, + - * / ^, functions and one of > < =")

    def _word(self, node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return self._quoted.get(node.id, node.id)
        self._refuse("has an argument that is no name")

    def _call(self, function: str, arguments: list[ast.expr]) -> Quantity:
        if function in ("sd", "cor"):
            return self._names.call(function, [self._word(argument) for argument in arguments])
        if function not in _FUNCTIONS or len(arguments) != 1:
            self._refuse(
                f"calls {function}() with {len(arguments)} arguments; sd, cor, {', '.join(_FUNCTIONS)} there are"
            )
        return Quantity(_FUNCTIONS[function](self._visit(arguments[0]).draws))

    def _operation(self, sign: type, a: Quantity, b: Quantity) -> Quantity:
        weights = None
        if a.weights is not None and b.weights is not None:
            if sign in (ast.Add, ast.Sub):
                weights = _SIGNS[sign](a.weights, b.weights)
            elif sign is ast.Mult and (a.constant or b.constant):
                weights = a.draws * b.weights if a.constant else b.draws * a.weights
            elif sign is ast.Div and b.constant:
                weights = a.weights / b.draws
        return Quantity(_SIGNS[sign](a.draws, b.draws), weights)

    def _refuse(self, what: str) -> NoReturn:
        raise OptionError(
            f"{shown(self._text)} {what}. A hypothesis reads like 'x > 0', 'arm_new - arm_control = 0', with names of "
            "more than a word in backticks." + suggest("", self._names.known)
        )
