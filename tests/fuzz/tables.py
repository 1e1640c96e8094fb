"""Data of a case: plain values first, then what a table makes of them."""

from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from tests.fuzz.dice import Dice
from tests.fuzz.dtypes import FACTORS, LABELS, NUMBERS, STRANGE

#: Columns by what they are for.
COVARIATES, FACTOR_COLUMNS, GROUPS = ("x", "t", "z"), ("f", "k"), ("g", "h")
_NAMES = (
    "my column", "x.1", "größe", "x²", "2", "1", "0", "a:b", "a/b", "it's", 'q"q', "π", "日本", "f[T.b]", "x|y", "x~y",
    "a+b", "-", " ", "", "a ", "\t", "T" * 60, "class", "None", "True", "lambda", "np", "I", "C", "poly", "log", "sum",
    "sigma", "beta", "coefficient", "chain", "draw", "row", "weight", "Intercept", "common", "X", "A", "b", "gamma",
    "lambda_common", "g_effect", "Sigma_g", "gamma_g", "beta_genes", "genes", "proposal_draw", "design_matrix", "y",
    "__class__", "data", "index", "level_0", "a`b", "{x}", "x[0]", "Δt (s)", "%", "a,b", "A_g", "b_g", "rho_g",
)  # fmt: skip


@dataclass
class Columns:
    """Columns under construction.

    ``name`` and ``quoted`` say how each role is called, in the table and in a formula; ``values`` has the numbers of
    those columns that are numbers, as floats, by role.
    """

    n: int
    series: dict[str, Any] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    dtype: dict[str, str] = field(default_factory=dict)
    name: dict[str, str] = field(default_factory=dict)

    def quoted(self, role: str) -> str:
        name = self.name[role]
        return name if name.isidentifier() and not iskeyword(name) else f"`{name}`"

    def missing(self, roles: set[str]) -> np.ndarray:
        """Rows in which one of the columns has no value."""
        absent = [pd.isna(pd.Series(self.series[role])).to_numpy(dtype=bool) for role in roles]
        return np.logical_or.reduce(absent) if absent else np.zeros(self.n, dtype=bool)


def draw_columns(dice: Dice) -> Columns:
    """Response, covariates, factors and grouping factors."""
    n = dice.number(5, 80)
    columns = Columns(n)
    plain = dice.chance(0.4)
    codes = _draw_groups(dice, n)
    codes |= {role: dice.rng.integers(0, levels, n) for role, levels in (("f", dice.number(2, 4)), ("k", 2))}
    numbers = _draw_numbers(dice, n)
    numbers["y"] = _draw_response(dice, numbers, codes)
    rows = _draw_rows(dice, n)
    for role, values in numbers.items():
        _add_number(dice, columns, role, values[rows], plain)
    for role, values in codes.items():
        _add_factor(dice, columns, role, values[rows], plain)
    columns.name = {role: role for role in columns.series}
    if dice.chance(0.2):
        _rename(dice, columns)
    return columns


def _draw_groups(dice: Dice, n: int) -> dict[str, np.ndarray]:
    """g, and an h that is crossed with it or whose labels are used anew in every group."""
    m = dice.number(2, 12)
    g = dice.rng.permutation(np.arange(n) % m) if dice.chance(0.7) else dice.rng.integers(0, m, n)
    h = dice.rng.integers(0, dice.number(2, 6), n)
    if dice.chance(0.2):
        h = g * 2 + dice.rng.integers(0, 2, n)  # nested, every label used once
    elif dice.chance(0.05):
        h = (g * 5 + 3) % 13  # the same groups under other labels
    return {"g": g, "h": h}


def _draw_numbers(dice: Dice, n: int) -> dict[str, np.ndarray]:
    numbers = {role: dice.rng.normal(size=n) for role in COVARIATES}
    numbers["t"] = np.round(3 * numbers["t"])
    if dice.chance(0.1):
        numbers["z"] = 2 * numbers["x"] + dice.pick([0.0, 1.0, numbers["t"], 1e-9 * numbers["t"]])  # collinear
    if dice.chance(0.1):
        numbers["t"] = numbers["t"] + dice.pick([100.0, 2000.0, 2.4e6])  # far from zero
    if dice.chance(0.05):
        numbers["x"][dice.number(0, n - 1)] = dice.pick([1e3, 1e6, -1e9])  # an outlier
    for role in numbers:
        if dice.chance(0.08):
            numbers[role] = numbers[role] * 10.0 ** dice.rng.uniform(-12, 12)
    return numbers


