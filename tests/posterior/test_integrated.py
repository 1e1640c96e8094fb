"""The posterior with its hyperparameters integrated out."""

import numpy as np
import pytest

import pmlmm
from pmlmm.posterior.draws import WeightedDraws


def test_intervals_of_the_integrated_fit_are_wider(sleep_fit, integrated):
    name, plug_in = "Sigma_Subject", sleep_fit.model.fit(integrate=False)
    ratio = integrated.sd[name] / plug_in.sd[name]
    assert float(ratio[0, 0]) > 1.3
    table = integrated.hyperparameters
    assert (table.loc["b[Subject]", ["lower", "upper"]].diff().iloc[1]) > 0.3
    np.testing.assert_allclose(integrated.predict()["mean"], plug_in.predict()["mean"], atol=6.0)
    assert "carry the uncertainty" in repr(integrated)
    assert integrated.k_hat < 0.7
    assert isinstance(integrated, pmlmm.Fit)


def test_draws_of_the_hyperparameters_belong_to_their_draws(sleepstudy):
    """Jointly: A's and b's law given Sigma, and lambda's own draws, give the marginal quantiles of the table."""
    priors = {"common": pmlmm.Ridge()}
    integrated = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy, priors).fit(integrate=True)
    draws, table = integrated.draw_posterior(2000)["posterior"], integrated.hyperparameters
    for name, values in (("lambda[common]", draws["lambda_common"]), ("b[Subject]", draws["b_Subject"])):
        ends = np.quantile(values, [0.5, 0.025, 0.975])
        np.testing.assert_allclose(
            np.log(ends / table.loc[name, ["value", "lower", "upper"]].to_numpy(float)), 0, atol=0.2
        )
    Sigma = np.log(draws["Sigma_Subject"][..., 0, 0].to_numpy().ravel())
    A = np.log(draws["A_Subject"][..., 0].to_numpy().ravel())
    assert np.corrcoef(A, Sigma)[0, 1] > 0.4


def test_few_lambdas_for_wide_models_change_next_to_nothing(table, block):
    """Draws that are near in lambda share it, so that no draw is a piece of its own."""
    integrated = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"w": block}).fit().integrate()
    result = integrated._posterior.integrated
    exact = WeightedDraws(integrated._posterior.problem, result.natural, result.log_lambda, result.weights)
    few = exact.in_few_pieces()
    assert len(np.unique(few.log_lambda, axis=0)) <= 128 < len(result.weights)
    assert few.weights @ few.log_lambda[:, -1] == pytest.approx(exact.weights @ exact.log_lambda[:, -1], rel=1e-9)
    means, expected = few.means(), exact.means()
    for name, sd in ((name, integrated.sd[name]) for name in means if name in integrated.sd):
        np.testing.assert_allclose(means[name] / sd, expected[name] / sd, atol=0.01)
