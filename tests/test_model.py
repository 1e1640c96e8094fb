"""The front door: what a model and its fit accept."""

import pytest

import pmlmm

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_options_are_checked(sleepstudy):
    model = pmlmm.Model(FORMULA, sleepstudy)
    for options in (
        {"approximation": "both"},
        {"coordinates": "polar"},
        {"refine": 1},
        {"draws": 10},
        {"random_seed": -1},
        {"hyperprior": False},
    ):
        with pytest.raises(pmlmm.errors.OptionError, match="fit\\("):
            model.fit(**options)
    with pytest.raises(ValueError, match="coordinates='natural'"):
        model.fit(optimizer="em")
