"""Columns of any name."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.design.design import build_design
from tests.problems import visits


@pytest.fixture
def trial():
    return visits()


AWKWARD = [
    "a b",
    "x²",
    "t.1",
    "µ",
    "class",
    "lambda",
    "log",
    "I",
    "C",
    "np",
    "2",
    "x-y",
    "é",
    "a:b",
    "T",
    "exp",
    "_column_61_",
]


@pytest.mark.parametrize("name", AWKWARD)
def test_columns_of_any_name(trial, name):
    table = trial.rename(columns={"t": name}).assign(a_b=0.0, x_=0.0)
    formula = f"y ~ `{name}` + poly(`{name}`, 2) + log1p(`{name}`) + (0 + `{name}` || g)"
    named, plain = build_design(formula, table), build_design(formula.replace(f"`{name}`", "t"), trial)
    np.testing.assert_array_equal(named.X, plain.X)
    np.testing.assert_array_equal(named.terms[0].Z, plain.terms[0].Z)
    assert named.coefficients[1] == name
    if name.isidentifier():
        assert named.coefficients[4] == f"log1p({name})"
    else:
        assert named.coefficients[4] == f"log1p(`{name}`)"
    again = named.recipe.columns(table.iloc[3:5])
    np.testing.assert_allclose(again, plain.X[3:5], rtol=1e-12)


def test_dotted_names_need_no_backticks(trial):
    table = trial.rename(columns={"base": "base.line", "t": "visit.no"})
    design = build_design("y ~ base.line + log(base.line + 1) + visit.no:base.line + (visit.no | g)", table)
    assert design.coefficients == ("Intercept", "base.line", "log(`base.line` + 1)", "visit.no:base.line")
    np.testing.assert_allclose(design.X[:, 3], trial.t * trial.base)
    assert design.terms[0].coefficients == ("Intercept", "visit.no")


def test_columns_named_by_numbers(trial):
    fit = pmlmm.Model("`0` ~ `1` + (1 | `2`)", pd.DataFrame(trial[["y", "t", "g"]].to_numpy())).fit(draws=200)
    assert fit.mean["beta"].coords["coefficient"].values.tolist() == ["Intercept", "1"]
