"""Predictive draws, from the posterior and from the prior."""

import arviz as az
import numpy as np
import pytest

import pmlmm
from pmlmm.errors import PriorError
from tests.oracles import Dense
from tests.problems import bad_model

FORMULA = "Reaction ~ Days + (Days | Subject)"
BAD_K = "ignore:Estimated shape parameter of Pareto distribution:UserWarning"


def test_posterior_predictive_moments(sleep_fit):
    tree = sleep_fit.sample_posterior_predictive()
    replicated = tree["posterior_predictive"]["Reaction"]
    np.testing.assert_allclose(replicated.mean(("chain", "draw")), sleep_fit.predict()["mean"], atol=4.0)
    # the same draws as in the posterior group: conditional log-likelihood by hand for one row
    row = 25
    subject = sleep_fit.model.design.groupings[0].codes[row]
    X, y = sleep_fit.model.design.X[[row]], sleep_fit.model.design.y[[row]]
    draws = tree["posterior"].to_dataset().stack(s=("chain", "draw")).transpose("s", ...)
    expected = [
        Dense(y, X, np.zeros(2), sigma, (X,), (np.eye(2),)).given_effects(b, (g,))[0]
        for sigma, b, g in zip(
            draws["sigma"].values, draws["beta"].values, draws["gamma_Subject"].values[:, subject], strict=True
        )
    ]
    found = tree["log_likelihood"]["Reaction"][:, :, row].values.ravel()
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_group_log_likelihood_is_the_dense_normal(sleep_fit):
    tree = sleep_fit.sample_posterior_predictive(draws=3)
    draw = tree["posterior"].isel(chain=1, draw=2)
    rows = slice(10, 20)  # the second subject
    design = sleep_fit.model.design
    X, y = design.X[rows], design.y[rows]
    group = Dense(y, X, np.zeros(2), float(draw["sigma"]), (X,), (draw["Sigma_Subject"].to_numpy(),))
    expected = group.given_beta(draw["beta"].to_numpy())
    assert float(tree["log_likelihood"]["Reaction_by_Subject"][1, 2, 1]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.filterwarnings(BAD_K)
def test_arviz_runs_on_the_tree(sleep_fit, mcmc):
    tree = sleep_fit.sample_posterior_predictive(mcmc)
    assert az.loo(tree, var_name="Reaction").elpd == pytest.approx(-860.5, abs=4.0)
    own = sleep_fit.sample_posterior_predictive()
    assert az.loo(own, var_name="Reaction").elpd == pytest.approx(-860.5, abs=4.0)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    az.plot_ppc_dist(own, num_samples=20)
    az.plot_ppc_dist(sleep_fit.sample_prior_predictive(50), group="prior_predictive", num_samples=20)
    matplotlib.pyplot.close("all")


def test_prior_predictive_moments(sleepstudy):
    prior = {
        "Intercept": pmlmm.Ridge(0.25),
        "common": pmlmm.Ridge(4.0),
        "Subject": pmlmm.InverseWishart(eta=12.0, A=[[2.0, 0.3], [0.3, 0.5]]),
        "sigma": pmlmm.HalfStudentT(30, 1.0),
    }
    fit = pmlmm.Model(FORMULA, sleepstudy, prior).fit(refine=False)
    tree = fit.sample_prior_predictive(6000)
    draws, design = tree["prior"], fit.model.design
    sigma2 = float((draws["sigma"] ** 2).mean())
    assert sigma2 == pytest.approx(30 / 28, rel=0.06)
    Phi = (12 + 3) * np.array([[2.0, 0.3], [0.3, 0.5]])
    mean = Phi / (12 - 3)
    np.testing.assert_allclose(draws["Sigma_Subject"].mean(("chain", "draw")), mean, rtol=0.1, atol=0.05)
    X = design.X
    standard = (X[:, 1] - X[:, 1].mean()) / X[:, 1].std()
    expected = sigma2 * (1 + 1 / 0.25 + standard**2 / 4.0) + np.einsum("na,ab,nb->n", X, mean, X)
    replicated = tree["prior_predictive"]["Reaction"]
    np.testing.assert_allclose(replicated.var(("chain", "draw")), expected, rtol=0.12)
    assert tree["prior"]["beta"].dims == ("chain", "draw", "coefficient")


def test_prior_predictive_needs_proper_priors(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.Flat()}).fit()
    with pytest.raises(PriorError, match="flat"):
        fit.sample_prior_predictive()


def test_prior_predictive_of_a_prior_that_says_next_to_nothing():
    tree = bad_model().fit().sample_prior_predictive(200)
    assert np.isfinite(tree["prior_predictive"]["y"]).all()