def _draw_response(dice: Dice, numbers: dict[str, np.ndarray], codes: dict[str, np.ndarray]) -> np.ndarray:
    rng, n = dice.rng, len(numbers["x"])
    noise = dice.pick([0.0, 1e-6, 0.3, 1.0, 10.0], [0.04, 0.03, 0.33, 0.5, 0.1])
    y = 1 + noise * rng.normal(size=n)
    if dice.chance(0.7):
        y = y + rng.normal(size=13)[codes["g"] % 13] + dice.pick([0.0, 0.5, 5.0]) * numbers["x"]
    if dice.chance(0.3):
        y = y + 0.3 * rng.normal(size=13)[codes["g"] % 13] * numbers["t"] + rng.normal(size=13)[codes["h"] % 13]
    if dice.chance(0.1):
        y = np.round(y)
    if dice.chance(0.1):
        y = np.exp(np.clip(y, -20, 20))  # positive and skew
    if dice.chance(0.05):
        y = y + dice.pick([1e3, 1e6, -1e9])
    return y * 10.0 ** dice.rng.uniform(-12, 12) if dice.chance(0.08) else y


def _draw_rows(dice: Dice, n: int) -> np.ndarray:
    """All rows once; now and then some of them again and again."""
    if dice.chance(0.05):
        return np.arange(n) // 2
    return dice.rng.integers(0, n, n) if dice.chance(0.03) else np.arange(n)


def _absent(dice: Dice, n: int) -> np.ndarray:
    """Rows without a value, in a few columns."""
    if not dice.chance(0.12):
        return np.zeros(n, dtype=bool)
    return dice.rng.random(n) < dice.pick([0.02, 0.1, 0.4])


def _add_number(dice: Dice, columns: Columns, role: str, values: np.ndarray, plain: bool) -> None:
    values = np.where(_absent(dice, columns.n), np.nan, values)
    kind = "float64"
    if not plain and dice.chance(0.35):
        kind = dice.pick(NUMBERS)
    if dice.chance(0.02):
        kind = dice.pick(STRANGE)
    columns.dtype[role] = kind
    columns.series[role] = pd.Series((NUMBERS | STRANGE)[kind](values))
    if kind in NUMBERS:
        columns.values[role] = as_floats(columns.series[role])


def as_floats(series: pd.Series) -> np.ndarray:
    """The numbers of a column, one after the other."""
    return np.array([np.nan if pd.isna(x) else float(x) for x in series])


def _add_factor(dice: Dice, columns: Columns, role: str, codes: np.ndarray, plain: bool) -> None:
    codes = np.where(_absent(dice, columns.n), -1, codes)
    kinds = FACTORS if role in FACTOR_COLUMNS else FACTORS | LABELS
    kind = dice.pick(kinds) if not plain and dice.chance(0.6) else "text"
    if dice.chance(0.02):
        kind = dice.pick(LABELS)
    columns.dtype[role] = kind
    columns.series[role] = pd.Series((FACTORS | LABELS)[kind](codes))


def _rename(dice: Dice, columns: Columns) -> None:
    """Odd names for one to three columns; all of them different."""
    roles = dice.some([role for role in columns.name if role != "y" or dice.chance(0.3)], 1, 3)
    for role, name in zip(roles, dice.some(_NAMES, len(roles), len(roles)), strict=True):
        if name not in columns.name.values():
            columns.name[role] = name


def make_table(dice: Dice, columns: Columns) -> tuple[Any, str]:
    """The columns as one of the tables that pmlmm takes, and what it is called."""
    order = dice.some(columns.series, len(columns.series), len(columns.series))
    frame = pd.DataFrame({columns.name[role]: pd.Series(columns.series[role]).reset_index(drop=True) for role in order})
    kind = dice.pick(["pandas", "index", "polars", "arrow", "dict"], [0.55, 0.15, 0.12, 0.1, 0.08])
    try:
        return _converted(dice, frame, kind), kind
    except Exception:  # these columns are not to be had in such a table
        return frame, "pandas"


def _converted(dice: Dice, frame: pd.DataFrame, kind: str) -> Any:
    if kind == "index":
        return frame.set_axis(dice.rng.permutation(len(frame)) * 7 + 3, axis=0)
    if kind == "polars":
        return pl.from_pandas(frame)
    if kind == "arrow":
        return pa.Table.from_pandas(frame)
    return {name: list(frame[name]) for name in frame} if kind == "dict" else frame


def permuted(data: Any, order: np.ndarray) -> Any:
    """The table with its rows in another order."""
    if isinstance(data, dict):
        return {name: [values[row] for row in order] for name, values in data.items()}
    if isinstance(data, pd.DataFrame):
        return data.iloc[order]
    return data[order] if isinstance(data, pl.DataFrame) else data.take(pa.array(order))


def number_of_rows(data: Any) -> int:
    """Rows of any of the tables."""
    return len(next(iter(data.values()))) if isinstance(data, dict) else len(data)
