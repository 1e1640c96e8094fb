"""What the hyperprior does to a user's fit: precise data win, units do not matter, noise comes out as nothing."""

import numpy as np
import pandas as pd
import pytest

import pmlmm

RIDGE = {"common": pmlmm.Ridge(), "Intercept": pmlmm.Flat()}
FLAT = {"common": pmlmm.Flat(), "Intercept": pmlmm.Flat()}


def growth(sigma):
    """12 groups that differ in level and slope with sd 1; slope 2."""
    rng = np.random.default_rng(5)
    g, t = np.repeat(np.arange(12), 8), np.tile(np.linspace(0.0, 2.0, 8), 12)
    own = rng.normal(size=(12, 2))
    return pd.DataFrame({"g": g, "t": t, "y": 5 + own[g, 0] + (2 + own[g, 1]) * t + sigma * rng.normal(size=96)})


@pytest.mark.parametrize("sigma", [0.1, 1e-2])
def test_precise_measurements_are_not_fought(sigma):
    """One coefficient with a half-Cauchy scale is shrunk by 2 se^2 / beta, .4 se here, however small sigma is."""
    ridge, flat = (pmlmm.Model("y ~ t + (t | g)", growth(sigma), p).fit() for p in (RIDGE, FLAT))
    slope, se = float(flat.mean["beta"][1]), float(flat.sd["beta"][1])
    assert abs(float(ridge.mean["beta"][1]) - slope) < 2.4 * se**2 / slope
    assert float(ridge.mean["sigma"]) == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("sigma", [1e-3, 1e-4])
def test_sigma_may_be_any_fraction_of_a_slope(sigma):
    rng = np.random.default_rng(10)
    t, g = np.tile(np.arange(6.0), 15), np.repeat(np.arange(15), 6)
    table = {"g": g, "t": t, "y": 2 * t + rng.normal(size=15)[g] + sigma * rng.normal(size=90)}
    fit = pmlmm.Model("y ~ t + (1 | g)", table, RIDGE).fit()
    assert float(fit.mean["sigma"]) == pytest.approx(sigma, rel=0.25)
    assert float(fit.mean["beta"][1]) == pytest.approx(2.0, abs=0.3 * sigma)


def noisy(y_unit=1.0, x_unit=1.0, p=30):
    rng = np.random.default_rng(8)
    g, X = np.repeat(np.arange(20), 6), rng.normal(size=(120, p))
    y = X[:, 0] + 0.7 * rng.normal(size=20)[g] + rng.normal(size=120)
    return pd.DataFrame({"g": g, "y": y_unit * y}), x_unit * (X - X.mean(axis=0))


@pytest.mark.parametrize("standardize", [True, False])
def test_the_share_does_not_depend_on_units(standardize):
    fitted = []
    for y_unit, x_unit in ((1.0, 1.0), (1e4, 1.0), (1.0, 1e-3)):
        table, w = noisy(y_unit, x_unit)
        fit = pmlmm.Model("y ~ 1 + (1 | g)", table, penalized={"w": w}, standardize=standardize).fit()
        fitted.append(fit.mean["beta_w"].to_numpy() * x_unit / y_unit)
    np.testing.assert_allclose(fitted[1], fitted[0], atol=2e-3)
    np.testing.assert_allclose(fitted[2], fitted[0], atol=2e-3)


def test_formula_columns_and_a_block_of_the_same_columns_have_one_prior():
    """Unstandardised formula columns too: the same share, whatever their unit."""
    table, w = noisy(p=4, x_unit=50.0)
    table = table.assign(**{f"x{j}": w[:, j] for j in range(4)})
    block = pmlmm.Model("y ~ 1 + (1 | g)", table, penalized={"w": w}, standardize=False)
    formula = pmlmm.Model("y ~ x0 + x1 + x2 + x3 + (1 | g)", table, {"common": pmlmm.Ridge()}, standardize=False)
    values = [
        m.fit().hyperparameters.loc[name, "value"] for m, name in ((block, "lambda[w]"), (formula, "lambda[common]"))
    ]
    assert values[0] == pytest.approx(values[1], rel=0.05)


@pytest.mark.parametrize("p", [1, 10, 200])
def test_a_block_of_noise_comes_out_as_nothing(p):
    rng = np.random.default_rng([3, p])
    g, X = np.repeat(np.arange(30), 6), rng.normal(size=(180, p))
    y = 3.0 * (rng.normal(size=180) + 0.7 * rng.normal(size=30)[g])
    fit = pmlmm.Model("y ~ 1 + (1 | g)", {"y": y, "g": g}, penalized={"w": X}).fit()
    beta, sigma = fit.mean["beta_w"].to_numpy(), float(fit.mean["sigma"])
    assert np.sum(beta**2) < 0.05 * sigma**2
    assert sigma == pytest.approx(3.0, rel=0.12)


DYESTUFF2 = """7.298 3.846 2.434 9.566 7.990 5.220 6.556 0.608 11.788 -0.892 0.110 10.386 13.434 5.510 8.166
2.212 4.852 7.092 9.288 4.980 0.282 9.014 4.458 9.446 7.198 1.722 4.782 8.106 0.758 3.758"""


def test_dyestuff2():
    """Box and Tiao (1973): ML says 0, the profile's upper end is 2.08, half-t and LKJ give .82 [.04, 3.2]."""
    table = {"Batch": np.repeat(np.arange(6), 5), "Yield": np.array(DYESTUFF2.split(), dtype=float)}
    fit = pmlmm.Model("Yield ~ 1 + (1 | Batch)", table).fit()
    state = fit.hyperparameters.loc["A[Batch][Intercept]", "state"]
    assert state == "flat towards zero: the groups of Batch hardly differ in this effect"
    sd = np.sqrt(fit.integrate().posterior["posterior"]["Sigma_Batch"].to_numpy().ravel())
    low, middle, high = np.quantile(sd, [0.025, 0.5, 0.975])
    assert low < 0.1 * 3.7
    assert 0.4 < middle < 1.2
    assert 2.0 < high < 4.0


def test_groups_that_do_not_differ_are_said_so():
    flat = low = 0
    for seed in range(10):
        y = np.random.default_rng([seed, 4]).normal(size=24)
        fit = pmlmm.Model("y ~ 1 + (1 | g)", {"g": np.repeat(np.arange(8), 3), "y": y}).fit()
        flat += fit.hyperparameters.loc["A[g][Intercept]", "state"].startswith("flat towards zero")
        variance = fit.integrate(nodes=128).draw_posterior(gamma=False)["posterior"]["Sigma_g"].to_numpy()
        low += np.sqrt(np.quantile(variance, 0.025)) < 0.1
    assert flat >= 8
    assert low >= 8


def test_groups_that_differ_are_not_called_flat(sleep_fit):
    assert not sleep_fit.hyperparameters["state"].str.contains("zero").any()
