"""The whole of learning: which mode is found, what is refused, and when a fit is not refined."""

import numpy as np
import pytest

import pmlmm
from pmlmm.errors import ConvergenceError
from tests.problems import RIDGE, grouped

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_joint_by_em_is_joint_by_newton(sleepstudy):
    model = pmlmm.Model(FORMULA, sleepstudy)
    by_newton, by_em = model.fit("joint"), model.fit("joint", optimizer="em")
    assert by_em.log_evidence == pytest.approx(by_newton.log_evidence, abs=1e-3)
    # the evidence is flat at its top: hyperparameters agree to the search's tolerance
    np.testing.assert_allclose(by_em.hyperparameters["value"], by_newton.hyperparameters["value"], rtol=1e-2)


def test_large_problems_skip_importance_sampling_and_say_so(sleepstudy, monkeypatch):
    monkeypatch.setattr("pmlmm.inference.learn._MOST_WORK", 1.0)
    fit = pmlmm.Model(FORMULA, sleepstudy).fit()
    assert fit.refinement.startswith("not refined: 2000 draws over 18 groups")
    assert np.isnan(fit.k_hat)
    assert "Laplace's approximation, uncorrected" in repr(fit)
    assert "proposal" not in fit.posterior
    insisting = pmlmm.Model(FORMULA, sleepstudy).fit(refine=True)
    assert np.isfinite(insisting.k_hat)


@pytest.mark.parametrize("noise", [0.3, 0.1, 0.01])
def test_the_better_of_two_maxima_in_lambda_is_found(noise):
    """With little noise lambda near 1 leaves the common slope to the groups: 11 nats below the weak penalty."""
    fit = pmlmm.Model("y ~ t + (t | g)", grouped(noise), RIDGE).fit()
    assert float(fit.mean["beta"].sel(coefficient="t")) == pytest.approx(3.07, abs=0.05)
    assert fit.hyperparameters.loc["lambda[common]", "value"] < 0.02


def test_raw_times_find_the_mode_with_the_needed_correlation(sleepstudy):
    """Days counted from 2000 years before: intercepts and slopes are correlated at -1, and the slopes remain."""
    fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy.assign(Days=sleepstudy["Days"] + 2000)).fit()
    assert np.sqrt(float(fit.mean["Sigma_Subject"][1, 1])) == pytest.approx(5.98, abs=0.3)
    assert float(fit.mean["sigma"]) == pytest.approx(25.8, abs=0.5)


def test_exact_fits_are_refused_in_words():
    data = grouped(0.1)
    with pytest.raises(pmlmm.errors.DataError, match="fit 'y' exactly"):
        pmlmm.Model("y ~ t + (1 | g)", data | {"y": 2 + 3 * data["t"]}).fit()
    with pytest.raises(ConvergenceError):
        pmlmm.Model("y ~ t + (1 | g)", data | {"y": data["g"].astype(float)}).fit()


def test_unidentified_sigma_is_an_error_in_words(sleepstudy, monkeypatch):
    """The limit is put below what sleepstudy reaches; it lies at a factor of e^2."""
    monkeypatch.setattr("pmlmm.inference.learn._LARGEST_SD", 0.01)
    with pytest.raises(ConvergenceError, match="180 rows for 36 random effects and 2 fixed effects"):
        pmlmm.Model(FORMULA, sleepstudy).fit()
