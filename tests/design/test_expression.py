"""What a formula says, as users of lme4 write it, against the numbers that they mean."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.design.design import build_design
from pmlmm.errors import DataError, OptionError, PmlmmError


@pytest.fixture
def trial():
    """Visits 0 to 7 of 20 patients, whole numbers as they come."""
    rng = np.random.default_rng(1)
    g, t = np.repeat(np.arange(20), 8), np.tile(np.arange(8), 20)
    base = rng.normal(50, 10, 160)
    table = pd.DataFrame({"g": g, "t": t, "base": base, "f": np.tile(list("abcd"), 40)})
    table["y"] = base + 3 + 1.5 * rng.normal(size=20)[g] + rng.normal(size=160)
    table["curve"] = 3 + 2 * t + 0.5 * t**2 + rng.normal(size=20)[g] + 0.3 * rng.normal(size=160)
    return table


@pytest.mark.parametrize(
    ("response", "values"),
    [
        ("y - base", lambda d: d.y - d.base),
        ("(y - base)", lambda d: d.y - d.base),
        ("y-50", lambda d: d.y - 50),
        ("-y", lambda d: -d.y),
        ("y^2", lambda d: d.y**2),
        ("y**2", lambda d: d.y**2),
        ("y/10", lambda d: d.y / 10),
        ("2*y", lambda d: 2 * d.y),
        ("log(y) - log(base)", lambda d: np.log(d.y / d.base)),
        ("y - mean(y)", lambda d: d.y - d.y.mean()),
        ("(y - mean(y)) / sd(y)", lambda d: (d.y - d.y.mean()) / d.y.std()),
        ("scale(y)", lambda d: (d.y - d.y.mean()) / d.y.std()),
        ("sqrt(abs(y))", lambda d: np.sqrt(d.y.abs())),
        ("I(y - base)", lambda d: d.y - d.base),
        ("t - y * t", lambda d: d.t - d.y * d.t),
    ],
)
def test_the_left_side_is_arithmetic(trial, response, values):
    np.testing.assert_allclose(build_design(f"{response} ~ 1 + (1 | g)", trial).y, values(trial), rtol=1e-12)


def test_a_difference_from_baseline_comes_out(trial):
    fit = pmlmm.Model("y - base ~ 1 + (1 | g)", trial).fit()
    assert float(fit.mean["beta"][0]) == pytest.approx((trial.y - trial.base).mean(), abs=0.05)
    assert float(fit.mean["sigma"]) == pytest.approx(1.0, abs=0.2)
    assert list(fit.posterior["observed_data"].data_vars) == ["y - base"]


@pytest.mark.parametrize("term", ["I(t^2)", "I(t**2)", "I(t ^ 2)", "poly(t, 2, raw=TRUE)"])
def test_the_square_of_a_whole_number_is_its_square(trial, term):
    design = build_design(f"curve ~ {'t + ' * ('poly' not in term)}{term} + (1 | g)", trial)
    np.testing.assert_allclose(design.X[:, 2], trial.t**2)


def test_a_curve_that_was_put_in_comes_out(trial):
    fit = pmlmm.Model("curve ~ t + I(t^2) + (1 | g)", trial).fit()
    np.testing.assert_allclose(fit.mean["beta"], [3.0, 2.0, 0.5], atol=0.3)
    assert float(fit.mean["sigma"]) == pytest.approx(0.3, abs=0.03)


def test_functions_by_the_names_that_r_has(trial):
    design = build_design(
        "y ~ sqrt(t) + factor(t) + I(base - mean(base)) + ifelse(t > 3, 1, 0) + exp10(t) + (1 | g)", trial
    )
    values = dict(zip(design.coefficients, design.X.T, strict=True))
    np.testing.assert_allclose(values["sqrt(t)"], np.sqrt(trial.t))
    np.testing.assert_allclose(values["factor(t)[T.3]"], trial.t == 3)
    np.testing.assert_allclose(values["I(base - mean(base))"], trial.base - trial.base.mean())
    np.testing.assert_allclose(values["ifelse(t > 3, 1, 0)"], trial.t > 3)
    np.testing.assert_allclose(values["exp10(t)"], 10.0**trial.t)


@pytest.mark.parametrize(
    "centre", ["I(base - mean(base))", "center(base)", "scale(base)", "I((base - min(base)) / max(base))"]
)
def test_a_statistic_of_the_fit_is_that_of_the_fit_in_predictions(trial, centre):
    fit = pmlmm.Model(f"y ~ {centre} + (1 | g)", trial).fit(draws=200)
    np.testing.assert_allclose(fit.predict(trial.iloc[5:9]), fit.predict()[5:9], rtol=1e-10)


@pytest.mark.parametrize("dependent", ["I(base - np.mean(base))", "base.rank()", "lag(base)", "base.cumsum()"])
def test_what_depends_on_other_rows_is_refused_for_new_data(trial, dependent):
    table = trial.assign(y=trial.y, base=trial.base)
    expression = dependent if dependent != "lag(base)" else "I(lag(base).fillna(50.0))"
    fit = pmlmm.Model(f"y ~ {expression} + (1 | g)", table).fit(draws=200)
    assert np.isfinite(fit.predict()).all()
    with pytest.raises(DataError, match=r"depends on the other rows.*mean, sd"):
        fit.predict(table.iloc[5:9])


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


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("t > 1 & base < 50", lambda d: (d.t > 1) & (d.base < 50)),
        ("t > 1 | base < 50 & t < 5", lambda d: (d.t > 1) | ((d.base < 50) & (d.t < 5))),
        ("(t > 1 & t < 4) * base", lambda d: ((d.t > 1) & (d.t < 4)) * d.base),
        ("ifelse(t == 1 | t == 2, base, 0)", lambda d: d.base * d.t.isin([1, 2])),
        ("-t^2", lambda d: -(d.t**2)),
        ("2^t", lambda d: 2.0**d.t),
        ("t % 2", lambda d: d.t % 2),
    ],
)
def test_operators_bind_as_in_r(trial, expression, values):
    np.testing.assert_allclose(build_design(f"y ~ I({expression}) + (1 | g)", trial).X[:, 1], values(trial))


def test_methods_of_columns(trial):
    design = build_design("y ~ t.clip(0, 3) + f.str.upper() + (1 | g)", trial)
    np.testing.assert_allclose(design.X[:, 1], trial.t.clip(0, 3))
    assert design.coefficients[2] == "f.str.upper()[T.B]"


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
    np.testing.assert_allclose(fit.predict(trial), fit.predict())


REFUSED = [
    ("y ~ t + t^2 + (1 | g)", "I\\(t\\^2\\)"),
    ("y ~ t + (t)**2 + (1 | g)", "The power of a number"),
    ("y ~ log(base)^2 + (1 | g)", "I\\(log\\(base\\)\\^2\\)"),
    ("y ~ 2*t + (1 | g)", "I\\(2 \\* x\\)"),
    ("y ~ t/10 + (1 | g)", "I\\(x / 10\\)"),
    ("y ~ t > 3 + (1 | g)", "I\\(x > 3\\)"),
    ("y ~ t - base + (1 | g)", "I\\(x - base\\)"),
    ("y ~ . + (1 | g)", "name them"),
    ("y ~ offset(t) + (1 | g)", "y - offset"),
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


def test_levels_given_in_another_order_choose_the_reference(trial):
    design = build_design(
        "y ~ C(f, levels=['d', 'a', 'b', 'c']) + C(t, levels=[7, 0, 1, 2, 3, 4, 5, 6]) + (1 | g)", trial
    )
    assert design.coefficients[1].endswith("[T.a]")
    assert design.coefficients[4].endswith("[T.0]")


def test_columns_named_by_numbers(trial):
    fit = pmlmm.Model("`0` ~ `1` + (1 | `2`)", pd.DataFrame(trial[["y", "t", "g"]].to_numpy())).fit(draws=200)
    assert fit.mean["beta"].coords["coefficient"].values.tolist() == ["Intercept", "1"]


def test_population_predictions_need_no_group(trial):
    fit = pmlmm.Model("y ~ base + (1 | g)", trial).fit(draws=200)
    new = pd.DataFrame({"base": [40.0, 50.0], "g": [None, 99]})
    expected = fit.mean["beta"].to_numpy() @ np.array([[1, 1], [40, 50]])
    np.testing.assert_allclose(fit.predict(new, new_groups="population"), expected)
    np.testing.assert_allclose(fit.predict(new[["base"]], new_groups="population"), expected)
    with pytest.raises(DataError, match="no column 'g'"):
        fit.predict(new[["base"]])


def test_a_level_that_the_fit_has_not_seen_is_named(trial):
    fit = pmlmm.Model("y ~ f + (1 | g)", trial).fit(draws=200)
    with pytest.raises(DataError, match="levels there that the fit has not seen: 'z'"):
        fit.predict(trial.assign(f="z"))


def test_one_group_needs_a_prior(trial):
    one = trial[trial.g == 0]
    with pytest.raises(DataError, match=r"single group.*InverseWishart"):
        pmlmm.Model("y ~ t + (1 | g)", one)
    fit = pmlmm.Model("y ~ t + (1 | g)", one, {"g": pmlmm.InverseWishart(eta=4.0, A=[[2.0]])}).fit(draws=200)
    assert fit.mean["gamma_g"].shape == (1, 1)


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_sizes_that_cannot_be_squared_are_named(trial, size):
    for column in ("y", "t"):
        with pytest.raises(DataError, match=f"Column '{column}' has values of up to"):
            pmlmm.Model("y ~ t + (1 | g)", trial.assign(**{column: (trial[column] + 1.0) * size}))


def test_a_factor_of_very_many_levels_is_refused_before_memory_is_gone():
    rows = 60_000
    table = pd.DataFrame({"y": np.arange(rows) % 7, "f": np.arange(rows) % 50_000, "g": np.arange(rows) % 10})
    for f in (table.f.astype(str), table.f.astype("category")):
        with pytest.raises(DataError, match=r"50\d* columns.*50000 levels.*GB"):
            build_design("y ~ f + (1 | g)", table.assign(f=f))
    with pytest.raises(DataError, match="50000 levels"):
        build_design("y ~ C(f) + (1 | g)", table)


def test_switches_are_switches(trial):
    for name in ("standardize", "trusted"):
        with pytest.raises(OptionError, match=f"{name}='yes'"):
            pmlmm.Model("y ~ t + (1 | g)", trial, **{name: "yes"})
