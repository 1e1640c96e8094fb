"""Whole fits of models with several factors and wide blocks."""

import numpy as np
import pandas as pd
import pytest

import pmlmm


def test_pure_noise_covariates_are_said_to_be_nothing():
    rng = np.random.default_rng(6)
    table, formula = pmlmm.datasets.load("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
    model = pmlmm.Model(formula, table, penalized={"noise": rng.normal(size=(len(table), 400))})
    flat = model.fit(hyperprior=None).hyperparameters.loc["lambda[noise]"]
    assert flat["value"] > 1e5
    assert "indistinguishable from zero" in flat["state"]
    fit = model.fit()
    held = fit.hyperparameters.loc["lambda[noise]"]
    assert held["value"] > 8 * 400  # together less than an eighth of the residual variance
    assert "indistinguishable from zero" in held["state"]
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
