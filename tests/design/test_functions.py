"""Functions in formulas, by the names that R has."""

import numpy as np
import pytest

import pmlmm
from pmlmm.design.design import build_design
from pmlmm.errors import DataError
from tests.problems import visits


@pytest.fixture
def trial():
    return visits()


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
    np.testing.assert_allclose(fit.predict(trial.iloc[5:9])["mean"], fit.predict()["mean"][5:9], rtol=1e-10)


@pytest.mark.parametrize("dependent", ["I(base - np.mean(base))", "base.rank()", "lag(base)", "base.cumsum()"])
def test_what_depends_on_other_rows_is_refused_for_new_data(trial, dependent):
    table = trial.assign(y=trial.y, base=trial.base)
    expression = dependent if dependent != "lag(base)" else "I(lag(base).fillna(50.0))"
    fit = pmlmm.Model(f"y ~ {expression} + (1 | g)", table).fit(draws=200)
    assert np.isfinite(fit.predict()["mean"]).all()
    with pytest.raises(DataError, match=r"depends on the other rows.*mean, sd"):
        fit.predict(table.iloc[5:9])


def test_methods_of_columns(trial):
    design = build_design("y ~ t.clip(0, 3) + f.str.upper() + (1 | g)", trial)
    np.testing.assert_allclose(design.X[:, 1], trial.t.clip(0, 3))
    assert design.coefficients[2] == "f.str.upper()[T.B]"
