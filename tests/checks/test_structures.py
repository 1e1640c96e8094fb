"""MCMC, integration, predictive draws and left-out groups for every kind of model."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.posterior.labels import covariances

N = 72


def table_of(seed):
    rng = np.random.default_rng(seed)
    data = {
        "a": np.arange(N) % 8,
        "b": rng.permutation(np.arange(N) % 9),
        "c": rng.permutation(np.arange(N) % 4),
        "t": rng.normal(size=N),
        "x": rng.normal(size=N),
    }
    levels = rng.normal(size=(3, 9))
    y = levels[0, data["a"]] + levels[1, data["a"]] * data["t"] + levels[2, data["b"]] + rng.normal(size=N)
    return pd.DataFrame(data | {"y": y}), rng


CASES = {
    "no random effects": ("y ~ x + t", (), {}),
    "only random effects": ("y ~ 0 + (1 | a)", (), {}),
    "crossed": ("y ~ x + (1 + t | a) + (1 | b)", (), {}),
    "nested, several terms": ("y ~ x + (1 | a/c) + (0 + t | a)", (), {}),
    "p < n": ("y ~ x + (1 + t | a)", (5,), {}),
    "p > n, crossed": ("y ~ x + (1 + t | a) + (1 | b)", (100,), {}),
    "two wide blocks": ("y ~ x + (1 + t | a)", (7, 90), {}),
    "AR(1) target": ("y ~ x + (0 + t + x | a)", (), {"a": pmlmm.InverseWishart(A="ar1")}),
    "shared A": ("y ~ x + (1 | a) + (1 | b)", (), {("a", "b"): pmlmm.InverseWishart(A="identity")}),
}


# Cases in which the hyperparameters are sampled too; that takes longest.
SAMPLED = ("only random effects", "p < n", "AR(1) target", "shared A")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_model_can_be_checked(name):
    formula, sizes, priors = CASES[name]
    data, rng = table_of(len(name))
    penalized = {f"w{k}": rng.normal(size=(N, p)) for k, p in enumerate(sizes)}
    fit = pmlmm.Model(formula, data, priors, penalized=penalized or None).fit()
    mcmc = fit.sample(500, tune=300, chains=2, progress=False)
    report = pmlmm.compare(fit, mcmc)
    assert (report.table["PSIS", "z"] < 5.0).all()
    assert (report.effects["shift"] < 0.35).all()
    one, other = report.evidence.loc["PSIS"], report.evidence.loc["bridge"]
    assert abs(one["log_evidence"] - other["log_evidence"]) < 4.0 * np.hypot(one["error"], other["error"]) + 1e-3
    integrated = fit.integrate()
    assert np.isfinite(integrated.log_evidence)
    if name in SAMPLED:
        sampled = fit.sample(200, tune=300, chains=2, progress=False, hyperparameters=True)
        both = pmlmm.compare(integrated, sampled)
        assert (both.table["integrated", "z"] < 5.0).all()
    checks = fit.sample_posterior_predictive(draws=200)
    rows = checks["posterior_predictive"]["y"]
    np.testing.assert_allclose(rows.mean(("chain", "draw")), fit.predict(), atol=0.5)
    np.testing.assert_allclose(
        fit.sample_posterior_predictive(mcmc)["posterior_predictive"]["y"].mean(("chain", "draw")),
        fit.predict(),
        atol=0.6,
    )
    assert fit.sample_prior_predictive(20)["prior_predictive"]["y"].shape == (1, 20, N)
    assert integrated.sample_prior_predictive(20)["prior_predictive"]["y"].shape == (1, 20, N)
    for grouping in fit.model.design.groupings:
        assert fit.logo(grouping.factor, draws=50).n_data_points == grouping.n_groups


@pytest.mark.parametrize(("name", "flat"), [("crossed", ["x"]), ("p > n, crossed", []), ("nested, several terms", [])])
def test_left_out_groups_against_dense_algebra(name, flat, monkeypatch):
    """log p(y_g | y_-g, theta) as the difference of two dense marginal likelihoods."""
    monkeypatch.setattr("pmlmm.checks.leave_group_out._BATCH", 2000)  # several batches
    from pmlmm.checks.leave_group_out import group_densities, row_batches
    from pmlmm.crossproducts.statistics import build_statistics

    formula, sizes, priors = CASES[name]
    data, rng = table_of(3)
    penalized = {f"w{k}": rng.normal(size=(N, p)) for k, p in enumerate(sizes)}
    priors = priors | {column: pmlmm.Flat() for column in flat} | {"Intercept": pmlmm.Ridge(0.1)}
    fit = pmlmm.Model(formula, data, priors, penalized=penalized or None).fit(draws=200)
    model, law = fit.model, fit._posterior.weighted.take(np.array([3, 8]))
    design, standard = model.design, model.statistics.standardization
    X = (design.X - standard.center) / standard.scale
    for factor in ("a", "b" if "b" in formula else "a:c"):
        statistics = build_statistics(design, model.priors, standard, method="groups", factor=factor)
        grouping = next(g for g in design.groupings if g.factor == factor)
        batches = list(row_batches(design, statistics, factor))
        values = group_densities(law, statistics, batches, grouping.n_groups)
        for s, theta in enumerate(law.natural):
            V, lam = theta[0] ** 2 * np.eye(N), np.exp(law.log_lambda)
            Sigmas = covariances(theta[None], design.sizes)
            for term, Sigma in zip(design.terms, Sigmas, strict=True):
                same = term.grouping.codes[:, None] == term.grouping.codes
                V = V + (term.Z @ Sigma[0] @ term.Z.T) * same
            for group, value in zip(model.priors.penalty_groups, lam, strict=True):
                block = None if group.block is None else model.statistics.wide[group.block]
                own = X[:, list(group.columns)] if block is None else block.columns
                V = V + theta[0] ** 2 / value * own @ own.T
            unpenalised, y = X[:, list(model.priors.flat_columns)], design.y - standard.offset
            everything = dense_marginal(V, unpenalised, y)
            for g in range(grouping.n_groups):
                kept = grouping.codes != g
                rest = dense_marginal(V[np.ix_(kept, kept)], unpenalised[kept], y[kept])
                assert values[s, g] == pytest.approx(everything - rest, abs=1e-8)


def dense_marginal(V, X, y):
    """log p(y) for y ~ N(X beta, V), beta with density 1."""
    inverse = np.linalg.inv(V)
    information = X.T @ inverse @ X
    residual = y - X @ np.linalg.solve(information, X.T @ inverse @ y)
    log_dets = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
    return -0.5 * (log_dets + residual @ inverse @ residual + (len(y) - X.shape[1]) * np.log(2 * np.pi))


def test_a_group_that_alone_informs_a_flat_coefficient_cannot_be_left_out():
    data, _ = table_of(1)
    data["only"] = (data["a"] == 3) * np.arange(N) / N
    fit = pmlmm.Model("y ~ x + only + (1 | a)", data, {"only": pmlmm.Flat()}).fit()
    with pytest.raises(pmlmm.errors.DataError, match="Without a 3 nothing is known about the coefficient of 'only'"):
        fit.logo()


@pytest.mark.slow
def test_280_rows_and_500_covariates_converge():
    """Where the raw graph does not (R-hat 1.99): the sampler sees four dimensions."""
    import arviz as az

    rng = np.random.default_rng(0)
    ind, t, X = np.repeat(np.arange(40), 7), rng.normal(size=280), rng.normal(size=(280, 500))
    y = (
        X @ rng.normal(size=500) / 20
        + rng.normal(size=40)[ind]
        + rng.normal(size=40)[ind] * t
        + 0.5 * rng.normal(size=280)
    )
    data = pd.DataFrame({"y": y, "t": t, "ind": ind})
    fit = pmlmm.Model("y ~ 1 + (1 + t | ind)", data, penalized={"x": X}).fit()
    draws = fit.sample(400, tune=300, progress=False)["posterior"].to_dataset()
    r_hat = az.rhat(draws[["sigma", "Sigma_ind", "beta", "beta_x"]])
    assert max(float(value.max()) for value in r_hat.data_vars.values()) < 1.02
    assert float(np.abs(fit.mean["beta_x"] - draws["beta_x"].mean(("chain", "draw"))).max()) < 0.02
