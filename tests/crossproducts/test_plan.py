"""What is eliminated first does not matter for the result, and what cannot be held is refused."""

import numpy as np
import pytest

import pmlmm
from pmlmm.kernels import likelihood
from tests.problems import CROSSED, three_ways, wide_data


def test_three_computations_of_wide_blocks_agree():
    table, genes = wide_data()
    fits = {name: model.fit() for name, model in three_ways(table, genes, pmlmm.Ridge(2.0)).items()}
    direct = fits.pop("direct")
    u = np.concatenate([direct._posterior.learned.mode.natural, direct._posterior.learned.theta.log_lambda])
    law = likelihood.condition(u, direct.model.statistics.crossproducts())
    scale = direct.model.statistics.standardization.scale[2:]
    sds = u[0] * np.sqrt(np.diag(law.effect_covariance))[-70:] / scale
    for fit in fits.values():
        assert fit.log_evidence == pytest.approx(direct.log_evidence, rel=1e-10)
        assert fit.log_evidence_psis == pytest.approx(direct.log_evidence_psis, abs=5 * direct.log_evidence_psis_error)
        np.testing.assert_allclose(fit.mode["beta"], direct.mode["beta"][:2], rtol=1e-8)
        np.testing.assert_allclose(fit.mode["beta_genes"], direct.mode["beta"][2:], atol=1e-8)
        np.testing.assert_allclose(fit.mode["gamma_ind"], direct.mode["gamma_ind"], atol=1e-8)
        np.testing.assert_allclose(
            fit.predict()["mean"], fit.predict(table, penalized={"genes": genes})["mean"], rtol=1e-10
        )
        parameters = fit._posterior.parameters(fit._posterior.learned.mode.natural[None])
        covariance = parameters.wide.covariance(fit._posterior.learned.mode.natural)
        block = fit.model.statistics.wide[0]
        variances = block.variances(covariance, fit._posterior.learned.mode.natural[0] ** 2 / 2.0)
        np.testing.assert_allclose(np.sqrt(variances), sds, rtol=1e-8)


def test_every_factor_can_be_the_one_that_is_eliminated(crossed, monkeypatch):
    """The result does not depend on which factor goes group by group."""
    one = pmlmm.InverseWishart(0.5, [[0.8]])
    priors = {"a": pmlmm.InverseWishart(0.5, np.eye(2)), "b": one, "b:c": one, "common": pmlmm.Ridge(1.0)}
    expected = pmlmm.Model(CROSSED, crossed, priors).fit(draws=1000)
    monkeypatch.setattr("pmlmm.crossproducts.plan.max", lambda totals, key: "b", raising=False)
    other = pmlmm.Model(CROSSED, crossed, priors).fit(draws=1000)
    assert [fit.model.statistics.elimination.factor for fit in (expected, other)] == ["a", "b"]
    assert other.log_evidence == pytest.approx(expected.log_evidence, rel=1e-10)
    for name in ("gamma_a", "gamma_b", "gamma_b:c", "beta"):
        np.testing.assert_allclose(other.mean[name], expected.mean[name], atol=1e-7)


def test_too_large_for_memory_says_how_large(table, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(pmlmm.DataError, match=r"one dense factorisation \(g: 4; only the largest factor.*this machine"):
        pmlmm.Model("y ~ x + (1 | g) + (1 | h)", table.assign(h=np.arange(20) % 7))
