import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmlmm
from pmlmm.design.design import build_design
from pmlmm.report import means
from tests.problems import DATA
from tests.test_fixed_effects import FLAT, trial


def exact_draws(mean, covariance):
    """Draws whose mean and covariance are exactly these."""
    noise = np.random.default_rng(0).normal(size=(50 + len(mean), len(mean)))
    noise -= noise.mean(axis=0)
    root = np.linalg.cholesky(np.cov(noise, rowvar=False).reshape(len(mean), -1))
    return mean + np.linalg.solve(root, noise.T).T @ np.linalg.cholesky(covariance).T


def known(formula, data, beta=None, covariance=None, context=None):
    """What has the reports' view of a posterior, with fixed effects of this mean and covariance."""
    design = build_design(formula, data, context)
    beta = np.linalg.lstsq(design.X, design.y)[0] if beta is None else np.asarray(beta)
    draws = exact_draws(beta, np.eye(len(beta)) if covariance is None else np.asarray(covariance))
    return SimpleNamespace(design=design, population=(np.append(beta, 0.0), np.pad(draws, ((0, 0), (0, 1)))))


def means_of(posterior, factors, by=None, at=None, weights="equal"):
    return means.means(posterior, factors, by, at, weights, 0.95)


def contrast_of(posterior, factors, by=None, kind="pairwise", reference=None, between=False, at=None, weights="equal"):
    return means.contrast(posterior, factors, by, kind, reference, between, at, weights, 0.95)


def slopes_of(posterior, column, by=None, at=None, weights="equal"):
    return means.slopes(posterior, column, by, at, weights, 0.95)


