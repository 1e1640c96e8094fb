"""A fit updated is the fit of the model written out by hand."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.errors import FormulaError, OptionError, PriorError
from tests.problems import WIDE, wide_data

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_formula_data_and_options(sleepstudy, sleep_fit):
    """The plug-in fit stays one; data, then an option, change too."""
    found = sleep_fit.update("log(.) ~ . - (Days | Subject) + (1 | Subject)")
    expected = pmlmm.Model("log(Reaction) ~ Days + (1 | Subject)", sleepstudy).fit(integrate=False)
    assert found.log_evidence == expected.log_evidence
    assert type(found) is pmlmm.Fit
    half = sleepstudy.iloc[:90]
    found = found.update(data=half, random_seed=7, integrate=True)
    expected = pmlmm.Model("log(Reaction) ~ Days + (1 | Subject)", half).fit(random_seed=7, integrate=True)
    assert found.log_evidence == expected.log_evidence


def test_what_integrate_made_is_integrated_again(integrated):
    assert isinstance(integrated.update("~ . - Days"), pmlmm.IntegratedFit)


def test_hyperprior_and_coordinates_stay(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy).fit("joint", hyperprior=None)
    again = fit.update()
    assert again.options == fit.options
    assert again.log_evidence == fit.log_evidence
    assert fit.update(approximation="marginal").options.coordinates == "unconstrained"


def test_blocks_and_priors_stay():
    table, genes = wide_data(p=20)
    priors = {"ind": pmlmm.InverseWishart(b=0.5), "t": pmlmm.Normal(0.0, 2.0)}
    fit = pmlmm.Model(WIDE, table, priors, penalized={"genes": genes}).fit(integrate=False)
    found = fit.update("~ . + I(t^2)")
    written = WIDE.replace("t +", "t + I(t^2) +", 1)
    expected = pmlmm.Model(written, table, priors, penalized={"genes": genes}).fit(integrate=False)
    assert found.log_evidence == expected.log_evidence
    assert fit.update(penalized=None).model.design.wide == ()


def test_priors_of_what_is_gone_are_named():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=40), "x": rng.normal(size=40), "g": np.arange(40) % 8})
    priors = {"x": pmlmm.Normal(0, 1), "g": pmlmm.InverseWishart(b=0.5)}
    fit = pmlmm.Model("y ~ x + (1 | g)", table, priors).fit()
    with pytest.raises(PriorError, match=r"'x', which names nothing.* give it all the new ones, priors="):
        fit.update("~ . - x")
    assert fit.update("~ . - x", priors=None).model.design.coefficients == ("Intercept",)


def test_refusals(sleep_fit):
    with pytest.raises(OptionError, match=r"update\(draw=...\).*Did you mean 'draws'"):
        sleep_fit.update(draw=500)
    with pytest.raises(FormulaError, match="no random term"):
        sleep_fit.update("~ . - (1 | Subject)")
    with pytest.raises(OptionError, match=r"update\(fit=...\)"):
        sleep_fit.model.update(fit=3)
