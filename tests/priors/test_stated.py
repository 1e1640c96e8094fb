"""Priors as a user states them."""

import numpy as np
import pytest

import pmlmm
from pmlmm.errors import PriorError
from pmlmm.priors.inverse_wishart import b_from_eta, eta_from_b, smallest_b


def test_b_and_eta_are_inverse():
    for m, q, b in ((18, 2, 0.3), (100, 4, 0.9)):
        assert b_from_eta(eta_from_b(b, m, q), m, q) == pytest.approx(b)
    assert eta_from_b(smallest_b(18, 2), 18, 2) == pytest.approx(1.0)  # q - 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pmlmm.Ridge(lambda_=-1), "at least 0"),
        (lambda: pmlmm.Ridge(mean=np.nan), "finite number"),
        (lambda: pmlmm.InverseWishart(b=1.0), "above 0 and below 1"),
        (lambda: pmlmm.InverseWishart(A="full"), "diagonal, identity"),
        (lambda: pmlmm.InverseWishart(A=[[1, 2], [2, 1]]), "not positive definite"),
        (lambda: pmlmm.InverseWishart(A=[[1, 2], [0, 1]]), "symmetric"),
        (lambda: pmlmm.InverseWishart(A=[[1, 2]]), "square"),
        (lambda: pmlmm.InverseWishart(A=[["a"]]), "numbers"),
        (lambda: pmlmm.InverseWishart.from_eta_phi(0.5, np.eye(2)), "eta > q - 1"),
        (lambda: pmlmm.HalfStudentT(scale=0), "positive"),
        (lambda: pmlmm.Hyperprior(eta_sd=0), "positive"),
        (lambda: pmlmm.Hyperprior(eta_sd=None), "positive"),
        (lambda: pmlmm.Hyperprior(pool_at="median"), "choose one of .largest., .mean square."),
        (lambda: pmlmm.Ridge("a"), "finite"),
        (lambda: pmlmm.Ridge(0, mean=5.0), "flat: it has no mean"),
        (lambda: pmlmm.HalfStudentT(None), "positive"),
        (lambda: pmlmm.InverseWishart(b=0.9999), "pins Sigma to A"),
    ],
)
def test_impossible_priors(make, words):
    with pytest.raises(PriorError, match=words):
        make()


def test_priors_compare_by_value():
    assert pmlmm.InverseWishart(A=np.eye(2)) == pmlmm.InverseWishart(A=[[1, 0], [0, 1]])
    assert pmlmm.InverseWishart(A=np.eye(2)) != pmlmm.InverseWishart()