def noisy(seed=0, n=60):
    """Unbalanced factors and covariates of awkward sizes."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"f": rng.choice(list("abc"), n, p=[0.6, 0.3, 0.1]), "h": rng.choice(["u", "v"], n)})
    data = data.assign(x=rng.normal(5, 2, n), year=rng.integers(1990, 2021, n), g=rng.integers(0, 6, n))
    data["small"] = 1e-6 * rng.uniform(1, 9, n)
    return data.assign(y=rng.normal(size=n))


# -- emmeans -----------------------------------------------------------------------------------------------------------

TRIAL = pd.read_csv(DATA / "trial.csv", dtype={"visit": str})
EMMEANS = json.loads((DATA / "emmeans.json").read_text())["fits"]
FORMULAS = {
    "cells": "y ~ arm * visit + site + age + (1 | id)",
    "curves": "y ~ arm * poly(t, 2) + (t | id)",
}
OURS = {
    ("cells", "arm_by_visit"): lambda p: means_of(p, "arm", by="visit"),
    ("cells", "arm_equal"): lambda p: means_of(p, "arm"),
    ("cells", "arm_observed"): lambda p: means_of(p, "arm", weights="observed"),
    ("cells", "site_at_60"): lambda p: means_of(p, "site", at={"age": 60}),
    ("cells", "contrast_by_visit"): lambda p: contrast_of(p, "arm", by="visit"),
    ("cells", "between"): lambda p: contrast_of(p, "arm", by="visit", between="reference"),
    ("cells", "sequential"): lambda p: contrast_of(p, "visit", kind="sequential"),
    ("cells", "from_mean"): lambda p: contrast_of(p, "visit", kind="mean"),
    ("curves", "means_at_t"): lambda p: means_of(p, "arm", by={"t": [0, 6, 12]}),
    ("curves", "slopes_at_t"): lambda p: slopes_of(p, "t", by={"t": [0, 3, 9], "arm": None}),
}


@pytest.mark.parametrize(("model", "table"), OURS)
def test_lme4s_estimates_and_covariance_give_emmeans(model, table):
    """The linear functions are the same, from the same coefficients; emmeans takes one-sided differences for slopes."""
    reference = EMMEANS[model]
    found = OURS[model, table](known(FORMULAS[model], TRIAL, reference["beta"], reference["vcov"]))
    tolerance = 1e-4 if "slopes" in table else 1e-9
    np.testing.assert_allclose(found["mean"], reference[table]["mean"], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found["sd"], reference[table]["se"], rtol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cells", "curves"])
def test_flat_priors_give_emmeans_of_lme4(model):
    fit = pmlmm.Model(FORMULAS[model], TRIAL, FLAT).fit()
    for (name, table), ours in OURS.items():
        if name == model:
            found, expected = ours(fit._posterior), EMMEANS[model][table]
            errors = np.abs(found["mean"] - expected["mean"]) / expected["se"]
            assert errors.max() < 0.15, table  # two thousand draws, and variances integrated over
            np.testing.assert_allclose(found["sd"], expected["se"], rtol=0.12)


# -- what a user relies on ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fit():
    return pmlmm.Model("y ~ arm * visit + (t | id)", trial()).fit()


def test_a_treatment_effect_at_every_visit(fit):
    """Two a month, as simulated."""
    table = fit.contrast("arm", by="visit")
    assert list(table.index) == [(visit, "new - control") for visit in ("0", "1", "3", "6", "9")]
    truth = -2.0 * np.array([0, 1, 3, 6, 9])
    assert (table["lower"] < truth).all()
    assert (truth < table["upper"]).all()
    assert table.loc[("9", "new - control"), "probability_of_sign"] == 1.0
    np.testing.assert_allclose(fit.contrast("arm", by="visit", interval=0.5)["mean"], table["mean"])
    assert (fit.contrast("arm", by="visit", interval=0.5)["upper"] < table["upper"]).all()


@pytest.mark.slow
def test_intervals_of_a_contrast_cover():
    """At 95% fewer than 33 of 40 have probability 0.0009."""
    tables = [pmlmm.Model("y ~ arm * visit + (t | id)", trial(s)).fit().contrast("arm", by="visit") for s in range(40)]
    rows = pd.DataFrame([table.loc[("6", "new - control")] for table in tables])
    assert ((rows["lower"] < -12) & (rows["upper"] > -12)).sum() >= 33


def test_tables_are_those_of_the_posterior_draws(fit):
    """A hand-made grid on the draws themselves."""
    beta = fit.draw_posterior(gamma=False, wide=False)["posterior"]["beta"].to_numpy().reshape(-1, 10)
    names = list(fit.model.design.coefficients)
    rows = np.zeros((2, 10))
    for row, arm in zip(rows, (0, 1), strict=True):
        on = {"Intercept", "visit[T.6]", *(["arm[T.new]", "arm[T.new]:visit[T.6]"] if arm else [])}
        row[[names.index(name) for name in on]] = 1.0
    draws = beta @ rows.T
    table = fit.means("arm", by="visit").loc["6"]
    np.testing.assert_allclose(table[["lower", "upper"]].T, np.quantile(draws, [0.025, 0.975], axis=0), rtol=1e-10)
    np.testing.assert_allclose(table["sd"], draws.std(axis=0, ddof=1), rtol=1e-10)
    np.testing.assert_allclose(table["mean"], rows @ fit.mean["beta"].to_numpy(), rtol=1e-10)
    difference = fit.contrast("arm", by="visit").loc[("6", "new - control")]
    drawn = draws[:, 1] - draws[:, 0]
    np.testing.assert_allclose(difference[["lower", "upper"]], np.quantile(drawn, [0.025, 0.975]), rtol=1e-10)
    assert difference["probability_of_sign"] == np.mean(np.sign(drawn) == np.sign(difference["mean"]))


def test_means_are_predictions_for_no_group(fit):
    rows = pd.DataFrame({"arm": ["control", "new"], "visit": "6", "t": 6.0})
    predicted = fit.predict(rows, groups="none")["mean"]
    np.testing.assert_allclose(fit.means("arm", at={"visit": "6"})["mean"], predicted, rtol=1e-10)


def test_differences_of_differences(fit):
    table = fit.contrast("arm", by="visit", between="reference")
    single = fit.contrast("arm", by="visit")["mean"].to_numpy()
    assert table.index[0] == ("1 - 0", "new - control")
    np.testing.assert_allclose(table["mean"], single[1:] - single[0])
    assert len(fit.contrast("arm", by="visit", between=True)) == 10


CODINGS = ["f", "C(f, contr.sum)", "C(f, contr.helmert)", "C(f, contr.treatment('c'))", "C(f, contr.poly)"]
SHAPES = [
    "{f} * h + x",
    "{f} + h",
    "{f} * x + h",
    "{f}:h + x",
    "{f} * poly(x, 2)",
    "{f} * bs(x, df=4)",
    "h + {f}:log(year)",
    "0 + {f}",
    "0 + {f}:h + small",
]


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.sampled_from(SHAPES), st.sampled_from(CODINGS), st.integers(0, 5), st.sampled_from(["equal", "observed"]))
def test_the_coding_changes_nothing(shape, coding, seed, weights):
    """Least-squares fits of one model in two codings predict the same everywhere."""
    data = noisy(seed, 120)
    one, other = (known(f"y ~ {shape.format(f=f)} + (1 | g)", data) for f in ("f", coding))
    found, expected = (means_of(posterior, "f", weights=weights)["mean"] for posterior in (one, other))
    assert list(found.index) == list("abc")
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["C(arm, contr.sum)", "C(arm, contr.treatment('new'))", "C(arm, contr.helmert)"])
def test_the_coding_changes_nothing_in_a_default_fit(fit, arm):
    other = pmlmm.Model(f"y ~ {arm} * visit + (t | id)", trial()).fit()
    one, two = (f.contrast("arm", by="visit") for f in (fit, other))
    assert (np.abs(one["mean"] - two["mean"]) < 0.1 * one["sd"]).all()
    np.testing.assert_allclose(one["sd"], two["sd"], rtol=0.1)


def test_cell_means_without_an_intercept():
    data = noisy()
    assert means_of(known("y ~ 0 + f + (1 | g)", data), "f")["mean"].to_numpy() == pytest.approx(
        data.groupby("f")["y"].mean().to_numpy()
    )


def test_equal_and_observed_weights():
    """Observed ones are the joint frequencies of what is averaged over, the same for every mean."""
    data = noisy().assign(k=lambda d: np.where(d["x"] > 6, "p", "q"))
    posterior = known("y ~ f + h * k + (1 | g)", data)
    cells = means_of(posterior, "f", by=["h", "k"])["mean"].unstack("f")
    shares = data.groupby(["h", "k"]).size() / len(data)
    np.testing.assert_allclose(means_of(posterior, "f")["mean"], cells.mean())
    np.testing.assert_allclose(means_of(posterior, "f", weights="observed")["mean"], cells.T @ shares)
    np.testing.assert_allclose(means_of(posterior, "f", at={"h": "u"})["mean"], cells.loc["u"].mean())
    np.testing.assert_allclose(means_of(posterior, None)["mean"], cells.mean().mean())


@pytest.mark.parametrize(
    "levels",
    [
        pd.Series([True, False] * 30),
        pd.Series(pd.Categorical(["low", "mid", "high"] * 20, ["low", "mid", "high"], ordered=True)),
        pd.Series(["3", "1", "2"] * 20),
        pd.Series(["x"] * 20 + [None] * 20 + ["y"] * 20),
        pd.Series(["x", "y"] * 30, dtype="string"),
    ],
    ids=["flags", "ordered", "text", "missing", "nullable"],
)
def test_kinds_of_factors(levels):
    data = noisy().assign(f=levels)
    found = means_of(known("y ~ f + (1 | g)", data), "f")["mean"]
    expected = data.dropna().groupby("f", observed=True)["y"].mean()
    assert list(found.index) == list(expected.index)
    np.testing.assert_allclose(found, expected)


def test_numbers_as_levels_and_as_numbers():
    data = noisy().assign(dose=lambda d: 10 * (d.index % 3))
    cells = known("y ~ C(dose) + x + (1 | g)", data)
    assert list(means_of(cells, "dose").index) == [0, 10, 20]
    assert list(contrast_of(cells, "dose", kind="reference", reference=10).index) == ["0 - 10", "20 - 10"]
    line = known("y ~ dose + x + (1 | g)", data)
    assert list(means_of(line, "dose").index) == [0, 10, 20]
    slope = line.population[0][1]
    assert contrast_of(line, {"dose": [5, 25]})["mean"].iloc[0] == pytest.approx(20 * slope)
    assert means_of(line, None, at={"dose": [0, 20]})["mean"].iloc[0] == pytest.approx(
        means_of(line, None, at={"dose": 10})["mean"].iloc[0]
    )


def test_columns_of_any_name_and_tables_of_polars():
    data = noisy().rename(columns={"f": "treatment arm", "x": "log x"})
    posterior = known("y ~ `treatment arm` * `log x` + (1 | g)", polars.from_pandas(data))
    assert contrast_of(posterior, "treatment arm").index.name == "contrast"
    assert slopes_of(posterior, "log x", by="treatment arm").index.name == "treatment arm"


def test_covariates_are_at_their_means_before_a_function_is_applied():
    data = noisy()
    posterior = known("y ~ f + log(x + 10) + (1 | g)", data)
    beta = posterior.population[0]
    assert means_of(posterior, "f").loc["a", "mean"] == pytest.approx(beta[0] + beta[3] * np.log(data["x"].mean() + 10))


def test_many_factors_are_averaged_by_what_occurs():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({f"f{j}": rng.integers(0, 12, 200).astype(str) for j in range(7)})
    data = data.assign(y=rng.normal(size=200), g=np.arange(200) % 9)
    posterior = known("y ~ " + " + ".join(f"f{j}" for j in range(7)) + " + (1 | g)", data)
    assert len(means_of(posterior, "f0", weights="observed")) == 12
    with pytest.raises(pmlmm.OptionError, match="weights='observed'"):
        means_of(posterior, "f0")


def test_hundreds_of_levels():
    """Averages and intervals in pieces; all pairs of them are refused."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"f": np.repeat(np.arange(250), 3).astype(str), "y": rng.normal(size=750)})
    posterior = known("y ~ f + (1 | g)", data.assign(g=np.tile(np.arange(3), 250)))
    found = means_of(posterior, "f")["mean"]
    np.testing.assert_allclose(found, data.groupby("f")["y"].mean())
    assert len(contrast_of(posterior, "f", kind="mean")) == 250
    assert len(contrast_of(posterior, {"f": [str(k) for k in range(100)]})) == 4950
    with pytest.raises(pmlmm.OptionError, match="250 levels make 31125 pairs"):
        contrast_of(posterior, "f")


