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
