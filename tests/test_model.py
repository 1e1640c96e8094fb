"""The front door: what a model and its fit accept."""

import numpy as np
import pytest

import pmlmm

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_options_are_checked(sleepstudy):
    model = pmlmm.Model(FORMULA, sleepstudy)
    for options in (
        {"approximation": "both"},
        {"coordinates": "polar"},
        {"refine": 1},
        {"integrate": "yes"},
        {"integrate": 1},
        {"draws": 10},
        {"random_seed": -1},
        {"hyperprior": False},
    ):
        with pytest.raises(pmlmm.errors.OptionError, match="fit\\("):
            model.fit(**options)
    with pytest.raises(ValueError, match="coordinates='natural'"):
        model.fit(optimizer="em")


def test_integrated_at_once(sleepstudy, integrated):
    """The same answer as in two steps, from a rougher search."""
    model = pmlmm.Model(FORMULA, sleepstudy)
    fit = model.fit(integrate=True)
    assert isinstance(fit, pmlmm.IntegratedFit)
    assert "integrated out" in repr(fit)
    error = np.hypot(fit.log_evidence_psis_error, integrated.log_evidence_psis_error)
    assert abs(fit.log_evidence - integrated.log_evidence) < 4.0 * error
    ends = ["value", "lower", "upper"]
    ratio = (fit.hyperparameters[ends] / integrated.hyperparameters[ends]).iloc[1:]
    np.testing.assert_allclose(np.log(ratio), 0.0, atol=0.4)
    automatic = model.fit(integrate="auto")
    assert automatic.log_evidence == fit.log_evidence
    assert fit.mode.sizes == integrated.mode.sizes
    assert fit.profile("b[Subject]", points=3)["k_hat"].notna().all()


def test_integrated_where_it_is_quick_and_asked_for(sleepstudy):
    model = pmlmm.Model(FORMULA, sleepstudy)
    for options in ({"hyperprior": None}, {"approximation": "joint"}, {"coordinates": "natural"}):
        assert not isinstance(model.fit(integrate="auto", **options), pmlmm.IntegratedFit)
    assert isinstance(model.fit("joint", integrate=True), pmlmm.IntegratedFit)
    assert not isinstance(model.fit(integrate=False), pmlmm.IntegratedFit)


def test_samples_of_an_integrated_fit_are_over_the_hyperparameters(sleepstudy):
    fit = pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy).fit(integrate="auto")
    options = {"draws": 50, "tune": 60, "chains": 1, "progress": False}
    assert "b_Subject" in fit.sample(**options)["posterior"]
    assert "b_Subject" not in fit.sample(hyperparameters=False, **options)["posterior"]
