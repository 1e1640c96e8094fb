"""Fixed and random effects given sigma and Sigma: their conditional law, and draws from it."""

import numpy as np

from tests.oracles import dense


def test_gamma_is_drawn_from_its_conditional_law(sleep_fit):
    """Given one (sigma, Sigma), beta and gamma against the dense joint normal."""
    fit = sleep_fit
    theta = fit._posterior.learned.mode.natural
    parameters = fit._posterior.parameters(np.repeat(theta[None], 6000, axis=0))
    rng = np.random.default_rng(0)
    gamma = parameters.gamma(parameters.effects(rng).drawn, rng)["gamma_Subject"][:, 3]
    at = dense(fit.model, np.concatenate([theta, fit._posterior.learned.theta.log_lambda]))
    mean, cov = at.effects(0)
    mean, cov = mean[6:8], cov[6:8, 6:8]  # of the fourth subject
    error = np.sqrt(np.diag(cov) / 6000)
    assert np.max(np.abs(gamma.mean(axis=0) - mean) / error) < 4.5
    np.testing.assert_allclose(
        np.cov(gamma.T) / np.sqrt(np.outer(*[np.diag(cov)] * 2)),
        cov / np.sqrt(np.outer(*[np.diag(cov)] * 2)),
        atol=0.06,
    )


def test_crossed_and_nested_posterior(crossed_fit):
    fit = crossed_fit
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
