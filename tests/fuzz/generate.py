"""Cases: a formula, a table, priors and options, all from one integer."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tests.fuzz.dice import Dice
from tests.fuzz.formulas import Formula, draw_formula, draw_weird
from tests.fuzz.priors import draw_options, draw_penalized, draw_priors
from tests.fuzz.tables import Columns, draw_columns, make_table, number_of_rows, permuted


def _broken(values: Any) -> Any:
    raise KeyError("a function of the user's that fails")


#: What every formula may use beside the columns.
CONTEXT: dict[str, Any] = {
    "half": lambda values: values / 2,
    "nothing": lambda values: None,
    "text": lambda values: "text",
    "broken": _broken,
    "seven": 7,
}


@dataclass(frozen=True)
class Case:
    """One case; ``priors`` and ``options`` are Python text, since making a prior can be refused too.

    Attributes
    ----------
    meaning : dict
        What columns of the design must be, by name without spaces: one value a row of the data.
    response : (rows,) array or None
        What the response must be, where that is known.
    complete : (rows,) array of bool or None
        Rows that the model must use, where that is known.
    used : set
        Names of columns that must appear in the model.
    """

    seed: int
    formula: Any
    data: Any
    kind: str
    dtypes: dict[str, str]
    priors: str = "None"
    penalized: dict[str, Any] | None = None
    standardize: bool = True
    options: str = ""
    meaning: dict[str, np.ndarray] = field(default_factory=dict)
    response: np.ndarray | None = None
    complete: np.ndarray | None = None
    used: set[str] = field(default_factory=set)

    @property
    def rows(self) -> int:
        return number_of_rows(self.data)

    def __str__(self) -> str:
        blocks = {name: f"{type(block).__name__} {np.shape(block)}" for name, block in (self.penalized or {}).items()}
        text = repr(self.formula)
        text = text if len(text) < 400 else f"{text[:200]} ... {text[-50:]}"
        return (
            f"case {self.seed}: {text}\n"
            f"  {self.rows} rows, {self.kind} table, {self.dtypes}\n"
            f"  priors={self.priors}, penalized={blocks}, "
            f"standardize={self.standardize}, fit({self.options})"
        )


def case(seed: int) -> Case:
    """The case with this number: the same whenever it is asked for."""
    dice = Dice(seed)
    columns = draw_columns(dice)
    formula = draw_formula(dice, columns)
    if dice.chance(0.14):
        columns.name = {role: role for role in columns.name}
        formula = draw_weird(dice, draw_formula(dice, columns))
    data, kind = make_table(dice, columns)
    standardize, options = draw_options(dice)
    return Case(
        seed=seed,
        formula=formula.text,
        data=data,
        kind=kind,
        dtypes={str(columns.name[role]): columns.dtype[role] for role in columns.series},
        priors=draw_priors(dice, columns, formula),
        penalized=draw_penalized(dice, columns.n),
        standardize=standardize,
        options=options,
        meaning=_meaning(columns),
        **_expected(formula, columns),
    )


# A term that takes another away: what the model is made of is then for the algebra of formulas to say.
_TAKEN_AWAY = re.compile(r"[^(]\s*-\s*[^\d\s]")


def _expected(formula: Formula, columns: Columns) -> dict[str, Any]:
    if not formula.roles:
        return {}
    if _TAKEN_AWAY.search(str(formula.text).split("~")[-1]):
        return {"response": formula.response}
    return {
        "response": formula.response,
        "complete": ~columns.missing(formula.roles),
        "used": {columns.name[role] for role in formula.roles},
    }


def rows_of(given: Case, rows: np.ndarray) -> tuple[Any, dict[str, Any] | None]:
    """These rows of the table and of the penalised blocks, in this order."""
    blocks = {name: _rows_of_block(block, rows) for name, block in (given.penalized or {}).items()}
    return permuted(given.data, rows), blocks or None


def _rows_of_block(block: Any, rows: np.ndarray) -> Any:
    if isinstance(block, pd.DataFrame):
        return block.iloc[rows]
    return [block[row] for row in rows] if isinstance(block, list) else block[rows]


_POWERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "{0}": lambda x: x,
    "I({0}**2)": lambda x: x**2,
    "I({0}^2)": lambda x: x**2,
    "I(-{0})": lambda x: -x,
    "I(10*{0})": lambda x: 10 * x,
    "half({0})": lambda x: x / 2,
}


def _meaning(columns: Columns) -> dict[str, np.ndarray]:
    """Values of the columns of X and Z whose names say what they are."""
    plain = {columns.name[role]: values for role, values in columns.values.items()}
    plain.pop("Intercept", None)  # the model's own, and no covariate may be called so
    with np.errstate(all="ignore"):
        known = {form.format(name): f(x) for name, x in plain.items() for form, f in _POWERS.items()}
        known |= {f"{a}:{b}": plain[a] * plain[b] for a in plain for b in plain if a != b}
        known |= {f"I({a}*{b})": plain[a] * plain[b] for a in plain for b in plain if a != b}
    return {name.replace(" ", ""): values for name, values in known.items()}
