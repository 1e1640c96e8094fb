"""Tables of estimates: what a user reads is what the posterior has, in awkward settings too."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag

import pmlmm
from pmlmm.errors import OptionError
from pmlmm.posterior import random_effects as spread
from pmlmm.posterior.labels import covariance_parameters
from tests.problems import wide_data


@pytest.fixture(scope="module")
def doses():
    """Two crossed factors, one with integers as labels, in tiny units, years as they come, some values missing."""
    rng = np.random.default_rng(3)
    n = 300
    data = pd.DataFrame({"id": 100 + np.arange(n) % 30, "site": rng.choice(["a", "b", "c", "d"], n)})
    data["year"] = 2000.0 + rng.integers(0, 10, n)
    slopes = 0.4 * rng.normal(size=30)[data["id"] - 100]
    signal = 5.0 + 0.5 * (data["year"] - 2005) + rng.normal(size=30)[data["id"] - 100] + slopes * (data["year"] - 2005)
    data["y"] = 1e-9 * (signal + rng.normal(size=n))
    data.loc[[4, 9], "y"] = np.nan
    return pmlmm.Model("y ~ year + (year | id) + (1 | site)", data.set_index(np.arange(n)[::-1])).fit(draws=800)


def test_coefficients_are_those_of_the_draws(doses):
    table = doses.coefficients(interval=0.8)
    draws = doses.posterior["posterior"]["beta"].to_numpy().reshape(-1, 2)
    np.testing.assert_allclose(table["mean"], doses.mean["beta"])
    np.testing.assert_allclose(table[["lower", "upper"]].to_numpy().T, np.quantile(draws, [0.1, 0.9], axis=0), rtol=0.1)
    assert table.loc["year", "probability_of_sign"] > 0.99
    assert list(table.index) == ["Intercept", "year"]


def test_the_probability_of_a_sign_is_one_half_of_nothing():
    rng = np.random.default_rng(0)
    tables = [
        pmlmm.Model("y ~ x", pd.DataFrame({"y": rng.normal(size=40), "x": rng.normal(size=40)})).fit().coefficients()
        for _ in range(20)
    ]
    found = np.array([table.loc["x", "probability_of_sign"] for table in tables])
    assert (found >= 0.45).all()  # half, but for skewness
    assert np.mean(found > 0.95) <= 0.35  # expected in .1 of 20 data sets


def test_covariances_are_those_of_the_draws(doses):
    table = doses.covariances()
    assert table["kind"].tolist() == ["sd", "sd", "correlation", "sd", "sd"]
    assert table["term"].tolist() == ["id", "id", "id", "site", "residual"]
    draws = doses.posterior["posterior"]
    site = np.sqrt(draws["Sigma_site"].to_numpy().ravel())
    np.testing.assert_allclose(
        table.loc[3, ["lower", "median", "upper"]].astype(float), np.quantile(site, [0.025, 0.5, 0.975])
    )
    assert table.loc[4, "median"] == pytest.approx(1e-9, rel=0.15)
    assert table.loc[2, ["effect", "effect2"]].tolist() == ["year", "Intercept"]


def test_random_effects_have_the_users_labels(doses):
    table = doses.random_effects()
    assert table["group"][:2].tolist() == [100, 100]
    assert all(isinstance(group, int | np.integer) for group in doses.random_effects("id")["group"])
    assert table.query("term == 'site'")["group"].tolist() == ["a", "b", "c", "d"]
    assert len(table) == 64
    wide = table[(table["term"] == "id") & (table["effect"] == "year")].set_index("group")
    gamma = doses.posterior["posterior"]["gamma_id"].sel(id_effect="year")
    np.testing.assert_allclose(wide["mean"], doses.mean["gamma_id"].sel(id_effect="year"))
    np.testing.assert_allclose(
        wide["sd"], gamma.std(("chain", "draw")), rtol=0.2
    )  # 800 draws each: 2.5% errors, four of them
    assert (wide["lower"] < wide["mean"]).all()
    assert (wide["mean"] < wide["upper"]).all()


def test_nested_groups_and_several_terms_of_a_factor(crossed_fit):
    table = crossed_fit.random_effects()
    assert set(table["term"]) == {term.name for term in crossed_fit.model.design.terms}
    assert ":" in table.query("term == 'b:c'")["group"].iloc[0]
    with pytest.raises(OptionError, match="random_effects\\('z'\\)"):
        crossed_fit.random_effects("z")


def test_moments_of_many_groups_are_those_of_draws(doses, monkeypatch):
    """The factor with many groups by conditional moments, the other by its draws."""
    drawn = doses.random_effects()
    monkeypatch.setattr(spread, "_DRAWN", 0)
    moments = doses.random_effects()
    scale = drawn["sd"].to_numpy()
    np.testing.assert_allclose(moments["sd"] / scale, 1.0, atol=0.12)  # sd of 800 draws: 2.5%; of 64 ratios 4.5 errors
    for end in ("lower", "upper"):
        np.testing.assert_allclose(
            (moments[end] - drawn[end]) / scale, 0.0, atol=0.45
        )  # .1 sds a quantile of 800 draws
    # on the user's scale, where intercepts are at year 0, moments are as exact
    assert drawn.query("term == 'id' and effect == 'Intercept'")["sd"].min() > 1e-7


@pytest.mark.parametrize("formula", ["y ~ t + (t | g)", "y ~ t + (1 + t | g/h)", "y ~ t + (1 | g) + (1 | g:h)"])
def test_moments_are_exact_given_everything_else(formula):
    """At one draw of (sigma, Sigma, beta) they are those of the conditional law, by dense algebra."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"y": rng.normal(size=600), "t": rng.normal(size=600) + 50.0, "g": np.arange(600) % 60})
    table["h"] = np.arange(600) // 60 % 3
    posterior = pmlmm.Model(formula, table).fit(draws=200, integrate=False)._posterior
    design, origins = posterior.design, posterior.problem.statistics.origins
    piece, dense = next(posterior.resample(2, np.random.default_rng(0))[0].dense(np.random.default_rng(1)))
    found = piece.parameters.grouped_moments(dense)
    assert len(found) == len(design.terms)
    values = covariance_parameters(piece.parameters.natural, design, origins)
    for s in range(2):
        Z, prior = [], []
        for term in design.terms:
            members = np.eye(term.n_groups)[term.grouping.codes]
            Z.append((members[:, :, None] * term.Z[:, None, :]).reshape(len(table), -1))
            prior.append(np.kron(np.eye(term.n_groups), np.linalg.inv(values[f"Sigma_{term.name}"][s])))
        Z, variance = np.hstack(Z), values["sigma"][s] ** 2
        covariance = np.linalg.inv(block_diag(*prior) + Z.T @ Z / variance)
        mean = covariance @ Z.T @ (design.y - design.X @ piece.parameters.user_beta(dense)[s]) / variance
        means, variances = (np.concatenate([pair[j][s].ravel() for pair in found.values()]) for j in (0, 1))
        np.testing.assert_allclose(variances, np.diag(covariance), rtol=1e-6)
        np.testing.assert_allclose(means, mean, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_hundred_thousand_groups_take_seconds():
    rng = np.random.default_rng(0)
    m = 100_000
    g = np.repeat(np.arange(m), 3)
    t = rng.normal(size=3 * m)
    gamma = rng.normal(size=(m, 2))
    table = pd.DataFrame({"y": gamma[g, 0] + gamma[g, 1] * t + rng.normal(size=3 * m), "t": t, "g": g})
    fit = pmlmm.Model("y ~ t + (t | g)", table).fit()
    begin = time.process_time()
    effects = fit.random_effects()
    assert time.process_time() - begin < 20
    inside = (effects["lower"].to_numpy() < gamma.ravel()) & (gamma.ravel() < effects["upper"].to_numpy())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.005)  # error .0005, and b and A are learned


