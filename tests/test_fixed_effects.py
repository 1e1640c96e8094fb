"""What a user gets for fixed effects who says nothing about their priors: no shrinkage to speak of, anywhere."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmlmm

FLAT = {"common": pmlmm.Flat(), "Intercept": pmlmm.Flat()}
#: Means of 2,000 weighted draws differ by chance, and by where a search stops, by so many standard errors.
CLOSE = 0.1


def trial(seed=1):
    """60 patients in two arms, visits at 0 to 9 months, some of whom drop out; -2 a month, -12 at month 6."""
    rng = np.random.default_rng(seed)
    months = np.array([0, 1, 3, 6, 9])
    effects = rng.multivariate_normal([0, 0], [[100, -2], [-2, 0.64]], size=60)
    stays = np.cumprod(rng.random((60, 5)) > np.where(months, 1 / 12, 0.0), axis=1).astype(bool)
    patient, visit = np.nonzero(stays)
    t = months[visit].astype(float)
    new = patient % 2 == 1
    y = 60 - 0.5 * t - 2.0 * new * t + effects[patient, 0] + effects[patient, 1] * t + 8 * rng.normal(size=len(t))
    arm = np.where(new, "new", "control")
    return pd.DataFrame({"y": y, "t": t, "visit": t.astype(int).astype(str), "arm": arm, "id": patient})


def beta(fit, name):
    """Mean and standard deviation of one coefficient."""
    return tuple(float(values["beta"].sel(coefficient=name)) for values in (fit.mean, fit.sd))


def assert_close(fit, other, names):
    for name in names:
        (mean, sd), (expected, error) = beta(fit, name), beta(other, name)
        assert abs(mean - expected) < CLOSE * error, name
        assert sd == pytest.approx(error, rel=0.1), name


@pytest.mark.parametrize(
    ("formula", "effect"),
    [("y ~ arm * visit + (t | id)", "arm[T.new]:visit[T.6]"), ("y ~ arm * t + (t | id)", "arm[T.new]:t")],
)
def test_a_treatment_effect_is_that_of_the_unpenalised_fit(formula, effect):
    data = trial()
    assert_close(pmlmm.Model(formula, data).fit(), pmlmm.Model(formula, data, FLAT).fit(), [effect])


def test_the_reference_level_changes_nothing():
    """Change from month 0 to 6, new arm against control, from predictions: treatment contrasts of either, and sums."""
    data, found = trial(), []
    cells = pd.DataFrame(itertools.product(("control", "new"), ("0", "6")), columns=["arm", "visit"])
    cells = cells.assign(t=cells["visit"].astype(float), id=0)
    for arm in ("arm", "C(arm, contr.treatment('new'))", "C(arm, contr.sum)"):
        fit = pmlmm.Model(f"y ~ {arm} * visit + (t | id)", data).fit()
        found.append(float(np.array([1, -1, -1, 1]) @ fit.predict(cells)["mean"].to_numpy()))
    assert np.ptp(found) < CLOSE * 3.0  # the standard error is about 3


@pytest.mark.parametrize("sigma", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("sizes", [np.full(12, 6), np.r_[np.full(11, 3), 40]], ids=["balanced", "one large group"])
def test_precise_measurements(sigma, sizes):
    rng = np.random.default_rng(3)
    g, effects = np.repeat(np.arange(12), sizes), rng.normal(size=(12, 2))
    t = rng.normal(size=len(g))
    y = 5 + 2 * t + effects[g, 0] + effects[g, 1] * t + sigma * rng.normal(size=len(g))
    data = pd.DataFrame({"y": y, "t": t, "g": g})
    fit = pmlmm.Model("y ~ t + (t | g)", data).fit()
    assert_close(fit, pmlmm.Model("y ~ t + (t | g)", data, FLAT).fit(), ["Intercept", "t"])
    assert float(fit.mean["sigma"]) == pytest.approx(sigma, rel=0.25)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.floats(-5, 5), st.floats(-3, 3))
def test_any_unit_of_y(log_c, shift):
    data = trial()
    usual = pmlmm.Model("y ~ arm * t + (t | id)", data).fit()
    c = 10.0**log_c
    fit = pmlmm.Model("y ~ arm * t + (t | id)", data.assign(y=c * (data["y"] + 100 * shift))).fit()
    moved = (fit.mean["beta"] / c).to_numpy() - np.array([100 * shift, 0, 0, 0])
    np.testing.assert_allclose(moved, usual.mean["beta"], atol=2e-3 * float(usual.sd["beta"].max()))
    np.testing.assert_allclose(fit.sd["beta"] / c, usual.sd["beta"], rtol=5e-3)
    assert fit.log_evidence + len(data) * log_c * np.log(10) == pytest.approx(usual.log_evidence, abs=5e-3)


def test_many_levels_leave_a_covariate_alone():
    rng = np.random.default_rng(15)
    site, g = rng.integers(0, 100, 1000), rng.integers(0, 30, 1000)
    data = pd.DataFrame({"site": site, "g": g, "x": rng.normal(size=1000)})
    data["y"] = 1 + 0.5 * data["x"] + 0.8 * rng.normal(size=100)[site] + 0.5 * rng.normal(size=30)[g]
    data["y"] += rng.normal(size=1000)
    mean, sd = beta(pmlmm.Model("y ~ x + C(site) + (1 | g)", data).fit(), "x")
    assert mean == pytest.approx(0.509, abs=CLOSE * 0.034)  # lmer
    assert sd == pytest.approx(0.034, rel=0.1)


def test_a_factorial_within_subjects():
    """3 x 4 cells, effects of a factor near zero beside one that is not."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame(itertools.product(range(20), "abc", "ABCD"), columns=["id", "f", "h"])
    data["y"] = 50 + 2.5 * (data["f"] == "c") + 4 * rng.normal(size=20)[data["id"]] + 3 * rng.normal(size=240)
    fits = [pmlmm.Model("y ~ f * h + (1 | id)", data, priors).fit() for priors in ({}, FLAT)]
    assert_close(*fits, fits[0].model.design.coefficients)


