"""NUTS on a fit: the draws, their groups and options."""

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pmlmm
from pmlmm.errors import OptionError


def test_nuts_has_the_groups_of_a_posterior(sleep_fit, mcmc):
    assert {"posterior", "sample_stats", "observed_data", "constant_data"} <= set(mcmc.children)
    assert mcmc["posterior"].attrs["graph"] == "collapsed"
    assert set(mcmc["posterior"].data_vars) == set(sleep_fit.posterior["posterior"].data_vars)
    assert mcmc["posterior"]["gamma_Subject"].dims == ("chain", "draw", "Subject", "Subject_effect")
    assert float(az.rhat(mcmc)["sigma"]) < 1.01
    np.testing.assert_array_equal(mcmc["constant_data"]["X"][:, 1], mcmc["constant_data"]["X"].sel(coefficient="Days"))


def test_the_same_seed_gives_the_same_chains(sleep_fit):
    options = {"draws": 50, "tune": 50, "chains": 2, "progress": False}
    first, second, other = (sleep_fit.sample(random_seed=seed, **options) for seed in (3, 3, 4))
    xr.testing.assert_equal(first["posterior"].to_dataset(), second["posterior"].to_dataset())
    assert not np.array_equal(first["posterior"]["sigma"], other["posterior"]["sigma"])


def test_options_of_the_checks(sleep_fit):
    for options, match in (
        ({"draws": 2}, "draws"),
        ({"chains": 0}, "chains"),
        ({"tune": 3}, "tune"),
        ({"sampler": "hmc"}, "choose one of"),
        ({"random_seed": -1}, "at least 0"),
        ({"hyperparameters": True, "collapsed": False}, "collapsed"),
    ):
        with pytest.raises(OptionError, match=match):
            sleep_fit.sample(progress=False, **options)
    with pytest.raises(OptionError, match="nodes"):
        sleep_fit.integrate(nodes=3)
    with pytest.raises(OptionError, match="draws"):
        sleep_fit.sample_posterior_predictive(draws=0)


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
