"""Priors, penalised blocks and options of a case."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from scipy import sparse

from tests.fuzz.dice import Dice
from tests.fuzz.formulas import Formula
from tests.fuzz.tables import Columns

_FIXED = (
    "Ridge()", "Ridge(1)", "Ridge(lambda_=0.01)", "Ridge(0)", "Ridge(1e6)", "Flat()", "Ridge(lambda_=1e-12)",
    "Ridge(np.float32(2))", "Normal()", "Normal(sd=1e-9)", "Normal(3, 1e6)",
)  # fmt: skip
_COVARIANCE = (
    "InverseWishart()", "InverseWishart(A='identity')", "InverseWishart(A='ar1')", "Flat()", "InverseWishart(b=0.9)",
    "InverseWishart(b=0.999)", "InverseWishart(eta=5)", "InverseWishart(eta=1e9)",
    "InverseWishart(b=0.8, A='identity')",
)  # fmt: skip
# Matrices by the number of effects.
_MATRICES = {
    1: ("InverseWishart(A=2.0)", "InverseWishart(b=0.8, A=[[2.0]])", "InverseWishart.from_eta_phi(5, [[1.0]])",
        "InverseWishart(A=1e-12)", "InverseWishart(eta=3, A=1e12)"),
    2: ("InverseWishart(A=np.eye(2))", "InverseWishart(b=0.8, A=[[2, 0.5], [0.5, 1]])",
        "InverseWishart(eta=6, A=[[2, 0.5], [0.5, 1]])", "InverseWishart.from_eta_phi(6, np.eye(2))"),
}  # fmt: skip
_SIGMA = (
    "HalfStudentT()", "HalfStudentT(nu=1)", "HalfStudentT(scale=1e-9)", "HalfStudentT(scale=1e9)", "Flat()",
    "HalfStudentT(nu=1e6, scale=2)",
)  # fmt: skip
_REFUSED = (
    "Ridge(mean=2.0)", "Ridge(lambda_=-1)", "Ridge('a')", "Ridge(np.nan)", "Ridge(lambda_=True)",
    "InverseWishart(b=0.01)", "InverseWishart(b=1)", "InverseWishart(eta=0.5)", "InverseWishart(eta=-1)",
    "InverseWishart(A=[[1, 2], [2, 1]])", "InverseWishart(A=[[1, 0.5], [0, 1]])", "InverseWishart(A=np.zeros((0, 0)))",
    "InverseWishart(A='full')", "InverseWishart(A=[['a']])", "InverseWishart(b=0.5, eta=5)",
    "InverseWishart.from_eta_phi(0, np.eye(2))", "InverseWishart(A=np.ones(3))", "InverseWishart(A=None)",
    "HalfStudentT(nu=0)", "HalfStudentT(scale=np.inf)", "HalfStudentT(scale='a')", "5", "'flat'", "None", "Ridge",
    "Flat", "[Ridge()]", "Hyperprior()", "{}", "InverseWishart(A=np.eye(40))", "InverseWishart(A=[[np.inf]])",
    "InverseWishart(A=1j)", "Ridge(mean='response')", "Normal(sd=0)", "Normal('a')",
)  # fmt: skip
_ODD_KEYS = (
    "nosuch", 3, None, (), ("x",), ("g", "common"), 1.5, "", "1", b"g", ("x", ("t",)), ("g", "h"), "|", "| nosuch",
    frozenset(), ("Intercept", "x"), ("sigma",), "X", "sigma ", "lambda[common]", "b[g]",
)  # fmt: skip


def draw_priors(dice: Dice, columns: Columns, formula: Formula) -> str:
    """Python text of ``Model(priors=...)``: evaluating it may already be refused."""
    if dice.chance(0.6):
        return "None"
    if dice.chance(0.03):
        return dice.pick(["5", "'flat'", "[]", "Flat()", "[('common', Ridge())]"])
    keys = dice.some(_keys(columns, formula), 0, 3)
    entries = [f"{key!r}: {_prior(dice, kind, str(formula.text))}" for key, kind in keys]
    if dice.chance(0.08):
        entries.append(f"{dice.pick(_ODD_KEYS)!r}: {dice.pick((*_FIXED, *_COVARIANCE))}")
    return "{" + ", ".join(entries) + "}"


def _keys(columns: Columns, formula: Formula) -> list[tuple[Any, str]]:
    """What a prior can be given for, mostly."""
    names = {role: columns.name[role] for role in formula.roles}
    terms = [(names[role], "term") for role in ("g", "h") if role in names]
    fixed = [(names[role], "fixed") for role in ("x", "t", "f") if role in names]
    barred = [(f"| {name}", "term") for name, _ in terms]
    return [*terms, *barred, *fixed, ("common", "fixed"), ("Intercept", "fixed"), ("sigma", "sigma")]


def _prior(dice: Dice, kind: str, formula: str) -> str:
    if dice.chance(0.06):
        return dice.pick(_REFUSED)
    if kind == "term" and dice.chance(0.3):
        return dice.pick(_MATRICES[1 if "(1 |" in formula else 2])
    return dice.pick({"fixed": _FIXED, "term": _COVARIANCE, "sigma": _SIGMA}[kind])


def draw_penalized(dice: Dice, rows: int) -> dict[str, Any] | None:
    """Wide blocks beside the formula."""
    if not dice.chance(0.12):
        return None
    name = dice.pick(["genes", "my genes", "x", "g", "sigma", "", "common", "a/b", 3], [30, 5, 1, 1, 1, 1, 1, 1, 1])
    given = {name: _block(dice, rows)}
    return given | {"more": _block(dice, rows)} if dice.chance(0.15) else given


_FLAWS = ("missing", "infinite", "constant", "rows", "no columns")


def _block(dice: Dice, rows: int) -> Any:
    p = dice.pick([1, 3, 20, 120])
    values = dice.rng.normal(size=(rows, p)) * (dice.rng.random((rows, p)) < dice.pick([0.3, 1.0]))
    values = values * 10.0 ** dice.rng.uniform(-9, 9) if dice.chance(0.1) else values
    flaw = dice.pick(
        ["none", "missing", "infinite", "constant", "rows", "no columns"], [0.9, 0.02, 0.02, 0.02, 0.02, 0.02]
    )
    if flaw in ("missing", "infinite"):
        values[dice.number(0, rows - 1), 0] = np.nan if flaw == "missing" else np.inf
    values[:, 0] = 1.0 if flaw == "constant" else values[:, 0]
    values = values[1:] if flaw == "rows" else values[:, :0] if flaw == "no columns" else values
    return _as_block(dice.pick(["array", "csr", "csc", "frame", "polars", "small integers", "list", "float32"]), values)


def _as_block(kind: str, values: np.ndarray) -> Any:
    names = [f"c{j}" for j in range(values.shape[1])]
    makers = {
        "csr": sparse.csr_array, "csc": sparse.csc_matrix, "list": np.ndarray.tolist,
        "frame": lambda v: pd.DataFrame(v, columns=names), "polars": lambda v: pl.DataFrame(v, schema=names),
        "small integers": lambda v: np.clip(np.nan_to_num(3 * v), -100, 100).astype("int8"),
        "float32": lambda v: v.astype("float32"),
    }  # fmt: skip
    return makers[kind](values) if kind in makers else values


_HYPERPRIORS = ("None", "Hyperprior(eta_sd=3.0)", "Hyperprior(pool_at='mean square')")


def draw_options(dice: Dice) -> tuple[bool, str]:
    """``standardize``, and Python text of the arguments of ``fit``."""
    standardize = not dice.chance(0.12)
    options = []
    if dice.chance(0.12):
        options.append("approximation='joint'")
    if dice.chance(0.12):
        options.append(f"coordinates={dice.pick(['natural', 'unconstrained'])!r}")
    if dice.chance(0.1):
        options.append(f"refine={dice.pick([True, False])}")
    if dice.chance(0.1):
        options.append(
            f"hyperprior={dice.pick(['None', 'Hyperprior(eta_sd=3.0)', 'Hyperprior(pool_at="mean square")'])}"
        )
    if dice.chance(0.1):
        options.append(f"draws={dice.pick([100, 400, 3001])}")
    if dice.chance(0.03):
        options.append("coordinates='natural', optimizer='em'" if "coord" not in str(options) else "optimizer='em'")
    if dice.chance(0.03):
        options.append(dice.pick(_WRONG_OPTIONS))
    return standardize, ", ".join(options)


_WRONG_OPTIONS = ("random_seed=-1", "random_seed=1.5", "progress=print", "random_seed=2**40", "random_seed=np.int64(3)")
