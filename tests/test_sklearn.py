"""The scikit-learn regressor: left-out groups against theory, searches and pipelines, scikit-learn's own contract."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import pmlmm
from pmlmm.errors import DataError, FormulaError, OptionError
from pmlmm.sklearn import MixedRegressor
from tests.problems import wide_data

SDS, SIGMA, SLOPE = (2.0, 0.5), 1.0, 1.0
QUICK = {"fit_options": {"integrate": False, "draws": 200}}


def growth(groups=100, rows=10, seed=0):
    """y = 3 + t + u + v t + e, t in 0..9, and a covariate that says nothing."""
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"id": np.repeat(np.arange(groups), rows), "t": np.tile(np.arange(rows), groups)})
    u, v = rng.normal(size=(2, groups)) * np.array(SDS)[:, None]
    noise = rng.normal(scale=SIGMA, size=len(data))
    data["y"] = 3.0 + SLOPE * data.t + u[data.id] + v[data.id] * data.t + noise
    data["arm"] = np.where(data.id % 2, "drug", "control")
    return data


@pytest.fixture(scope="module")
def data():
    return growth()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_left_out_groups_are_predicted_as_theory_says(seed):
    data = growth(groups=300, seed=seed)
    scores = cross_val_score(
        MixedRegressor("~ t + (t | id)", **QUICK), data, data.y, groups=data.id, cv=GroupKFold(5), scoring="r2"
    )
    t = np.arange(10)
    unexplained = np.mean(SDS[0] ** 2 + SDS[1] ** 2 * t**2) + SIGMA**2
    theory = 1 - unexplained / (unexplained + SLOPE**2 * np.var(t))
    assert scores.mean() == pytest.approx(theory, abs=0.05)  # sd of the mean over data sets: 0.02


def test_rows_of_known_groups_are_predicted_with_their_effects(data):
    model, split = MixedRegressor("~ t + (t | id)", **QUICK), KFold(5, shuffle=True, random_state=0)
    errors = cross_val_predict(model, data, data.y, cv=split) - data.y
    # 8 of 10 rows tell intercept and slope of a group: sigma^2 (1 + 2 / 8) at most
    assert SIGMA**2 < np.mean(errors**2) < 1.35 * SIGMA**2


def test_predictions_are_those_of_the_fit(data):
    model = MixedRegressor("~ t + arm + (t | id)", **QUICK).fit(data, data.y)
    fit = pmlmm.Model("y ~ t + arm + (t | id)", data).fit(integrate=False, draws=200)
    np.testing.assert_array_equal(model.fit_.mean["beta"], fit.mean["beta"])
    new = pd.DataFrame({"t": [0, 5], "arm": ["drug", "control"], "id": [3, 3]})
    beta, gamma = fit.mean["beta"].to_numpy(), fit.mean["gamma_id"].to_numpy()[3]
    expected = beta @ np.array([[1, 1], [0, 5], [1, 0]]) + gamma @ np.array([[1, 1], [0, 5]])
    columns = [*data.columns]
    new = new.reindex(columns=columns)
    np.testing.assert_allclose(model.predict(new), expected)
    np.testing.assert_allclose(model.predict(new.assign(id=999)), beta @ np.array([[1, 1], [0, 5], [1, 0]]))


def test_standard_deviations_of_new_observations(data):
    model = MixedRegressor("~ t + (t | id)", **QUICK).fit(data, data.y)
    rows = data.iloc[[5, 5]].assign(id=[0, 999])
    mean, sd = model.predict(rows, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(rows))
    assert SIGMA < sd[0] < 1.15 * SIGMA
    # 100 groups tell an sd to 7 per cent
    assert sd[1] == pytest.approx(np.sqrt(SDS[0] ** 2 + 25 * SDS[1] ** 2 + SIGMA**2), rel=0.2)


def test_sample_weights_are_the_precisions_of_the_rows(data):
    weights = np.random.default_rng(0).uniform(0.2, 5.0, size=len(data))
    model = MixedRegressor("~ t + (t | id)", **QUICK).fit(data, data.y, sample_weight=list(weights))
    alike = pmlmm.Model("y ~ t + (t | id)", data, weights=weights).fit(integrate=False, draws=200)
    np.testing.assert_array_equal(model.fit_.mean["beta"], alike.mean["beta"])


@pytest.mark.slow
def test_a_search_over_formulas_and_priors_finds_the_slope(data):
    search = GridSearchCV(
        MixedRegressor(**QUICK),
        {"formula": ["~ t + (1 | id)", "~ t + (t | id)"], "priors": [None, {"common": pmlmm.Ridge()}]},
        cv=KFold(2, shuffle=True, random_state=0),
    ).fit(data, data.y)
    assert search.best_params_["formula"] == "~ t + (t | id)"
    assert "id_effect" in search.best_estimator_.fit_.mean.dims


def test_after_a_transformer_that_gives_data_frames(data):
    scaled = ColumnTransformer(
        [("scaled", StandardScaler(), ["t"])], remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    model = make_pipeline(scaled, MixedRegressor("~ t + (t | id)", **QUICK)).fit(data, data.y)
    plain = MixedRegressor("~ t + (t | id)", **QUICK).fit(data, data.y)
    # hyperparameters from 200 importance draws each, of another unit of t
    np.testing.assert_allclose(model.predict(data), plain.predict(data), atol=0.05 * SIGMA)
    assert list(model[-1].feature_names_in_) == ["t", "id", "y", "arm"]


def test_without_a_formula_every_column_and_intercepts_of_the_groups(data):
    X = data[["t", "arm", "id"]].assign(same=1.0)
    model = MixedRegressor(groups="id", **QUICK).fit(X, data.y)
    assert model.fit_.model.formula == "y ~ t + arm + (1 | id)"
    assert model.n_features_in_ == 4


def test_wide_blocks_by_name_or_selector():
    table, genes = wide_data(m=30, rows=4, p=300)
    genes = pd.DataFrame(np.asarray(genes)).add_prefix("gene_").set_axis(table.index)
    X = pd.concat([table.drop(columns="y"), genes], axis=1)
    group = next(name for name in table.columns if table[name].nunique() == 30)
    by_name = MixedRegressor(f"~ (1 | {group})", penalized={"genes": list(genes.columns)}, **QUICK)
    by_pattern = clone(by_name).set_params(penalized={"genes": make_column_selector(pattern="^gene_")})
    alike = pmlmm.Model(f"y ~ (1 | {group})", table, penalized={"genes": genes}).fit(integrate=False, draws=200)
    for model in (by_name, by_pattern):
        model.fit(X, table.y)
        np.testing.assert_allclose(model.fit_.mean["beta_genes"], alike.mean["beta_genes"])
        assert np.isfinite(model.predict(X.iloc[:3].assign(**{group: None}))).all()


def test_an_array_wider_than_long_is_shrunk():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 300))
    y = X[:, :30] @ rng.normal(size=30) + rng.normal(size=120)
    scores = cross_val_score(MixedRegressor(**QUICK), X, y, cv=KFold(4))
    assert scores.mean() > 0.1
    assert MixedRegressor(**QUICK).fit(X, y).fit_.mean["beta_columns"].shape == (300,)


def test_other_tables_names_and_gaps(data):
    import polars

    gaps = data.astype({"t": float}).assign(**{"my id": data.id})
    gaps.loc[3, "t"] = np.nan
    model = MixedRegressor("~ t + (t | `my id`)", **QUICK).fit(gaps, gaps.y)
    assert model.fit_.model.design.table.rows_dropped == 1
    assert np.flatnonzero(np.isnan(model.predict(gaps))).tolist() == [3]
    arrow = MixedRegressor("Y ~ t + (t | id)", **QUICK).fit(polars.from_pandas(data), data.y)
    frame = MixedRegressor("~ t + (t | id)", **QUICK).fit(data, data.y.rename("total score"))
    np.testing.assert_allclose(arrow.predict(polars.from_pandas(data)), frame.predict(data))
    assert frame.fit_.model.formula == "`total score` ~ t + (t | id)"


@pytest.mark.parametrize(
    ("right", "y", "formula"),
    [
        ("~ t + (1 | id)", "y", "y ~ t + (1 | id)"),  # X has it, the formula does not use it
        ("~ . + (1 | id)", "y", "y ~ . + (1 | id)"),
        ("~ t + arm + (1 | id)", "arm", "arm_ ~ t + arm + (1 | id)"),
        ("~ t + (1 | id)", None, "y_ ~ t + (1 | id)"),
    ],
)
def test_the_response_has_the_name_of_y(data, right, y, formula):
    values = data.y.rename(y) if y else data.y.to_numpy()
    fit = MixedRegressor(right, **QUICK).fit(data.head(300), values[:300]).fit_
    assert fit.model.formula == formula
    assert not fit.model.design.coefficients[-1].startswith("y")


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        (MixedRegressor("log(y) ~ t"), FormulaError, "TransformedTargetRegressor"),
        (MixedRegressor("t + (1 | id)"), FormulaError, "reads '~ t"),
        (MixedRegressor("~ t", groups="id"), OptionError, "add '\\+ \\(1 \\| id\\)'"),
        (MixedRegressor(groups="di"), DataError, "no column 'di'. .*'id'"),
        (MixedRegressor("~ t", penalized={"genes": ["g1"]}), DataError, "'genes': ....*no column 'g1'"),
        (MixedRegressor("~ t", fit_options={"draws": 3}), OptionError, "draws=3"),
    ],
)
def test_errors_say_what_to_do(data, model, error, words):
    with pytest.raises(error, match=words):
        model.fit(data, data.y)


def test_a_clear_word_where_scikit_learn_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "pmlmm.sklearn")
    with pytest.raises(ImportError, match=r'pip install "pmlmm\[sklearn\]"'):
        importlib.import_module("pmlmm.sklearn")


# scikit-learn's checks in which y is a column of X, or is fitted exactly by one: there is no sigma then, which
# pmlmm refuses to fit. With noise in y they pass (below).
EXACT = dict.fromkeys(
    (
        "check_dont_overwrite_parameters",
        "check_pipeline_consistency",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_regressors_no_decision_function",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_fit2d_1feature",
        "check_dict_unchanged",
        "check_fit2d_predict1d",
        "check_sample_weights_shape",
        "check_sample_weights_not_overwritten",
    ),
    "y is an exact function of X there: no residual variation, which is refused",
)


WEIGHTS = {
    "check_sample_weight_equivalence_on_dense_data": "weights are precisions, not numbers of repetitions, and above 0",
    "check_all_zero_sample_weights_error": "weights of 0 are refused, in other words",
}


@pytest.mark.slow
@parametrize_with_checks([MixedRegressor(**QUICK)], expected_failed_checks=lambda _: EXACT | WEIGHTS)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


class Noisy(MixedRegressor):
    """With an error in y, so that there is something to fit."""

    def fit(self, X, y, sample_weight=None):
        noise = np.random.default_rng(0).normal(size=np.shape(y))
        return super().fit(X, np.asarray(y, dtype=float) + noise, sample_weight)


@pytest.mark.slow
def test_the_contract_holds_in_the_exceptions_once_y_has_noise():
    seen = set()
    for estimator, check in estimator_checks_generator(Noisy(**QUICK)):
        if (name := check.func.__name__) in EXACT:
            check(estimator)
            seen.add(name)
    assert seen == set(EXACT)
