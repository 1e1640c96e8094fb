"""MCMC, comparison, predictive draws and left-out groups, on real data."""

import numpy as np
import pytest
import xarray as xr

import pmlmm
from pmlmm.errors import OptionError
from tests.problems import bad_model

FORMULA = "Reaction ~ Days + (Days | Subject)"
BAD_K = "ignore:Estimated shape parameter of Pareto distribution:UserWarning"


def test_comparison_of_a_good_fit(sleep_fit, mcmc):
    report = pmlmm.compare(sleep_fit, mcmc)
    assert report.trustworthy == {"NUTS": True, "Laplace": True, "PSIS": True}
    assert (report.table["PSIS", "z"] < 3.5).all()
    assert report.table.index[0] in ("sigma", "Sigma_Subject[Intercept, Intercept]", "Sigma_Subject[Days, Days]")
    psis, bridge = report.evidence.loc["PSIS"], report.evidence.loc["bridge"]
    assert abs(psis["log_evidence"] - bridge["log_evidence"]) < 3 * np.hypot(psis["error"], bridge["error"])
    assert report.effects.loc["gamma_Subject", "number"] == 36
    assert report.effects.loc["gamma_Subject", "shift"] < 0.1
    text = repr(report)
    assert "Verdict: use the fit's mean, sd and posterior" in text
    assert "bridge" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.slow
def test_comparison_of_an_integrated_fit(integrated, sleep_fit, mcmc):
    sampled = sleep_fit.sample(600, hyperparameters=True, progress=False)
    report = pmlmm.compare(integrated, sampled)
    assert report.trustworthy["NUTS"]
    assert report.trustworthy["integrated"]
    assert (report.table["integrated", "z"] < 4).all()
    one, other = report.evidence["log_evidence"]
    assert abs(one - other) < 3 * np.hypot(*report.evidence["error"])
    for name in ("b_Subject", "A_Subject"):
        draws, reference = integrated.posterior["posterior"][name], sampled["posterior"][name]
        shift = (np.log(draws).mean(("chain", "draw")) - np.log(reference).mean(("chain", "draw"))) / np.log(
            reference
        ).std(("chain", "draw"))
        assert float(np.abs(shift).max()) < 0.2
    with pytest.raises(OptionError, match=r"compare\(fit.integrate\(\), mcmc\)"):
        pmlmm.compare(sleep_fit, sampled)
    with pytest.raises(OptionError, match="hyperparameters=True"):
        pmlmm.compare(integrated, mcmc)


def test_comparison_of_a_bad_fit_says_so():
    fit = bad_model().fit()
    report = pmlmm.compare(fit, fit.sample(1500, tune=1500, progress=False))
    assert report.trustworthy["NUTS"]
    assert not report.trustworthy["Laplace"]
    assert "Laplace is not to be trusted" in report.verdict
    assert "Use the NUTS draws" in report.verdict or "importance-sampled correction, not plain" in report.verdict


def test_comparison_refuses_other_draws(sleep_fit, sleepstudy, mcmc):
    other = pmlmm.Model("Reaction ~ 1 + (1 | Subject)", sleepstudy).fit()
    with pytest.raises(OptionError, match="other coefficients"):
        pmlmm.compare(other, mcmc)
    with pytest.raises(OptionError, match="DataTree"):
        pmlmm.compare(sleep_fit, mcmc["posterior"].to_dataset())
    with pytest.raises(OptionError, match=r"the DataTree that fit\.sample\(\) returned"):
        sleep_fit.sample_posterior_predictive(mcmc["posterior"].to_dataset())
    with pytest.raises(OptionError, match=r"the first argument is a DataTree, but must be the fit"):
        pmlmm.compare(mcmc, sleep_fit)
    with pytest.raises(OptionError, match="'Sigma_Subject'"):
        pmlmm.compare(
            sleep_fit, xr.DataTree.from_dict({"posterior": mcmc["posterior"].to_dataset()[["sigma", "beta"]]})
        )


def test_draws_of_another_fit_are_refused(sleep_fit, sleepstudy, mcmc):
    other = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.InverseWishart(b=0.8)}).fit()
    with pytest.raises(OptionError, match="other hyperparameters"):
        pmlmm.compare(other, mcmc)
    moved = pmlmm.Model(FORMULA, sleepstudy.assign(Reaction=sleepstudy["Reaction"] + 1.0)).fit()
    with pytest.raises(OptionError, match="other data"):
        pmlmm.compare(moved, mcmc)
    with pytest.raises(OptionError, match="other data"):
        moved.sample_posterior_predictive(mcmc)
    with pytest.raises(OptionError, match="leave draws= out"):
        sleep_fit.sample_posterior_predictive(mcmc, draws=10)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_of_the_response_do_not_matter(sleepstudy, unit):
    fit = pmlmm.Model(FORMULA, sleepstudy.assign(Reaction=sleepstudy["Reaction"] * unit)).fit()
    report = pmlmm.compare(fit, fit.sample(400, progress=False))
    assert report.trustworthy["PSIS"]
    one, other = report.evidence.loc["PSIS"], report.evidence.loc["bridge"]
    assert abs(one["log_evidence"] - other["log_evidence"]) < 4 * np.hypot(one["error"], other["error"])
    assert fit.integrate().k_hat < 0.7


@pytest.mark.slow
def test_few_draws_and_nodes_are_seen_in_the_errors(sleep_fit, integrated):
    few = sleep_fit.integrate(nodes=64, draws=100)
    mcmc = integrated.sample(600, progress=False)
    noisy, good = (pmlmm.compare(fit, mcmc).table["integrated"] for fit in (few, integrated))
    assert (noisy["mcse"] > 1.5 * good["mcse"].reindex(noisy.index)).all()
    assert (noisy["z"] < 5.0).all()
