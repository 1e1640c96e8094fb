"""What a fit gives back, on sleepstudy."""

import pickle

import numpy as np
import pytest

import pmlmm
from tests.problems import WIDE, wide_data


@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ Days",
        "Reaction ~ 0 + Days + (1 | Subject)",
        "Reaction ~ 1 + (Days || Subject)",
        "Reaction ~ 0 + (1 | Subject)",
    ],
)
def test_other_models_give_everything_too(sleepstudy, formula):
    fit = pmlmm.Model(formula, sleepstudy).fit(draws=400)
    assert np.isfinite([fit.log_evidence, fit.log_evidence_psis, fit.log_posterior, fit.k_hat]).all()
    assert not any(np.isnan(v).any() for v in fit.mean.data_vars.values())
    assert fit.posterior["posterior"].sizes["draw"] == 100
    assert len(fit.predict()) == 180
    assert formula in repr(fit)


def test_models_and_fits_can_be_pickled():
    table, genes = wide_data(5)
    fit = pmlmm.Model(WIDE, table, penalized={"genes": genes}).fit()
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.mean["beta_genes"], fit.mean["beta_genes"])
    assert again.model.fit().log_evidence == pytest.approx(fit.log_evidence)


def test_a_model_without_fixed_effects_has_pictures_and_a_report(tmp_path):
    rng = np.random.default_rng(0)
    table = {"group": np.repeat(np.arange(10), 5), "y": rng.normal(size=50) + np.repeat(rng.normal(size=10), 5)}
    fit = pmlmm.Model("y ~ 0 + (1 | group)", table).fit(integrate=False)
    assert len(fit.plot_covariances()) == 2
    fit.report(tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text().count("<figcaption>") >= 3
    assert fit.logo(draws=100).n_data_points == 10  # a factor called like one of ArviZ's dimensions


@pytest.mark.parametrize("name", ["residual", "fixed effects"])
def test_names_that_tables_use_are_refused(name):
    rng = np.random.default_rng(0)
    table = {name: np.repeat(np.arange(10), 5), "g": np.repeat(np.arange(10), 5), "y": rng.normal(size=50)}
    with pytest.raises(pmlmm.FormulaError, match=f"cannot be called '{name}'"):
        pmlmm.Model(f"y ~ 1 + (1 | `{name}`)", table)
    with pytest.raises(pmlmm.DataError, match=f"cannot be called '{name}'"):
        pmlmm.Model("y ~ 1 + (1 | g)", table, penalized={name: rng.normal(size=(50, 3))})