def test_levels_without_an_intercept_are_the_cell_means():
    rng = np.random.default_rng(102)
    data = pd.DataFrame(itertools.product("abcdefgh", range(6), range(2)), columns=["f", "block", "k"])
    levels = dict(zip("abcdefgh", 100 + 10 * rng.normal(size=8), strict=True))
    data["y"] = data["f"].map(levels) + (5 * rng.normal(size=6))[data["block"]] + 8 * rng.normal(size=96)
    cells, contrasts = (pmlmm.Model(f"y ~ {f} + (1 | block)", data).fit() for f in ("0 + f", "f"))
    means = contrasts.mean["beta"].to_numpy()
    np.testing.assert_allclose(cells.mean["beta"], means[0] + np.append(0.0, means[1:]), atol=0.3)
    np.testing.assert_allclose(cells.mean["beta"], data.groupby("f")["y"].mean(), atol=0.3)
    sds = [float(fit.mean["Sigma_block"][0, 0]) ** 0.5 for fit in (cells, contrasts)]
    assert sds[0] == pytest.approx(sds[1], rel=0.02)
    assert cells.log_evidence == pytest.approx(contrasts.log_evidence, abs=5.0)


@pytest.mark.parametrize("sigma", [0.1, 0.01, 0.001])
def test_one_group_with_most_of_the_rows_does_not_pull_the_intercept(sigma):
    rng = np.random.default_rng(10)
    g, u = np.repeat(np.arange(15), np.r_[np.full(14, 2), 60]), np.r_[rng.normal(size=14), 3.0]
    data = pd.DataFrame({"g": g, "y": u[g] + sigma * rng.normal(size=88)})
    mean, sd = beta(pmlmm.Model("y ~ 1 + (1 | g)", data).fit(), "Intercept")
    expected, error = beta(pmlmm.Model("y ~ 1 + (1 | g)", data, {"Intercept": pmlmm.Flat()}).fit(), "Intercept")
    assert mean == pytest.approx(expected, abs=CLOSE * error)
    assert sd == pytest.approx(error, rel=0.1)


@pytest.mark.parametrize("sigma", [1e-3, 1e-4])
def test_sigma_may_be_any_share_of_a_slope(sigma):
    rng = np.random.default_rng(10)
    t, h = np.tile(np.arange(6.0), 15), np.repeat(np.arange(15), 6)
    data = pd.DataFrame({"h": h, "t": t, "y": 2 * t + rng.normal(size=15)[h] + sigma * rng.normal(size=90)})
    fit = pmlmm.Model("y ~ t + (1 | h)", data).fit()
    assert float(fit.mean["sigma"]) == pytest.approx(sigma, rel=0.2)
    assert beta(fit, "t")[0] == pytest.approx(2.0, abs=sigma)


@pytest.mark.parametrize("columns", [20, 35, 60])
def test_as_many_columns_as_rows_fit_and_the_summary_suggests_a_ridge(columns):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, columns))
    data = pd.DataFrame(X, columns=[f"x{j}" for j in range(columns)]).assign(g=np.arange(40) % 8)
    data["y"] = X[:, 0] + rng.normal(size=8)[data["g"]] + rng.normal(size=40)
    formula = "y ~ " + " + ".join(f"x{j}" for j in range(columns)) + " + (1 | g)"
    text = " ".join(str(pmlmm.Model(formula, data).fit()).split())
    assert "priors={'common': pmlmm.Ridge()}" in text
    assert "shrinks all of them" not in str(pmlmm.Model(formula, data, {"common": pmlmm.Ridge()}).fit())


def test_no_lambda_is_learned_or_shown(sleep_fit):
    assert not [name for name in sleep_fit.hyperparameters.index if name.startswith("lambda")]
    assert not [name for name in sleep_fit.graph().named_vars if name.startswith("lambda")]


@pytest.mark.slow
@pytest.mark.parametrize("collapsed", [True, False])
def test_nuts_agrees(collapsed):
    """The full graph has the priors once more, in PyMC's own words."""
    data = trial().query("id < 20")
    fit = pmlmm.Model("y ~ 0 + arm + t + (1 | id)", data, {"t": pmlmm.Normal(-1.0, 0.3)}).fit()
    draws = fit.sample(1000, tune=500, chains=2, collapsed=collapsed, progress=False)["posterior"]["beta"]
    np.testing.assert_allclose(draws.mean(("chain", "draw")), fit.mean["beta"], atol=0.15 * float(fit.sd["beta"].max()))
    np.testing.assert_allclose(draws.std(("chain", "draw")), fit.sd["beta"], rtol=0.15)
