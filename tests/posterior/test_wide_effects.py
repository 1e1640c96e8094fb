"""The coefficients of wide blocks: means, sds and draws without a p x p matrix."""

import numpy as np
import pytest

import pmlmm
from tests.problems import WIDE, wide_data


def test_posterior_of_wide_coefficients():
    """Draws on demand have the means and sds that are computed without a p x p matrix."""
    table, genes = wide_data(1)
    fit = pmlmm.Model(WIDE, table, penalized={"genes": genes}).fit(draws=2000)
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
    assert np.max(np.abs(fitted.mean(axis=0) - fit.predict()["mean"].to_numpy()) / error) < 5
    # the intercept's spread does not depend on whether the coefficients are drawn
    without = fit.draw_posterior(2000, wide=False)["posterior"]
    assert "beta_genes" not in without
    for draws_of in (posterior, without):
        assert float(draws_of["beta"][..., 0].std()) == pytest.approx(float(fit.sd["beta"][0]), rel=0.1)
