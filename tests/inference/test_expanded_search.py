"""Climbing by expansions ends where the exact search does."""

import numpy as np
import pytest

import pmlmm
from pmlmm.inference.empirical_bayes import maximize_evidence
from pmlmm.inference.expanded_search import climb
from tests.bench import bench
from tests.problems import RIDGE, WIDE, wide_data

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.mark.parametrize("formula", ["y ~ t + u", WIDE])
def test_costly_models_give_the_same_fit(monkeypatch, formula):
    """Climbing by expansions, with and without random effects."""
    table, _ = wide_data(6)
    table = table.assign(u=np.cos(np.arange(len(table))))
    expected = pmlmm.Model(formula, table, RIDGE).fit(refine=False)
    monkeypatch.setattr("pmlmm.inference.learn.COSTLY", 0.0)
    fit = pmlmm.Model(formula, table, RIDGE).fit(refine=False)
    assert "expansion" in fit.optimizer_records[0].objective
    # both end where no entry of the gradient exceeds a tolerance, 5e-3 and 1e-3 nats per log unit
    objective = [
        f.log_evidence + f._posterior.learned.space.log_prior(f._posterior.learned.phi)[0] for f in (fit, expected)
    ]
    assert objective[0] == pytest.approx(objective[1], abs=1e-3)
    np.testing.assert_allclose(fit.hyperparameters["value"], expected.hyperparameters["value"], rtol=0.1)


@pytest.mark.parametrize("formula", [FORMULA, "Reaction ~ Days + (1 | Subject)"])
def test_climbing_by_expansions_ends_where_the_search_does(sleepstudy, formula):
    b = bench(pmlmm.Model(formula, sleepstudy), hyperprior=pmlmm.Hyperprior())
    exact = b.evidence()
    expected, _ = maximize_evidence(exact, b.space, b.space.start, "evidence", tolerance=1e-5)
    evidence = b.evidence()
    phi, records, settled = climb(evidence, b.space.start, 1e-5, None)
    assert settled
    np.testing.assert_allclose(evidence.last_x, b.mode(phi).x, atol=1e-5)
    # the slope of the volume may be off by .005 nats per unit of x, and flat directions have a curvature near .8
    np.testing.assert_allclose(phi, expected, atol=0.01)
    totals = [exact.mode(at).log_evidence + b.space.log_prior(at)[0] for at in (phi, expected)]
    assert totals[0] == pytest.approx(totals[1], abs=5e-5)
    assert len(records) < 10
