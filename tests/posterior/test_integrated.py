"""The posterior with its hyperparameters integrated out."""

import numpy as np

import pmlmm


def test_intervals_of_the_integrated_fit_are_wider(sleep_fit, integrated):
    name = "Sigma_Subject"
    ratio = integrated.sd[name] / sleep_fit.sd[name]
    assert float(ratio[0, 0]) > 1.3
    table = integrated.hyperparameters
    assert (table.loc["b[Subject]", ["lower", "upper"]].diff().iloc[1]) > 0.3
    np.testing.assert_allclose(integrated.predict(), sleep_fit.predict(), atol=6.0)
    assert "carry the uncertainty" in repr(integrated)
    assert integrated.k_hat < 0.7
    assert isinstance(integrated, pmlmm.Fit)
