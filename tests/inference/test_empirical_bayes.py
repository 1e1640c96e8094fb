"""The evidence and its gradient over the hyperparameters."""

import numpy as np
import pytest

import pmlmm
from pmlmm.inference.empirical_bayes import LaplaceEvidence
from tests.bench import bench
from tests.problems import RIDGE, three_ways, wide_data

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_evidence_and_gradient_agree_between_computations():
    table, genes = wide_data()
    results = {}
    for name, model in three_ways(table, genes, pmlmm.Ridge()).items():
        b = bench(model)
        results[name] = LaplaceEvidence(b.laplace, b.space, b.start)(np.array([1.0]))
    value, gradient = results.pop("direct")
    for other, slope in results.values():
        assert other == pytest.approx(value, rel=1e-10)
        np.testing.assert_allclose(slope, gradient, rtol=1e-5)  # one-sided differences of step 1e-6 are in it


@pytest.mark.parametrize(
    ("approximation", "kind"),
    [
        ("marginal", "unconstrained"),
        ("marginal", "natural"),
        ("joint", "natural"),
        ("joint", "unconstrained"),
    ],
)
def test_evidence_gradient_matches_differences(sleepstudy, differences, approximation, kind):
    model = pmlmm.Model(FORMULA, sleepstudy.iloc[:90], RIDGE)
    b = bench(model, approximation, kind, pmlmm.Hyperprior())
    function = b.evidence()
    phi = b.space.start + np.array([0.3, -0.4, 0.2, -0.3])
    gradient = function(phi)[1]
    numeric = differences(lambda x: function(x)[0], phi, 1e-4)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=2e-5)
