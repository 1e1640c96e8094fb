"""The table of the learned hyperparameters: values, intervals, and their state in words."""

import numpy as np
import pytest

import pmlmm
from tests.problems import RIDGE

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_hyperparameters_are_labelled_values_with_intervals(sleep_fit):
    table = sleep_fit.hyperparameters
    assert list(table.index) == [
        "b[Subject]",
        "A[Subject][Intercept]",
        "A[Subject][Days]",
    ]
    assert (table["state"] == "interior").all()
    assert ((table["lower"] < table["value"]) & (table["value"] < table["upper"])).all()
    assert 0.18 < table.loc["b[Subject]", "value"] < 0.999


def test_intervals_are_the_curvature_of_the_evidence(sleep_fit):
    """Second differences of the importance-sampled objective itself, not of its gradient."""
    from pmlmm.inference.importance import ImportanceEvidence

    tuned, space = sleep_fit._posterior.learned, sleep_fit._posterior.learned.space
    objective = ImportanceEvidence(tuned.sample, space)
    k, h = len(tuned.phi), 1e-2
    unit = np.eye(k) * h

    def value(phi):
        return objective(phi)[0]

    hessian = np.empty((k, k))
    for i in range(k):
        for j in range(k):
            corners = [value(tuned.phi + s * unit[i] + t * unit[j]) * s * t for s in (1, -1) for t in (1, -1)]
            hessian[i, j] = sum(corners) / (4 * h * h)
    sd = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    table = sleep_fit.hyperparameters.loc["A[Subject][Intercept]"]
    assert np.log(table["upper"] / table["value"]) / 1.959964 == pytest.approx(sd[1], rel=1e-2)


def test_plain_empirical_bayes_reports_its_bound_in_words(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy).fit(hyperprior=None)
    row = fit.hyperparameters.loc["b[Subject]"]
    assert row["value"] == pytest.approx(0.999)
    assert row["state"].startswith("at its upper bound: Sigma of Subject sits on its prior target")
    assert "no prior (plain empirical Bayes)" in repr(fit)


def test_everything_fixed_is_fixed(sleepstudy):
    priors = {
        "Subject": pmlmm.InverseWishart(b=0.3, A=[[600, 0], [0, 40]]),
        "common": pmlmm.Ridge(lambda_=0.5),
        "sigma": pmlmm.HalfStudentT(nu=4, scale=50.0),
    }
    fit = pmlmm.Model(FORMULA, sleepstudy, priors).fit()
    assert (fit.hyperparameters["state"] == "fixed").all()
    assert fit.hyperparameters.loc["b[Subject]", "value"] == pytest.approx(0.3)
    assert fit.hyperparameters.loc["A[Subject][Days]", "value"] == pytest.approx(40)
    assert abs(fit.log_evidence - fit.log_evidence_psis) < 0.1


def test_identity_structure_learns_one_number(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.InverseWishart(A="identity")}).fit()
    assert [name for name in fit.hyperparameters.index if name.startswith("A")] == ["A[Subject]"]


def noise_model():
    """Eight covariates that have nothing to do with y, and groups whose means of y are equal."""
    rng = np.random.default_rng(3)
    table = {f"x{k}": rng.normal(size=80) for k in range(8)}
    noise = rng.normal(size=(16, 5))
    table |= {"g": np.repeat(np.arange(16), 5), "y": (noise - noise.mean(axis=1, keepdims=True)).ravel()}
    return pmlmm.Model("y ~ " + " + ".join(f"x{k}" for k in range(8)) + " + (1 | g)", table, RIDGE)


def test_flat_ends_are_named():
    model = noise_model()
    plain = model.fit(hyperprior=None).hyperparameters["state"]
    assert "these coefficients are indistinguishable from zero" in plain["lambda[common]"]
    assert "the groups of g hardly differ in this effect" in plain["A[g][Intercept]"]
    table = model.fit().hyperparameters  # the hyperprior holds lambda off its flat end
    state = "flat towards large values: these coefficients are indistinguishable from zero"
    assert table.loc["lambda[common]", "state"] == state
    assert table.loc["lambda[common]", "value"] > 10


def test_partly_fixed_hyperparameters(sleepstudy):
    """b fixed and A learned, and the other way round."""
    half = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.InverseWishart(b=0.4)}).fit().hyperparameters
    assert half.loc["b[Subject]", "state"] == "fixed"
    assert half.loc["A[Subject][Days]", "state"] == "interior"
    A = [[600, 30], [30, 40]]
    other = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.InverseWishart(A=A)}).fit()
    assert other.hyperparameters.loc["b[Subject]", "state"].startswith("interior")
    np.testing.assert_array_equal(other._posterior.learned.theta.covariances[0].A, A)