def test_a_ranking_of_genes():
    table, genes = wide_data(p=300)
    table["y"] += 6.0 * genes["g7"].to_numpy()
    fit = pmlmm.Model("y ~ t + (1 | ind)", table, penalized={"genes": genes}).fit(integrate=False)
    ranking = fit.coefficients("genes", sort=True)
    assert ranking.index[0] == "g7"
    ratio = (ranking["mean"] / ranking["sd"]).abs()
    assert ratio.is_monotonic_decreasing
    unsorted = fit.coefficients("genes")
    np.testing.assert_array_equal(unsorted["mean"], fit.mean["beta_genes"])
    draws = fit.draw_posterior(500, wide=True)["posterior"]["beta_genes"].to_numpy().reshape(-1, 300)
    np.testing.assert_allclose(unsorted["sd"] / draws.std(axis=0), 1.0, atol=0.1)
    np.testing.assert_allclose(
        (unsorted["lower"] - np.quantile(draws, 0.025, axis=0)) / draws.std(axis=0), 0.0, atol=0.25
    )
    share = np.mean(np.sign(draws) == np.sign(unsorted["mean"].to_numpy()), axis=0)
    np.testing.assert_allclose(unsorted["probability_of_sign"], share, atol=0.05)  # error at most .011
    with pytest.raises(OptionError, match="Did you mean 'genes'"):
        fit.coefficients("gene")


@pytest.mark.slow
def test_twenty_thousand_genes_take_seconds():
    table, genes = wide_data(m=20, rows=10, p=20_000)
    fit = pmlmm.Model("y ~ t + (1 | ind)", table, penalized={"genes": genes}).fit(integrate=False)
    begin = time.process_time()
    assert len(fit.coefficients("genes", sort=True)) == 20_000
    assert time.process_time() - begin < 20


def test_models_without_parts():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=40), "g": np.arange(40) % 5})
    flat = pmlmm.Model("y ~ 1", table).fit()
    assert flat.random_effects().empty
    assert flat.covariances()["term"].tolist() == ["residual"]
    assert pmlmm.Model("y ~ 0 + (1 | g)", table).fit().coefficients().empty
    with pytest.raises(OptionError, match="interval=95"):
        flat.coefficients(interval=95)
