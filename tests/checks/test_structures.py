"""MCMC, integration, predictive draws and left-out groups for every kind of model."""

import numpy as np
import pytest

import pmlmm
from tests.problems import KINDS, ROWS, table_of

# Cases in which the hyperparameters are sampled too; that takes longest.
SAMPLED = ("only random effects", "p < n", "AR(1) target", "shared A")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto distribution:UserWarning")
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_can_be_checked(name):
    formula, sizes, priors = KINDS[name]
    data, rng = table_of(len(name))
    penalized = {f"w{k}": rng.normal(size=(ROWS, p)) for k, p in enumerate(sizes)}
    fit = pmlmm.Model(formula, data, priors, penalized=penalized or None).fit(integrate=False)
    mcmc = fit.sample(500, tune=300, chains=2, progress=False)
    report = pmlmm.compare(fit, mcmc)
    assert (report.table["PSIS", "z"] < 5.0).all()
    assert (report.effects["shift"] < 0.35).all()
    one, other = report.evidence.loc["PSIS"], report.evidence.loc["bridge"]
    assert abs(one["log_evidence"] - other["log_evidence"]) < 4.0 * np.hypot(one["error"], other["error"]) + 1e-3
    integrated = fit.integrate()
    assert np.isfinite(integrated.log_evidence)
    if name in SAMPLED:
        # a few hundred draws miss what the heavy tail of a variance of eight groups adds to its sd
        sampled = fit.sample(2000, tune=500, chains=2, progress=False, hyperparameters=True)
        both = pmlmm.compare(integrated, sampled)
        assert (both.table["integrated", "z"] < 5.0).all()
    checks = fit.sample_posterior_predictive(draws=200)
    rows = checks["posterior_predictive"]["y"]
    np.testing.assert_allclose(rows.mean(("chain", "draw")), fit.predict()["mean"], atol=0.5)
    np.testing.assert_allclose(
        fit.sample_posterior_predictive(mcmc)["posterior_predictive"]["y"].mean(("chain", "draw")),
        fit.predict()["mean"],
        atol=0.6,
    )
    assert fit.sample_prior_predictive(20)["prior_predictive"]["y"].shape == (1, 20, ROWS)
    assert integrated.sample_prior_predictive(20)["prior_predictive"]["y"].shape == (1, 20, ROWS)
    for grouping in fit.model.design.groupings:
        assert fit.logo(grouping.factor, draws=50).n_data_points == grouping.n_groups
