"""Formulas from strangers: known ways out of an evaluated expression, and what must still pass."""

import time

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.errors import FormulaError, PmlmmError


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=40),
            "x": rng.uniform(1, 2, size=40),
            "f": np.tile(list("abcd"), 10),
            "g": np.repeat(np.arange(8), 5),
        }
    )


ESCAPES = [
    "__import__('os').system('true')",
    "().__class__.__base__.__subclasses__()",
    "x.__class__.__mro__[1].__subclasses__()",
    "x.to_csv('stolen.csv')",
    "x.values",
    "x[0]",
    "(lambda: x)()",
    "[c for c in (x,)]",
    "open('stolen.csv', 'w')",
    "eval('1')",
    "exec('1')",
    "getattr(x, 'values')",
    "np.load('file.npy')",
    "np.ones(10)",
    "np",
    "I",
    "contr.sum",
    "f'{x.__class__}'",
    "'{0.__class__}'.format(x)",
    "x if x is not None else 1",
    "(y := x)",
    "print(x)",
    "globals()",
    "breakpoint()",
    "type(x)",
    "vars(x)",
    "C(f, contr.treatment(x.__class__))",
    "log.__self__",
    "sqrt.__globals__",
    "mean.__wrapped__",
    "factor.__globals__['np']",
    "I(x=__import__('os'))",
    "I(*x)",
    "I(**x)",
    "{**x}",
    "`x`.pipe(print)",
    "hashed(x, levels=10**9)",
    "lag(x, 3)",
    "__FORMULAIC_CONTEXT__",
    "I(__FORMULAIC_STATE__)",
]
MONSTERS = [
    "x * 9**9**9**9",
    "9**9**9**9",
    "((((9**20)**20)**20)**20) * x",
    "x**(10**9)",
    "x + 'a' * 10**10",
    "'a' * 99999999 + x",
    "poly(x, 100000)",
    "bs(x, df=10**8)",
    "bs(x, df=100000000)",
    "round(x, 10**10)",
    "x ** (x ** 1000)",
    "C(f, levels=['" + "a" * 300 + "'])",
]


@pytest.mark.parametrize("expression", ESCAPES + MONSTERS)
@pytest.mark.parametrize(
    "place", ["{} ~ 1 + (1 | g)", "y ~ I({}) + (1 | g)", "y ~ x + (0 + I({}) | g)", "y ~ {{{}}} + (1 | g)"]
)
def test_no_way_out(table, expression, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begin = time.perf_counter()
    with pytest.raises(PmlmmError):
        pmlmm.Model(place.format(expression), table, trusted=False)
    assert time.perf_counter() - begin < 5
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x" + " + x" * 600 + " + (1 | g)",
        "y ~ (x + y + f + g)^40 + (1 | g)",
        "y ~ " + "*".join(["(x + f)"] * 20) + " + (1 | g)",
        "y ~ " + ":".join(["(x + f + y + g)"] * 12) + " + (1 | g)",
        "y ~ I(" + "(" * 300 + "x" + ")" * 300 + ") + (1 | g)",
    ],
)
def test_size_is_limited(table, formula):
    begin = time.perf_counter()
    with pytest.raises(FormulaError):
        pmlmm.Model(formula, table, trusted=False)
    assert time.perf_counter() - begin < 5


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + f + x:f + (1 + x | g)",
        "log(y + 10) - x ~ poly(x, 2) + bs(x, df=4) + C(f, levels=['d', 'a', 'b', 'c']) + (x || g)",
        "y^2 ~ I(x^2) + I(x > 1.5 & f == 'a') + scale(x) + ifelse(x > 1.2, 1, 0) + (1 | g)",
        "y / 2 ~ sqrt(x) + I((x - mean(x)) / sd(x)) + I(-x**-1) + (1 | g/f)",
        "y ~ half(x) + (1 | g)",
    ],
)
def test_ordinary_formulas_pass_unchanged(table, formula):
    context = {"half": lambda x: x / 2}
    strict = pmlmm.Model(formula, table, context=context, trusted=False).design
    free = pmlmm.Model(formula, table, context=context).design
    np.testing.assert_array_equal(strict.X, free.X)
    np.testing.assert_array_equal(strict.y, free.y)
    assert strict.coefficients == free.coefficients


def test_a_column_cannot_pass_for_a_function(table):
    """A table may come from the stranger too: its names and labels are data."""
    nasty = table.rename(columns={"x": "__import__('os').system('true')"}).assign(f="__import__('os')", exp=table.x)
    nasty.loc[0, "f"] = "b"
    design = pmlmm.Model("y ~ `__import__('os').system('true')` + f + log(exp) + (1 | g)", nasty, trusted=False).design
    np.testing.assert_array_equal(design.X[:, 3], np.log(table.x))