# -- wide blocks -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("formula", ["y ~ f + (1 | g)", "y ~ 0 + f + (1 | g)"])
@pytest.mark.parametrize("columns", [8, 70])
def test_wide_blocks_are_at_their_column_means(formula, columns):
    data = noisy()
    genes = 3.0 + np.random.default_rng(2).normal(size=(60, columns))
    fit = pmlmm.Model(formula, data.assign(y=data["y"] + genes[:, 0]), penalized={"genes": genes}).fit(draws=400)
    table = fit.means("f")
    drawn = fit.draw_posterior(gamma=False, wide=True)["posterior"].to_dataset()
    draws = (
        drawn["beta"].to_numpy() @ (np.eye(3) if "0 +" in formula else np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1]])).T
    )
    draws = (draws + (drawn["beta_genes"].to_numpy() @ genes.mean(axis=0))[..., None]).reshape(-1, 3)
    error = draws.std(axis=0) / np.sqrt(400)
    assert (np.abs(table["mean"] - draws.mean(axis=0)) < 5 * error).all()
    np.testing.assert_allclose(table["sd"], draws.std(axis=0, ddof=1), rtol=0.2)  # other draws, of 400
    assert (np.abs(table["mean"] - table[["lower", "upper"]].mean(axis=1)) < table["sd"]).all()


