"""Terms that would mislead are refused, with a way out."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.design.design import build_design
from pmlmm.errors import DataError, PmlmmError
from tests.problems import visits


@pytest.fixture
def trial():
    return visits()


def test_uncorrelated_effects_of_a_factor(trial):
    design = build_design("y ~ t + (1 + f || g)", trial)
    assert [term.coefficients for term in design.terms] == [("Intercept",), ("f[T.b]",), ("f[T.c]",), ("f[T.d]",)]
    levels = build_design("y ~ t + (0 + f || g)", trial)
    assert [term.coefficients for term in levels.terms] == [("f[a]",), ("f[b]",), ("f[c]",), ("f[d]",)]
    many = pmlmm.Model(
        "y ~ 1 + (0 + C(k) || g)", trial.assign(k=np.arange(160) % 15), {"g": pmlmm.InverseWishart(b=0.7, A=1)}
    )
    assert len(many.design.terms) == 15
    assert np.isfinite(many.fit(draws=100).log_evidence)
    fit = pmlmm.Model("y ~ t + (f || g)", trial).fit(draws=300)
    assert fit.mean["Sigma_g_4"].shape == (1, 1)
    np.testing.assert_allclose(fit.predict(trial)["mean"], fit.predict()["mean"])


REFUSED = [
    ("y ~ t + t^2 + (1 | g)", "I\\(t\\^2\\)"),
    ("y ~ t + (t)**2 + (1 | g)", "The power of a number"),
    ("y ~ log(base)^2 + (1 | g)", "I\\(log\\(base\\)\\^2\\)"),
    ("y ~ 2*t + (1 | g)", "I\\(2 \\* x\\)"),
    ("y ~ t/10 + (1 | g)", "I\\(x / 10\\)"),
    ("y ~ t > 3 + (1 | g)", "I\\(x > 3\\)"),
    ("y ~ t - base + (1 | g)", "I\\(x - base\\)"),
    ("y ~ . + (1 | g)", "name them"),
    ("y ~ ns(t, 3) + (1 | g)", "cr\\(x, df=4\\)"),
    ("y ~ s(t) + (1 | g)", "bs\\(x, df=5\\)"),
    ("y ~ sqtr(t) + (1 | g)", "Did you mean 'sqrt'"),
    ("y ~ ar1(t) + (1 | g)", "InverseWishart\\(A='ar1'\\)"),
    ("cbind(y, base) ~ t + (1 | g)", "one by one"),
    ("y | weights(t) ~ t + (1 | g)", "bar on the left"),
    ("y ~ `` + (1 | g)", "empty name"),
    ("y ~ C(``) + (1 | g)", "empty name"),
    ("y ~ t t + (1 | g)", "Missing operator.*\\n    t t\\n    \\^"),
    ("y ~ t + nothing(t) + (1 | g)", "returned no values"),
    ("y ~ t + I(print('')) + (1 | g)", "returned no values"),
    ("y ~ I(exit(3)) + (1 | g)", "SystemExit"),
    ("y ~ C(f, levels=['a', 'b']) + (1 | g)", "leaves out 'c', 'd'"),
    ("y ~ one + (1 | g)", "single level"),
    ("y ~ when + (1 | g)", "dates or times"),
    ("y ~ I(t + 1j) + (1 | g)", "complex"),
    ("y ~ (y + t + base + g)^30 + (1 | g)", "more than 5000 terms"),
    ("y ~ " + "(" * 60 + "t" + ")" * 60 + " + (1 | g)", "brackets"),
    ("y ~ f + `f[T.b]` + (1 | g)", "would be called 'f\\[T.b\\]'"),
    ("y ~ t + (1 | lambda_common)", "would be called 'lambda_common'"),
    ("y ~ t + (0 + C(base) || g)", "160 random-effect terms"),
    ("y ~ 0 * t + (1 | g)", "The number 0"),
    ("y ~ poly(one2, 4) + (1 | g)", "more than 4 distinct values"),
    ("C(f) ~ t + (1 | g)", "makes \\d columns"),
    ("y ~ I(f * 2 + t) + (1 | g)", "arithmetic|not numeric|Cannot evaluate"),
    ("y ~ 0 + f:w + (1 | g)", "no row has that combination"),
    ("y ~ t + (0 + f:w | g)", "no row has that combination"),
]


@pytest.mark.parametrize(("formula", "words"), REFUSED)
def test_what_would_mislead_is_refused_with_a_way_out(trial, formula, words):
    table = trial.assign(
        one="x", when=pd.Timestamp("2020-01-01"), lambda_common=trial.g, one2=trial.t % 3, w=trial.f.replace("d", "a")
    )
    table["f[T.b]"] = table.base
    with pytest.raises(PmlmmError, match=words) as caught:
        pmlmm.Model(formula, table, context={"nothing": lambda x: None})
    assert "\x1b" not in str(caught.value)
    assert "_column_" not in str(caught.value)


def test_one_group_needs_a_prior(trial):
    one = trial[trial.g == 0]
    with pytest.raises(DataError, match=r"single group.*InverseWishart"):
        pmlmm.Model("y ~ t + (1 | g)", one)
    fit = pmlmm.Model("y ~ t + (1 | g)", one, {"g": pmlmm.InverseWishart(eta=4.0, A=[[2.0]])}).fit(draws=200)
    assert fit.mean["gamma_g"].shape == (1, 1)
