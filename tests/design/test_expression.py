"""What a formula says, as users of lme4 write it, against the numbers that they mean."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.design.design import build_design
from pmlmm.errors import DataError, OptionError
from tests.problems import visits


@pytest.fixture
def trial():
    return visits()


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


def test_levels_given_in_another_order_choose_the_reference(trial):
    design = build_design(
        "y ~ C(f, levels=['d', 'a', 'b', 'c']) + C(t, levels=[7, 0, 1, 2, 3, 4, 5, 6]) + (1 | g)", trial
    )
    assert design.coefficients[1].endswith("[T.a]")
    assert design.coefficients[4].endswith("[T.0]")


def test_population_predictions_need_no_group(trial):
    fit = pmlmm.Model("y ~ base + (1 | g)", trial).fit(draws=200)
    new = pd.DataFrame({"base": [40.0, 50.0], "g": [None, 99]})
    expected = fit.mean["beta"].to_numpy() @ np.array([[1, 1], [40, 50]])
    np.testing.assert_allclose(fit.predict(new, groups="none")["mean"], expected)
    np.testing.assert_allclose(fit.predict(new[["base"]], groups="none")["mean"], expected)
    with pytest.raises(DataError, match="no column 'g'"):
        fit.predict(new[["base"]])
    with pytest.raises(DataError, match="no column 'g', which says which rows are of one new group"):
        fit.predict(new[["base"]], groups="new")


def test_a_level_that_the_fit_has_not_seen_is_named(trial):
    fit = pmlmm.Model("y ~ f + (1 | g)", trial).fit(draws=200)
    with pytest.raises(DataError, match="levels there that the fit has not seen: 'z'"):
        fit.predict(trial.assign(f="z"))


def test_an_unseen_level_of_numbers_is_named_with_the_valid_ones(trial):
    """Where another column has the same value, known there."""
    fit = pmlmm.Model("y ~ u + C(t) + (1 | g)", trial.assign(u=trial["t"] + 50.0)).fit(draws=200)
    with pytest.raises(
        DataError, match=r"'t' has levels there that the fit has not seen: 52\. Valid choices: '0', '1'"
    ):
        fit.predict(trial.assign(t=52, u=52.0))


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
