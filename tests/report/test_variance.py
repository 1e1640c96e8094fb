"""Variance components, R2 and ICC: against package performance, simulated truth, and changes of units."""

import json

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.errors import OptionError
from pmlmm.posterior.variance import Variances, factors_of, mean_variance
from pmlmm.report.variance import icc_of, r2_of
from tests.problems import DATA, read, wide_data

FORMULAS = {
    "sleepstudy": "Reaction ~ Days + (Days | Subject)",
    "Penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "Orthodont": "distance ~ age * C(Sex, contr.treatment('Male')) + (age | Subject)",
}
REFERENCE = json.loads((DATA / "variance.json").read_text())["fits"]


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_those_of_package_performance(name):
    """At lme4's estimates; the reference has 12 digits, and performance agreed with it when it was made."""
    reference = REFERENCE[name]
    design = pmlmm.Model(FORMULAS[name], read(name)).design
    Sigma = {term.name: np.atleast_2d(reference["Sigma"][term.name]) for term in design.terms}
    terms = {term.name: mean_variance(Sigma[term.name][None], term.Z) for term in design.terms}
    fixed = np.var(np.atleast_2d(reference["beta"]) @ design.X.T, axis=1, ddof=1)
    found = Variances(fixed, {"fixed effects": fixed}, terms, factors_of(design), np.array([reference["sigma"] ** 2]))
    for factor, value in reference["terms"].items():
        assert terms[factor][0] == pytest.approx(value, rel=1e-9)
    values = r2_of(found) | icc_of(found)
    for key, value in reference["values"].items():
        assert values[key][0] == pytest.approx(value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_fit_is_near_the_estimates_of_maximum_likelihood(name):
    """Within two posterior sds: priors are weak, but few groups leave much open."""
    fit = pmlmm.Model(FORMULAS[name], read(name)).fit()
    table = pd.concat([fit.r2(), fit.icc()])
    for key, value in REFERENCE[name]["values"].items():
        assert abs(table.loc[key, "mean"] - value) < 2.0 * table.loc[key, "sd"] + 1e-9
        assert table.loc[key, "lower"] <= value + 1e-12
        assert value <= table.loc[key, "upper"]


def simulated(rng, m=30, rows=8, beta=0.8, scale=1.0, shift=0.0):
    """A table, with its true marginal and conditional R2 and ICC."""
    g, t, x = np.repeat(np.arange(m), rows), np.tile(np.arange(float(rows)), m), rng.normal(size=m * rows)
    L = np.array([[1.0, 0.0], [0.1, 0.25]])
    gamma = rng.normal(size=(m, 2)) @ L.T
    fixed = 1.0 + beta * x + 0.2 * t
    y = fixed + gamma[g, 0] + gamma[g, 1] * t + rng.normal(size=m * rows)
    random = mean_variance((L @ L.T)[None], np.column_stack([np.ones_like(t), t]))[0]
    total = np.var(fixed, ddof=1) + random + 1.0
    truth = {
        "marginal": np.var(fixed, ddof=1) / total,
        "conditional": 1.0 - 1.0 / total,
        "adjusted": random / (random + 1.0),
        "unadjusted": random / total,
    }
    return pd.DataFrame({"y": scale * y, "x": x, "t": t + shift, "g": g}), truth


@pytest.mark.slow
def test_intervals_hold_the_truth():
    """95% intervals of four shares in 100 data sets, standard error .022 each."""
    rng, inside = np.random.default_rng(11), []
    for _ in range(100):
        data, truth = simulated(rng)
        fit = pmlmm.Model("y ~ x + t + (t | g)", data).fit(draws=500)
        table = pd.concat([fit.r2(), fit.icc()])
        inside.append([table.loc[k, "lower"] < v < table.loc[k, "upper"] for k, v in truth.items()])
    assert (np.mean(inside, axis=0) >= 0.89).all()  # 2.7 errors below .95


def test_units_and_the_origin_of_time_change_nothing():
    shares = []
    for scale, shift in ((1.0, 0.0), (1e8, 0.0), (1e-8, 2000.0)):
        data, _ = simulated(np.random.default_rng(5), scale=scale, shift=shift)
        fit = pmlmm.Model("y ~ x + t + (t | g)", data).fit(draws=400)
        shares.append(pd.concat([fit.r2(), fit.icc()])["mean"].to_numpy())
    np.testing.assert_allclose(shares[1], shares[0], rtol=1e-4)
    np.testing.assert_allclose(shares[2], shares[0], atol=0.02)  # draws of 400 in other coordinates


def test_shares_add_up_and_wide_blocks_are_fixed():
    table, genes = wide_data(p=100)
    fit = pmlmm.Model("y ~ t + (1 + t | ind)", table, penalized={"genes": genes}).fit(integrate=False)
    components = fit.variance_components()
    assert list(components.index) == ["fixed effects", "genes", "ind", "residual", "covariance of fixed parts"]
    assert components["share"].sum() == pytest.approx(1.0, abs=1e-12)
    fixed = components["share"].drop(["ind", "residual"]).sum()
    assert fit.r2().loc["marginal", "mean"] == pytest.approx(fixed, abs=1e-12)
    draws = fit.draw_posterior(250, wide=True)["posterior"]
    predicted = np.einsum("cdp,np->cdn", draws["beta_genes"], genes.to_numpy()).reshape(1000, -1)
    expected = np.median(np.var(predicted, axis=1, ddof=1))
    assert components.loc["genes", "variance"] == pytest.approx(
        expected, rel=0.1
    )  # errors of medians of 500, 1000 draws


def test_rows_of_the_tables(crossed_fit, sleep_fit):
    assert list(crossed_fit.icc().index) == ["adjusted", "unadjusted", "adjusted, a", "adjusted, b", "adjusted, b:c"]
    by_factor = crossed_fit.icc()["mean"]
    assert by_factor[2:].sum() == pytest.approx(by_factor["adjusted"])
    assert list(sleep_fit.variance_components().index) == ["fixed effects", "Subject", "residual"]


def test_no_random_effects_or_no_fixed_ones():
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"y": rng.normal(size=40), "x": rng.normal(size=40), "g": np.arange(40) % 8})
    fit = pmlmm.Model("y ~ x", table).fit()
    r2 = fit.r2()["mean"]
    assert r2["marginal"] == r2["conditional"]
    with pytest.raises(OptionError, match="no random effects"):
        fit.icc()
    assert pmlmm.Model("y ~ 0 + (1 | g)", table).fit().r2().loc["marginal", "mean"] == 0.0