# -- cells without rows ------------------------------------------------------------------------------------------------


def test_a_cell_without_rows_is_not_estimable(caplog):
    """As emmeans' nonEst: the prior alone decides there. What other cells determine is as ever."""
    data = noisy(n=300).assign(x=lambda d: d["x"] + 2000)
    data = data[(data["f"] != "a") | (data["h"] != "v")]
    fit = pmlmm.Model("y ~ f * h + x + (1 | g)", data).fit(integrate=False)
    cells = fit.means("f", by="h")
    assert cells.isna().all(axis=1).to_list() == [name == ("v", "a") for name in cells.index]
    assert cells.attrs["not_estimable"] == ["v, a"]
    assert [record.levelname for record in caplog.records if "v, a" in record.message] == ["WARNING"]
    assert fit.means("f").attrs["not_estimable"] == ["a"]
    assert fit.means("h").isna().all(axis=1).to_list() == [False, True]
    assert fit.contrast("f", by="h").attrs["not_estimable"] == ["v, b - a", "v, c - a"]
    assert fit.slopes("x", by=["f", "h"]).notna().all(axis=None)
    assert fit.means("f", at={"h": "u"}).notna().all(axis=None)
    assert fit.means(weights="observed").notna().all(axis=None)
    with pytest.raises(pmlmm.OptionError, match="'f_a' is not estimable"):
        fit.hypothesis("f_a > 0")
    assert len(fit.hypothesis("f_c > 0")) == 1


