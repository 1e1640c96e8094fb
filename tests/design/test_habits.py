"""What users of R, lme4, glmmTMB, brms and Bambi write: it means the same here, or the message says what does."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.design.design import build_design
from pmlmm.errors import DataError, FormulaError, PmlmmError
from pmlmm.posterior.new_rows import new_rows
from tests.problems import visits


@pytest.fixture
def trial():
    return visits()[["g", "t", "base", "f", "y"]]


ALIKE = [
    ("t + factor(f)", "t + f"),
    ("t + as.factor(f)", "t + f"),
    ("t + as.factor(t)", "t + C(t)"),
    ("relevel(f, ref='c')", "C(f, levels=['c', 'a', 'b', 'd'])"),
    ("relevel(factor(t), '3')", "C(t, contr.treatment(3))"),
    ("base:relevel(f, 'c')", "base:C(f, levels=['c', 'a', 'b', 'd'])"),
    ("sqrt(t) + log1p(t) + exp(t)", "I(t ** 0.5) + np.log1p(t) + np.exp(t)"),
    ("pmin(t, 3) + pmax(t, 3)", "np.minimum(t, 3) + np.maximum(t, 3)"),
    ("scale(base)", "I((base - mean(base)) / sd(base))"),
    ("bs(t, knots=c(2, 5))", "bs(t, knots=[2, 5])"),
    (".", "t + base + f"),
    (". - base", "t + f"),
    (".^2", "(t + base + f)^2"),
    ("f * . - 1", "f * (t + base + f) - 1"),
    ("base * t - base:t", "base + t"),
    ("us(1 + t | g)", "(1 + t | g)"),
    ("t + us(t | g)", "t + (t | g)"),
    ("t + diag(t | g)", "t + (t || g)"),
    ("t + diag(0 + f | g)", "t + (0 + f || g)"),
    ("t + (1 | gr(g))", "t + (1 | g)"),
    ("t + (1 | factor(g))", "t + (1 | g)"),
    ("t + (1 | as.factor(g):f)", "t + (1 | g:f)"),
    ("t + (0 + dummy(f, 'b') | g)", "t + (0 + I(f == 'b') | g)"),
    ("dummy(f)", "I(1 * (f == 'b')) + I(1 * (f == 'c')) + I(1 * (f == 'd'))"),
    ("dummy(f, c('a', 'd'))", "I(1 * (f == 'a')) + I(1 * (f == 'd'))"),
]


def in_order(X):
    """Columns, whatever order the terms have."""
    return np.array(sorted(X.T.round(9).tolist()))


@pytest.mark.parametrize(("written", "meant"), ALIKE)
def test_it_means_the_same(trial, written, meant):
    more = "" if "|" in written else " + (1 | g)"
    one, other = (build_design(f"y ~ {text}{more}", trial) for text in (written, meant))
    np.testing.assert_allclose(in_order(one.X), in_order(other.X), atol=1e-8)
    assert [term.factor for term in one.terms] == [term.factor for term in other.terms]
    for ours, theirs in zip(one.terms, other.terms, strict=True):
        np.testing.assert_allclose(ours.Z, theirs.Z)
    new = trial.iloc[5:9]
    np.testing.assert_allclose(new_rows(one, new, None, unseen=False).X, one.X[5:9], atol=1e-12)


INSTEAD = [
    ("y ~ log(.) + (1 | g)", "outside of functions"),
    ("y ~ t + (. | g)", "fixed effects only"),
    ("y ~ s(t) + (1 | g)", "ns\\(x, df=4\\)"),
    ("y ~ gp(t) + (1 | g)", "ns\\(x, df=4\\)"),
    ("y ~ mm(g, f) + (1 | g)", "penalized={'members': W}"),
    ("y ~ t + (1 | mm(g, f))", "penalized={'members': W}"),
    ("y ~ t + (1 | gr(g, by = f))", "0 \\+ dummy\\(f, 'a'\\) \\| g"),
    ("y ~ t + (1 | ID | g)", "\\(1 \\| g\\) here"),
    ("y ~ t + (t |ID| g)", "what shares an ID goes into one term"),
    ("y ~ t + (1 | g + f)", "\\(... \\| g\\) \\+ \\(... \\| f\\)"),
    ("y ~ t + ar1(0 + factor(t) | g)", "InverseWishart\\(A='ar1'\\)"),
    ("y ~ t + ar1(t) + (1 | g)", "InverseWishart\\(A='ar1'\\)"),
    ("y ~ t + cs(0 + f | g)", "\\(1 \\| g\\) \\+ \\(1 \\| g:f\\)"),
    ("y ~ t + homdiag(0 + f | g)", "\\(1 \\| g:f\\)"),
    ("y ~ t + toep(0 + f | g)", "\\(... \\| g\\)"),
    ("y ~ us(t) + (1 | g)", "us\\(t \\| g\\)"),
    ("y ~ mo(t) + (1 | g)", "factor\\(x\\)"),
    ("y ~ T(f, 'b') + (1 | g)", "relevel\\(x, ref='level'\\)"),
    ("y ~ S(f) + (1 | g)", "contr.sum"),
    ("y ~ ordered(f) + (1 | g)", "contr.poly"),
    ("y ~ cut(t, 3) + (1 | g)", "pandas.cut"),
    ("y ~ interaction(f, t) + (1 | g)", "a:b"),
    ("y ~ relevel(f, ref='z') + (1 | g)", "no such level. Valid choices: 'a', 'b', 'c', 'd'"),
    ("y ~ t + (dummy(f, 'z') | g)", "no such level"),
    ("y ~ ns(t, 8) + (1 | g)", "8 distinct values.*smaller df"),
    ("y ~ ns(t, 0) + (1 | g)", "whole number of at least 1"),
    ("y ~ c(t, 3) + (1 | g)", "lists numbers or texts"),
    ("t + base + f + g ~ . + (1 | y)", "no other column"),
]


@pytest.mark.parametrize(("formula", "words"), INSTEAD)
def test_the_message_says_what_to_write(trial, formula, words):
    with pytest.raises(PmlmmError, match=words):
        build_design(formula, trial)


def test_a_variance_for_each_kind_of_group_as_the_message_says():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(np.arange(80), 8)}).assign(f=lambda d: np.where(d.g % 2, "a", "b"))
    sds = {"a": 0.5, "b": 3.0}
    data["y"] = (rng.normal(size=80)[data.g] * data.f.map(sds) + rng.normal(size=640)).astype(float)
    fit = pmlmm.Model("y ~ f + (0 + dummy(f, 'a') | g) + (0 + dummy(f, 'b') | g)", data).fit(integrate=False)
    found = [float(fit.mean[f"Sigma_g_{k}"].to_numpy().item()) ** 0.5 for k in (1, 2)]
    np.testing.assert_allclose(found, [0.5, 3.0], rtol=0.35)  # 40 groups each: sd of a sd is a tenth, more for 0.5


REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "splines.json").read_text())


@pytest.mark.parametrize("call", REFERENCE["bases"])
def test_bases_are_those_of_r(call):
    x, reference = np.array(REFERENCE["x"]), REFERENCE["bases"][call]
    data = pd.DataFrame({"x": x, "y": np.arange(len(x)) % 5})
    design = build_design(f"y ~ 0 + {call}", data)
    np.testing.assert_allclose(design.X, reference["fit"], atol=1e-12)
    new = pd.DataFrame({"x": reference["at"]})
    np.testing.assert_allclose(new_rows(design, new, None, unseen=False).X, reference["new"], atol=1e-10)


def test_a_curve_of_raw_years_is_found_and_goes_on_straight():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"year": np.tile(np.arange(1990, 2021), 20), "g": np.repeat(np.arange(20), 31)})
    curve = np.sin((data.year - 1990) / 6)
    data["y"] = 1e6 * (curve + rng.normal(size=20)[data.g] + 0.1 * rng.normal(size=620))
    fit = pmlmm.Model("y ~ ns(year, df=6) + (1 | g)", data).fit(integrate=False)
    X, beta = fit.model.design.X, fit.mean["beta"].to_numpy()
    assert np.corrcoef(X @ beta, curve)[0, 1] > 0.99
    beyond = new_rows(fit.model.design, pd.DataFrame({"year": [2030, 2031, 2032], "g": 0}), None, unseen=True).X @ beta
    assert beyond[2] - beyond[1] == pytest.approx(beyond[1] - beyond[0], rel=1e-6)


def test_other_columns_that_the_new_table_lacks_or_whose_level_is_new_are_named(trial):
    design = build_design("y ~ . + (1 | g)", trial)
    with pytest.raises(DataError, match="no column 'base'"):
        new_rows(design, trial.drop(columns="base"), None, unseen=True)
    for text in ("relevel(f, 'c')", "dummy(f, 'c')"):
        made = build_design(f"y ~ {text} + (1 | g)", trial)
        with pytest.raises(DataError, match="levels there that the fit has not seen: 'z'"):
            new_rows(made, trial.assign(f="z"), None, unseen=True)
        alone = trial[trial.f == "b"]
        np.testing.assert_allclose(new_rows(made, alone, None, unseen=True).X, made.X[(trial.f == "b").to_numpy()])


def test_all_other_columns_of_other_tables(trial):
    import polars

    odd = trial.rename(columns={"base": "base line (mg)"})
    for table in (odd, polars.from_pandas(odd), odd.to_dict("list")):
        design = build_design("y ~ . + (1 | g)", table)
        assert design.coefficient_terms[1:3] == ("t", "base line (mg)")


def test_strangers_may_use_them(trial):
    formula = "y ~ ns(t, df=3) + relevel(f, 'b') + pmax(t, 2) + bs(base, knots=c(45, 50)) + (0 + dummy(f, 'a') | g)"
    assert pmlmm.Model(formula, trial, trusted=False).design.X.shape == (160, 13)
    for monster in ("ns(t, df=10**3)", "I(c(1, 2) * 10**9 * t)", "c('a', 'b') * 10**9 + t", "ns(t, knots=c(t, t))"):
        with pytest.raises((FormulaError, DataError)):
            pmlmm.Model(f"y ~ {monster} + (1 | g)", trial, trusted=False)
