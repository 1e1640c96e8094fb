"""Whole fits of models with several factors and wide blocks."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pmlmm
from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.inference.empirical_bayes import LaplaceEvidence
from pmlmm.kernels import likelihood

FORMULA = "y ~ t + (1 + t | ind)"
#: Nothing is learned, so that two computations of one model differ by rounding alone.
FIXED = {"t": pmlmm.Ridge(0.5), "ind": pmlmm.InverseWishart(0.6, [[0.5, 0.1], [0.1, 0.4]])}


def wide_data(seed=0, m=8, rows=6, p=70):
    rng = np.random.default_rng(seed)
    n = m * rows
    genes = pd.DataFrame(rng.normal(size=(n, p)) + 3.0, columns=[f"g{j}" for j in range(p)])
    table = pd.DataFrame({"ind": np.repeat(np.arange(m), rows), "t": rng.normal(size=n)})
    gamma = rng.normal(size=(m, 2))
    signal = genes.to_numpy() @ (0.15 * rng.normal(size=p))
    table["y"] = signal + gamma[table["ind"], 0] + gamma[table["ind"], 1] * table["t"] + 0.5 * rng.normal(size=n)
    return table, genes


def three_ways(table, genes, genes_prior):
    """The same model eliminated in the space of the rows, rotated, and with all p columns as they are."""
    models = {}
    for method in ("wide", "groups"):
        model = pmlmm.Model(FORMULA, table, FIXED | {"genes": genes_prior}, penalized={"genes": genes})
        standard = model.statistics.standardization
        statistics = build_statistics(model.design, model.priors, standard, method=method)
        model._problem = replace(model._problem, statistics=statistics)
        models[method] = model
    columns = tuple(genes.columns)
    formula = FORMULA.replace("t +", " + ".join(["t", *columns]) + " +")
    models["direct"] = pmlmm.Model(formula, pd.concat([table, genes], axis=1), FIXED | {columns: genes_prior})
    return models


def test_three_computations_of_wide_blocks_agree():
    table, genes = wide_data()
    fits = {name: model.fit() for name, model in three_ways(table, genes, pmlmm.Ridge(2.0)).items()}
    direct = fits.pop("direct")
    u = np.concatenate([direct._posterior.learned.mode.natural, direct._posterior.learned.theta.log_lambda])
    law = likelihood.condition(u, direct.model.statistics.crossproducts())
    scale = direct.model.statistics.standardization.scale[2:]
    sds = u[0] * np.sqrt(np.diag(law.effect_covariance))[-70:] / scale
    for fit in fits.values():
        assert fit.log_evidence == pytest.approx(direct.log_evidence, rel=1e-10)
        assert fit.log_evidence_psis == pytest.approx(direct.log_evidence_psis, abs=5 * direct.log_evidence_psis_error)
        np.testing.assert_allclose(fit.mode["beta"], direct.mode["beta"][:2], rtol=1e-8)
        np.testing.assert_allclose(fit.mode["beta_genes"], direct.mode["beta"][2:], atol=1e-8)
        np.testing.assert_allclose(fit.mode["gamma_ind"], direct.mode["gamma_ind"], atol=1e-8)
        np.testing.assert_allclose(fit.predict(), fit.predict(table, penalized={"genes": genes}), rtol=1e-10)
        parameters = fit._posterior.parameters(fit._posterior.learned.mode.natural[None])
        covariance = parameters.wide.covariance(fit._posterior.learned.mode.natural)
        block = fit.model.statistics.wide[0]
        variances = block.variances(covariance, fit._posterior.learned.mode.natural[0] ** 2 / 2.0)
        np.testing.assert_allclose(np.sqrt(variances), sds, rtol=1e-8)


def test_evidence_and_gradient_agree_between_computations(bench):
    table, genes = wide_data()
    results = {}
    for name, model in three_ways(table, genes, pmlmm.Ridge()).items():
        b = bench(model)
        results[name] = LaplaceEvidence(b.laplace, b.space, b.start)(np.array([1.0]))
    value, gradient = results.pop("direct")
    for other, slope in results.values():
        assert other == pytest.approx(value, rel=1e-10)
        np.testing.assert_allclose(slope, gradient, rtol=1e-5)  # one-sided differences of step 1e-6 are in it


def test_posterior_of_wide_coefficients():
    """Draws on demand have the means and sds that are computed without a p x p matrix."""
    table, genes = wide_data(1)
    fit = pmlmm.Model(FORMULA, table, penalized={"genes": genes}).fit(draws=2000)
    posterior = fit.draw_posterior(2000, wide=True)["posterior"]
    draws = posterior["beta_genes"].to_numpy().reshape(-1, 70)
    sd, mean = fit.sd["beta_genes"].to_numpy(), fit.mean["beta_genes"].to_numpy()
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.06)
    assert np.max(np.abs(draws.mean(axis=0) - mean) / sd) < 0.08
    fitted = posterior["beta"].to_numpy() @ fit.model.design.X.T
    fitted = fitted.reshape(-1, 48) + draws @ genes.to_numpy().T
    intercepts = posterior["gamma_ind"].to_numpy().reshape(-1, 8, 2)[:, fit.model.design.terms[0].grouping.codes]
    fitted += intercepts[..., 0] + intercepts[..., 1] * table["t"].to_numpy()
    error = fitted.std(axis=0) / np.sqrt(2000)
    assert np.max(np.abs(fitted.mean(axis=0) - fit.predict()) / error) < 5
    # the intercept's spread does not depend on whether the coefficients are drawn
    without = fit.draw_posterior(2000, wide=False)["posterior"]
    assert "beta_genes" not in without
    for draws_of in (posterior, without):
        assert float(draws_of["beta"][..., 0].std()) == pytest.approx(float(fit.sd["beta"][0]), rel=0.1)


@pytest.mark.parametrize("convert", [sparse.csr_array, lambda g: pd.DataFrame(g), lambda g: g.astype(np.int8)])
def test_blocks_of_any_kind(convert):
    rng = np.random.default_rng(2)
    genotypes = rng.binomial(2, 0.3, size=(40, 60)).astype(float)
    table = pd.DataFrame({"y": genotypes @ (0.3 * rng.normal(size=60)) + rng.normal(size=40), "g": np.arange(40) % 5})
    priors = {"snp": pmlmm.Ridge(20.0), "g": pmlmm.InverseWishart(0.5, [[0.2]])}
    given = pmlmm.Model("y ~ 1 + (1 | g)", table, priors, penalized={"snp": convert(genotypes)}).fit()
    expected = pmlmm.Model("y ~ 1 + (1 | g)", table, priors, penalized={"snp": genotypes}).fit()
    np.testing.assert_allclose(given.mean["beta_snp"], expected.mean["beta_snp"], rtol=1e-8)


def test_dropped_rows_are_dropped_from_blocks():
    table, genes = wide_data(3)
    priors = FIXED | {"genes": pmlmm.Ridge(2.0)}
    shorter = pmlmm.Model(FORMULA, table.iloc[4:], priors, penalized={"genes": genes.iloc[4:]}).fit()
    table.loc[:3, "t"] = np.nan
    missing = pmlmm.Model(FORMULA, table, priors, penalized={"genes": genes}).fit()
    np.testing.assert_allclose(missing.mean["beta_genes"], shorter.mean["beta_genes"], rtol=1e-8)


def test_units_of_a_block_do_not_matter_without_standardisation():
    table, genes = wide_data(4)
    X = genes - genes.mean()
    fits = [
        pmlmm.Model(FORMULA, table, {"t": pmlmm.Ridge(1)}, penalized={"genes": c * X}, standardize=False).fit()
        for c in (1.0, 100.0)
    ]
    one, hundred = (fit.hyperparameters.loc["lambda[genes]"] for fit in fits)
    assert hundred["value"] == pytest.approx(1e4 * one["value"], rel=0.02)
    assert one["state"] == hundred["state"]
    assert fits[0].log_evidence == pytest.approx(fits[1].log_evidence, abs=1e-3)


def test_models_and_fits_can_be_pickled():
    table, genes = wide_data(5)
    fit = pmlmm.Model(FORMULA, table, penalized={"genes": genes}).fit()
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.mean["beta_genes"], fit.mean["beta_genes"])
    assert again.model.fit().log_evidence == pytest.approx(fit.log_evidence)


@pytest.mark.parametrize("formula", ["y ~ t + u", FORMULA])
def test_costly_models_give_the_same_fit(monkeypatch, formula):
    """Climbing by expansions, with and without random effects."""
    table, _ = wide_data(6)
    table = table.assign(u=np.cos(np.arange(len(table))))
    expected = pmlmm.Model(formula, table).fit(refine=False)
    monkeypatch.setattr("pmlmm.inference.learn.COSTLY", 0.0)
    fit = pmlmm.Model(formula, table).fit(refine=False)
    assert "expansion" in fit.optimizer_records[0].objective
    # both end where no entry of the gradient exceeds a tolerance, 5e-3 and 1e-3 nats per log unit
    objective = [
        f.log_evidence + f._posterior.learned.space.log_hyperprior(f._posterior.learned.phi)[0] for f in (fit, expected)
    ]
    assert objective[0] == pytest.approx(objective[1], abs=1e-3)
    np.testing.assert_allclose(fit.hyperparameters["value"], expected.hyperparameters["value"], rtol=0.1)


def test_pure_noise_covariates_are_said_to_be_nothing():
    rng = np.random.default_rng(6)
    table, formula = pmlmm.datasets.load("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
    model = pmlmm.Model(formula, table, penalized={"noise": rng.normal(size=(len(table), 400))})
    flat = model.fit(hyperprior=None).hyperparameters.loc["lambda[noise]"]
    assert flat["value"] > 1e5
    assert "indistinguishable from zero" in flat["state"]
    fit = model.fit()
    held = fit.hyperparameters.loc["lambda[noise]"]
    assert held["value"] > 10 * 400
    assert "less than a tenth of the residual variance" in held["state"]
    plain = pmlmm.Model(formula, table).fit()
    np.testing.assert_allclose(fit.mean["beta"][1], plain.mean["beta"][1], rtol=0.05)


def test_two_blocks_have_their_own_lambda():
    rng = np.random.default_rng(5)
    n = 90
    strong, weak = rng.normal(size=(n, 120)), rng.normal(size=(n, 120))
    table = pd.DataFrame({"g": np.arange(n) % 15})
    table["y"] = strong @ (0.3 * rng.normal(size=120)) + rng.normal(size=15)[table["g"]] + 0.5 * rng.normal(size=n)
    fit = pmlmm.Model("y ~ 1 + (1 | g)", table, penalized={"strong": strong, "weak": weak}).fit()
    values = fit.hyperparameters["value"]
    assert values["lambda[weak]"] > 5 * values["lambda[strong]"]
    assert fit.profile("lambda[weak]", points=3)["log_evidence"].notna().all()


CROSSED = "y ~ t + (1 + t | a) + (1 | b/c)"


@pytest.fixture(scope="module")
def crossed():
    rng = np.random.default_rng(6)
    n = 240
    table = pd.DataFrame({"a": rng.integers(0, 12, n), "b": np.arange(n) % 6, "c": rng.integers(0, 3, n)})
    table["t"] = rng.normal(size=n)
    effects = rng.normal(size=(12, 2)), rng.normal(size=6), 0.7 * rng.normal(size=(6, 3))
    table["y"] = effects[0][table["a"], 0] + effects[0][table["a"], 1] * table["t"] + effects[1][table["b"]]
    table["y"] += effects[2][table["b"], table["c"]] + 0.5 * rng.normal(size=n) + table["t"]
    return table


def test_crossed_and_nested_posterior(crossed):
    fit = pmlmm.Model(CROSSED, crossed).fit()
    assert fit.k_hat < 0.7
    posterior = fit.posterior["posterior"]
    assert posterior["gamma_b:c"].dims == ("chain", "draw", "b:c", "b:c_effect")
    assert posterior["gamma_a"].shape == (4, 500, 12, 2)
    for name in ("gamma_a", "gamma_b", "gamma_b:c", "beta", "Sigma_a", "sigma"):
        error = posterior[name].std(("chain", "draw")) / np.sqrt(2000)
        away = np.abs(posterior[name].mean(("chain", "draw")) - fit.mean[name]) / error
        assert float(away.max()) < 6
    table = fit.profile("A[b][Intercept]", points=3)
    assert (table["log_evidence_psis"] - table["log_evidence"]).abs().max() < 0.2


def test_every_factor_can_be_the_one_that_is_eliminated(crossed, monkeypatch):
    """The result does not depend on which factor goes group by group."""
    one = pmlmm.InverseWishart(0.5, [[0.8]])
    priors = {"a": pmlmm.InverseWishart(0.5, np.eye(2)), "b": one, "b:c": one, "common": pmlmm.Ridge(1.0)}
    expected = pmlmm.Model(CROSSED, crossed, priors).fit(draws=1000)
    monkeypatch.setattr("pmlmm.crossproducts.plan.max", lambda totals, key: "b", raising=False)
    other = pmlmm.Model(CROSSED, crossed, priors).fit(draws=1000)
    assert [fit.model.statistics.elimination.factor for fit in (expected, other)] == ["a", "b"]
    assert other.log_evidence == pytest.approx(expected.log_evidence, rel=1e-10)
    for name in ("gamma_a", "gamma_b", "gamma_b:c", "beta"):
        np.testing.assert_allclose(other.mean[name], expected.mean[name], atol=1e-7)


def test_predictions_for_new_combinations(crossed):
    fit = pmlmm.Model(CROSSED, crossed).fit()
    np.testing.assert_allclose(fit.predict(crossed), fit.predict())
    new = crossed.head(3).assign(c=[0, 7, 1])
    with pytest.raises(pmlmm.DataError, match=r"'b:c' has 1 groups.*first: 1:7"):
        fit.predict(new)
    population = fit.predict(new, new_groups="population")
    known = new.assign(c=crossed["c"].head(3))
    gamma = fit.mean["gamma_b:c"].sel({"b:c": f"{known['b'][1]}:{known['c'][1]}"})
    assert population[1] == pytest.approx(fit.predict(known)[1] - float(gamma[0]))


def test_terms_can_share_A(crossed):
    fit = pmlmm.Model("y ~ t + (1 | a) + (1 | b)", crossed, {("a", "b"): pmlmm.InverseWishart()}).fit()
    names = [name for name in fit.hyperparameters.index if name.startswith(("A", "b"))]
    assert names == ["b[a]", "A[a, b][Intercept]", "b[b]"]
    theta = fit._posterior.learned.theta
    assert pytest.approx(theta.covariances[1].A) == theta.covariances[0].A


def test_ar1_finds_ordered_correlation():
    rng = np.random.default_rng(7)
    rho = 0.8 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    gamma = rng.normal(size=(40, 5)) @ np.linalg.cholesky(rho).T
    table = pd.DataFrame({"ind": np.repeat(np.arange(40), 5), "occasion": np.tile(list("ABCDE"), 40)})
    table["y"] = gamma.ravel()
    table = pd.concat([table, table], ignore_index=True)
    table["y"] += 0.3 * rng.normal(size=400)
    formula = "y ~ occasion + (0 + occasion | ind)"
    fits = {A: pmlmm.Model(formula, table, {"ind": pmlmm.InverseWishart(A=A)}).fit() for A in ("ar1", "diagonal")}
    row = fits["ar1"].hyperparameters.loc["rho[ind]"]
    assert row["lower"] < 0.8 < row["upper"]
    assert fits["ar1"].log_evidence > fits["diagonal"].log_evidence + 5


def test_ergostool_where_lmer_refuses(load):
    fit = pmlmm.Model("effort ~ Type + (Type | Subject)", load("ergoStool")).fit()
    assert fit.mean["gamma_Subject"].size == fit.model.design.n_rows == 36
    assert np.linalg.cond(fit.mean["Sigma_Subject"]) < 1e3
    assert fit.k_hat < 0.7


def test_groups_of_one_to_two_hundred_rows():
    Sigma = [[1, 0.3, 0], [0.3, 0.5, 0.1], [0, 0.1, 0.4]]
    sizes = [*[1] * 30, *range(2, 17), 50, 100, 200]
    data, truth = pmlmm.simulate.polynomial_curves(sizes, Sigma=Sigma, beta=[1, 0.5, -0.5], sigma=0.7, seed=3)
    fit = pmlmm.Model("y ~ t + t2 + (t + t2 | ind)", data).fit()
    assert float(fit.mean["sigma"]) == pytest.approx(0.7, rel=0.1)
    error = np.abs(fit.mean["gamma_ind"].to_numpy() - truth.gamma)
    assert error[-1].max() < 0.4
    assert fit.k_hat < 0.7