def test_collinear_columns_are_estimable_together():
    """Raw years and their polynomials are determined, a copy of a column only along with it."""
    data = noisy().assign(copy=lambda d: 1000 * d["x"])
    years = known("y ~ f + year + I(year^2) + I(year^3) + small + (1 | g)", data)
    assert means_of(years, "f").notna().all(axis=None)
    assert slopes_of(years, "year").notna().all(axis=None)
    copies = known("y ~ f + x + copy + (1 | g)", data)
    assert contrast_of(copies, "f").notna().all(axis=None)
    assert means_of(copies, "f").notna().all(axis=None)
    assert slopes_of(copies, "x").isna().all(axis=None)
    assert means_of(copies, {"x": [0, 1]}, at={"copy": [0]}).isna()["mean"].to_list() == [False, True]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(-6, 6), st.floats(-6, 6))
def test_estimable_is_what_rows_of_x_combine_to(seed, of_x, of_row):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 6)) * 10.0 ** rng.uniform(-abs(of_x), abs(of_x), 6)
    inside = 10.0**of_row * rng.normal(size=(4, 30)) @ X
    assert not means.not_estimable(X, inside).any()
    assert means.not_estimable(X, inside * rng.uniform(1, 2, 6)).all()
    assert not means.not_estimable(X, np.zeros((1, 6))).any()


# -- offsets -----------------------------------------------------------------------------------------------------------


def test_an_offset_of_columns_moves_with_them():
    """As predictions of rows do."""
    data = noisy().assign(w=lambda d: 10 + d["x"] ** 2)
    fit = pmlmm.Model("y ~ f + x + offset(2 * x + log(w)) + (1 | g)", data).fit(integrate=False)
    rows = pd.DataFrame({"x": [0.0, 1.0], "w": 3.0, "f": "a"})
    expected = fit.predict(rows, groups="none")["mean"].to_numpy()
    at = {"f": "a", "w": 3.0}
    np.testing.assert_allclose(fit.means({"x": [0, 1]}, at=at)["mean"], expected, rtol=1e-8)
    rise = pytest.approx(expected[1] - expected[0], rel=1e-8)
    assert fit.slopes("x")["mean"].iloc[0] == rise
    assert fit.slopes("x", at="rows")["mean"].iloc[0] == rise
    assert fit.contrast({"x": [0, 1]})["mean"].iloc[0] == rise
    assert fit.slopes("w", at={"w": 4.0}).loc["w"].to_list() == pytest.approx([0.25, 0, 0.25, 0.25, 1])
    assert fit.hypothesis("f_a")["mean"].iloc[0] == pytest.approx(fit.means("f").loc["a", "mean"])


def test_offsets_that_nothing_moves_are_at_their_means():
    data = noisy().assign(w=lambda d: d["x"] ** 2)
    for offset in ("w", data["w"].to_numpy()):
        fit = pmlmm.Model("y ~ f + x + (1 | g)", data, offset=offset).fit(integrate=False)
        rows = pd.DataFrame({"x": data["x"].mean(), "f": ["a"], "w": data["w"].mean()})
        X = fit.model.design.recipe.columns(rows)[0]
        expected = X @ fit._posterior.population[0][:-1] + data["w"].mean()
        assert fit.means("f").loc["a", "mean"] == pytest.approx(expected, rel=1e-10)
    with pytest.raises(pmlmm.OptionError, match="'w' is not a column that the fixed effects or the offset"):
        fit.slopes("w")


# -- slopes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["x", "year", "small"])
def test_the_slope_of_a_line_is_its_coefficient(column):
    posterior = known(f"y ~ f + {column} + (1 | g)", noisy())
    assert slopes_of(posterior, column)["mean"].iloc[0] == pytest.approx(posterior.population[0][3], rel=1e-8)
    assert list(slopes_of(posterior, column).index) == [column]


@pytest.mark.parametrize(
    ("term", "derivative"),
    [
        ("I(x^2)", lambda x: 2 * x),
        ("log(x + 10)", lambda x: 1 / (x + 10)),
        ("I(x^3)", lambda x: 3 * x**2),
        ("sin(x)", np.cos),
    ],
)
def test_slopes_of_functions(term, derivative):
    data = noisy()
    posterior = known(f"y ~ {term} + (1 | g)", data)
    places = [float(data["x"].min()), 5.0, float(data["x"].max())]
    found = slopes_of(posterior, "x", by={"x": places})
    np.testing.assert_allclose(found["mean"], posterior.population[0][1] * derivative(np.array(places)), rtol=1e-6)
    average = posterior.population[0][1] * derivative(data["x"]).mean()
    assert slopes_of(posterior, "x", at="rows")["mean"].iloc[0] == pytest.approx(average, rel=1e-6)


def test_slopes_of_splines_stay_within_the_data():
    """Also next to zero on a scale of its own, where a fixed step would be too long."""
    data = noisy(n=300).assign(dose=lambda d: np.exp(2 * d["x"]))
    ends = {"x": [float(data["x"].min()), float(data["x"].max())]}
    assert np.isfinite(slopes_of(known("y ~ f * bs(x, df=5) + (1 | g)", data), "x", by=ends)).all(axis=None)
    posterior = known("y ~ log(dose) + (1 | g)", data)
    low = float(data["dose"].min())
    found = slopes_of(posterior, "dose", by={"dose": [low]})["mean"].iloc[0]
    assert found == pytest.approx(posterior.population[0][1] / low, rel=1e-6)


STEPS = {"t": lambda rng: rng.integers(-3, 4, 200).astype(float), "u": lambda rng: rng.uniform(0, 5, 200)}


def with_steps():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({name: make(rng) for name, make in STEPS.items()}).assign(g=rng.integers(0, 6, 200))
    return data.assign(y=rng.normal(size=200) + (data["t"] > 0), v=np.append(0.0, data["u"][1:]))


@pytest.mark.parametrize(
    ("formula", "column", "at"),
    [
        ("y ~ I(t > 0) + (1 | g)", "t", {"t": 0}),
        ("y ~ u + I(t > 0) + (1 | g)", "t", "rows"),
        ("y ~ u + offset(2.0 * (t > 0)) + (1 | g)", "t", {"t": 0}),
        ("y ~ round(u) + (1 | g)", "u", {"u": 1.5}),
        ("y ~ sqrt(v) + (1 | g)", "v", {"v": 0}),
    ],
)
def test_a_jump_has_no_slope(formula, column, at):
    with pytest.raises(pmlmm.OptionError, match=rf"'{column}'.*not smooth in it.*contrast"):
        slopes_of(known(formula, with_steps()), column, at=at)


def test_a_slope_where_the_formula_is_not_defined_is_refused():
    posterior = known("y ~ sqrt(u) + (1 | g)", with_steps())
    with pytest.raises(pmlmm.OptionError, match=r"'u'.*sqrt"):
        slopes_of(posterior, "u", at={"u": 0})
    assert slopes_of(posterior, "u", at={"u": 0.01})["mean"].iloc[0] == pytest.approx(posterior.population[0][1] * 5)


def test_between_jumps_the_slope_is_zero():
    """Also so near to one that the first step goes over it."""
    for place in (1.0, 1.501, 1.49):
        row = slopes_of(known("y ~ round(u) + (1 | g)", with_steps()), "u", at={"u": place}).iloc[0]
        assert row[["mean", "sd", "lower", "upper"]].to_list() == [0.0] * 4


def test_a_kink_has_the_slopes_of_its_sides():
    data = noisy()
    posterior = known("y ~ I((x - 5) * (x > 5)) + (1 | g)", data)
    found = slopes_of(posterior, "x", by={"x": [4.999, 5.001]})["mean"]
    np.testing.assert_allclose(found, [0, posterior.population[0][1]], atol=1e-9)
    average = posterior.population[0][1] * (data["x"] > 5).mean()
    assert slopes_of(posterior, "x", at="rows")["mean"].iloc[0] == pytest.approx(average)


@pytest.mark.parametrize("place", [0.0, 1.0])
def test_flat_places_of_powers_are_smooth(place):
    posterior = known("y ~ I(t^5) + I(t^7) + (1 | g)", with_steps())
    expected = posterior.population[0][1:3] @ [5 * place**4, 7 * place**6]
    assert slopes_of(posterior, "t", at={"t": place})["mean"].iloc[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_slopes_over_the_rows_of_each_level():
    data = noisy()
    posterior = known("y ~ f * I(x^2) + (1 | g)", data)
    found = slopes_of(posterior, "x", by="f", at="rows")
    beta = dict(zip(posterior.design.coefficients, posterior.population[0], strict=False))
    x = data[data["f"] == "b"]["x"].mean()
    squares = next(name for name in beta if name.startswith("I(") and ":" not in name)
    crossed = next(name for name in beta if "T.b" in name and ":" in name)
    assert found.loc["b", "mean"] == pytest.approx(2 * x * (beta[squares] + beta[crossed]), rel=1e-8)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda p: means_of(p, "g"), "'g' is not a column that the fixed effects.*'f', 'h', 'x'"),
        (lambda p: means_of(p, "F"), "Did you mean 'f'"),
        (lambda p: means_of(p, "f", by="f"), "named twice"),
        (lambda p: means_of(p, "x"), "60 different values: say which"),
        (lambda p: means_of(p, {"f": ["z"]}), "'f' has no level 'z'. Valid choices: 'a', 'b', 'c'"),
        (lambda p: means_of(p, {"f": []}), "at least one"),
        (lambda p: means_of(p, "f", at={"x": "tall"}), "'x' is a number; it cannot be 'tall'"),
        (lambda p: means_of(p, "f", at={"x": np.inf}), "cannot be inf"),
        (lambda p: means_of(p, {"x": [1]}, at={"x": 2}), "given twice"),
        (lambda p: means_of(p, "f", weights="even"), "choose 'equal' or 'observed'"),
        (lambda p: means_of(p, [1]), "give a column"),
        (lambda p: means.means(p, "f", None, None, "equal", 95), "probability between 0 and 1"),
        (lambda p: contrast_of(p, None), "needs a column"),
        (lambda p: contrast_of(p, {"f": "a"}), "has one value"),
        (lambda p: contrast_of(p, "f", kind="all"), "choose one of 'pairwise'"),
        (lambda p: contrast_of(p, "f", kind="reference", reference="z"), "none of the levels. Valid choices: 'a'"),
        (lambda p: contrast_of(p, "f", reference="a"), "goes with kind='reference'"),
        (lambda p: contrast_of(p, "f", between=True), "give it too"),
        (lambda p: slopes_of(p, "f"), "'f' is a factor.*'x'"),
        (lambda p: slopes_of(p, "x", at="median"), "'rows'"),
        (lambda p: slopes_of(p, "x", by={"x": [1]}, at="rows"), "name the columns"),
    ],
)
def test_errors_name_the_way_out(ask, message):
    with pytest.raises(pmlmm.OptionError, match=message):
        ask(known("y ~ f * h + x + (1 | g)", noisy()))


def test_a_model_without_fixed_effects_has_none():
    fit = pmlmm.Model("y ~ 0 + offset(x) + (1 | g)", noisy()).fit(integrate=False)
    for ask in (fit.means, lambda: fit.contrast("x"), lambda: fit.slopes("x")):
        with pytest.raises(pmlmm.OptionError, match="has no fixed effects"):
            ask()
    with pytest.raises(pmlmm.OptionError, match="not known"):
        fit.hypothesis("g > 0")


def test_a_column_that_depends_on_the_other_rows_is_refused():
    data = noisy()
    with pytest.raises(pmlmm.DataError, match="depends on the other rows"):
        means_of(known("y ~ f + rank(x) + (1 | g)", data, context={"rank": lambda x: x.rank()}), "f")


def test_levels_that_are_numbers_keep_their_names():
    """Codes beside a gap in their column are floats; a level to begin with makes a factor of numbers too."""
    rng = np.random.default_rng(3)
    site = np.repeat([1234567.0, 1234568.0, 1234569.0], 40)
    table = pd.DataFrame({"site": site, "g": np.repeat(np.arange(12), 10), "y": rng.normal(size=120)})
    for formula in ("y ~ factor(site) + (1 | g)", "y ~ relevel(site, ref=1234568) + (1 | g)"):
        fit = pmlmm.Model(formula, table).fit(integrate=False)
        assert fit.contrast("site").index.tolist()[0] == "1234568 - 1234567"
        cells = fit.means("site")["mean"]
        assert fit.means()["mean"].iloc[0] == pytest.approx(cells.mean(), rel=1e-9)  # no mean of the codes
        assert fit.hypothesis("site_1234569 > site_1234567")["mean"].iloc[0] == pytest.approx(
            cells.iloc[2] - cells.iloc[0]
        )
