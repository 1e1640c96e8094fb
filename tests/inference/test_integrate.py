"""Hyperparameters integrated out: against quadrature, where there is nothing to integrate, and in awkward settings."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import invgamma
from scipy.stats import t as student_t

import pmlmm
from pmlmm.errors import OptionError
from tests.oracles import dense
from tests.problems import RIDGE

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def few_groups():
    """Seven groups of two to five rows."""
    rng = np.random.default_rng(11)
    g = np.repeat(np.arange(7), [2, 3, 3, 4, 5, 2, 3])
    return pd.DataFrame({"g": g, "y": 0.8 * rng.normal(size=7)[g] + rng.normal(size=len(g))})


def moments(log_density, *coordinates):
    """Log of the integral over the grid, and mean and sd of each coordinate."""
    total = logsumexp(log_density)
    share = np.exp(log_density - total)
    means = [np.sum(share * c) for c in coordinates]
    sds = [np.sqrt(np.sum(share * (c - m) ** 2)) for c, m in zip(coordinates, means, strict=True)]
    return float(total), np.array(means), np.array(sds)


@pytest.mark.slow
def test_random_intercepts_against_quadrature_over_everything(few_groups):
    """sigma, the variance, b and A on a grid: the inverse-gamma from SciPy, the likelihood dense."""
    fit = pmlmm.Model(
        "y ~ 1 + (1 | g)", few_groups, {"Intercept": pmlmm.Ridge(1e-4), "sigma": pmlmm.HalfStudentT(4, 2.0)}
    ).fit()
    integrated = fit.integrate(nodes=1024, draws=4000)
    space = fit._posterior.learned.space
    start = space.start
    log_sigma, log_v = np.linspace(-1.2, 1.2, 41), np.linspace(-15.0, 6.0, 106)
    log_eta, log_A = (
        np.linspace(np.log(3.0) - 5.5, np.log(3.0) + 5.5, 75),
        np.linspace(start[1] - 16, start[1] + 9, 101),
    )
    eta, A = np.exp(log_eta)[:, None, None], np.exp(log_A)[:, None]
    prior = invgamma.logpdf(np.exp(log_v), eta / 2, scale=(eta + 2) * A / 2) + log_v
    phi = np.stack(np.meshgrid(log_eta, log_A, indexing="ij"), axis=-1).reshape(-1, 2)
    prior += space.log_prior_of_covariances(phi).reshape(75, 101, 1)
    prior += np.log(np.diff(log_eta)[0] * np.diff(log_A)[0])
    sigma_prior = np.log(2.0) + student_t.logpdf(np.exp(log_sigma), 4, scale=2.0) + log_sigma
    u = [[np.exp(s), np.exp(v), np.log(1e-4)] for s in log_sigma for v in log_v]
    likelihood = np.reshape([dense(fit.model, np.array(point)).marginal() for point in u], (41, 106))
    joint = likelihood + sigma_prior[:, None] + np.log(np.diff(log_sigma)[0] * np.diff(log_v)[0])
    given_v = joint + logsumexp(prior, axis=(0, 1))
    s, v = np.meshgrid(log_sigma, log_v, indexing="ij")
    expected, means, sds = moments(given_v, s, v)
    assert integrated.log_evidence == pytest.approx(expected, abs=0.03)
    assert integrated.log_evidence == pytest.approx(expected, abs=4 * integrated.log_evidence_psis_error)
    result = integrated._posterior.integrated
    logs = np.log(result.natural)
    found = result.weights @ logs
    np.testing.assert_allclose((found - means) / sds, 0.0, atol=0.03)
    np.testing.assert_allclose(np.sqrt(result.weights @ (logs - found) ** 2) / sds, 1.0, atol=0.03)
    of_phi = prior + logsumexp(joint, axis=0)
    grids = np.meshgrid(log_eta, log_A, log_v, indexing="ij")[:2]
    _, means, sds = moments(of_phi, *grids)
    weights = result.weights @ result.given
    found = weights @ result.nodes
    np.testing.assert_allclose((found - means) / sds, 0.0, atol=0.03)
    np.testing.assert_allclose(np.sqrt(weights @ (result.nodes - found) ** 2) / sds, 1.0, atol=0.03)


def test_a_learned_lambda_against_quadrature():
    """No random effects: nothing but sigma and lambda."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(25, 4))
    table = pd.DataFrame(X, columns=list("abcd")).assign(y=X @ [0.6, 0.0, -0.3, 0.1] + rng.normal(size=25))
    fit = pmlmm.Model("y ~ a + b + c + d", table, RIDGE | {"sigma": pmlmm.HalfStudentT(4, 2.0)}).fit(integrate=False)
    integrated = fit.integrate(draws=4000)
    log_sigma, log_lambda = np.linspace(-1.2, 1.2, 61), np.linspace(-80.0, 80.0, 641)
    u = [[np.exp(s), np.log(1e-4), value] for s in log_sigma for value in log_lambda]
    joint = np.reshape([dense(fit.model, np.array(point)).marginal() for point in u], (61, 641))
    joint += (np.log(2.0) + student_t.logpdf(np.exp(log_sigma), 4, scale=2.0) + log_sigma)[:, None]
    joint += student_t.logpdf(log_lambda, 3, loc=np.log(4.0), scale=4.0)
    joint += np.log(np.diff(log_sigma)[0] * np.diff(log_lambda)[0])
    bounded = np.tanh(log_lambda / 10.0)  # few draws say little of tails that heavy
    expected, means, sds = moments(joint, *np.meshgrid(log_sigma, bounded, indexing="ij"))
    assert integrated.log_evidence == pytest.approx(expected, abs=0.02)
    result = integrated._posterior.integrated
    values = np.hstack([np.log(result.natural), np.tanh(result.learned_lambda / 10.0)])
    found = result.weights @ values
    np.testing.assert_allclose((found - means) / sds, 0.0, atol=0.03)
    np.testing.assert_allclose(np.sqrt(result.weights @ (values - found) ** 2) / sds, 1.0, atol=0.03)
    assert result.nodes.shape == (1, 0)


def test_nothing_to_integrate_is_the_fit_itself(sleepstudy):
    prior = {"Subject": pmlmm.InverseWishart(b=0.5, A=[[600.0, 0.0], [0.0, 40.0]]), "common": pmlmm.Ridge(0.5)}
    fit = pmlmm.Model(FORMULA, sleepstudy, prior).fit()
    integrated = fit.integrate()
    error = np.hypot(integrated.log_evidence_psis_error, fit.log_evidence_psis_error)
    assert abs(integrated.log_evidence - fit.log_evidence_psis) < 4 * error
    np.testing.assert_allclose(integrated.mean["beta"], fit.mean["beta"], atol=0.3)
    report = pmlmm.compare(integrated, integrated.sample(300, progress=False))
    assert (report.table["integrated", "z"] < 4.5).all()


def test_seeds_agree_within_the_stated_errors(sleep_fit):
    fits = [sleep_fit.integrate(random_seed=seed) for seed in range(12)]
    values, errors = (
        np.array([getattr(f, name) for f in fits]) for name in ("log_evidence", "log_evidence_psis_error")
    )
    assert np.max(errors) < 0.05
    assert np.std(values, ddof=1) < 2.0 * np.sqrt(np.mean(errors**2))
    again = sleep_fit.integrate(random_seed=0)
    assert again.log_evidence == fits[0].log_evidence
    np.testing.assert_array_equal(again.mean["beta"], fits[0].mean["beta"])


def test_an_expansion_stands_in_for_a_costly_likelihood(monkeypatch):
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(150), 6)
    x = rng.normal(size=900)
    table = pd.DataFrame({"g": g, "x": x, "y": x + rng.normal(size=150)[g] + 0.5 * x * rng.normal(size=150)[g]})
    table["y"] += rng.normal(size=900)
    model = pmlmm.Model("y ~ x + (x | g)", table)
    exact = model.fit().integrate()
    monkeypatch.setattr("pmlmm.inference.learn._MOST_WORK", 0.0)
    fit = model.fit()
    assert not fit._posterior.learned.weighable
    integrated = fit.integrate()
    assert integrated.log_evidence == pytest.approx(exact.log_evidence, abs=0.15)
    ends = ["value", "lower", "upper"]
    np.testing.assert_allclose(
        np.log(integrated.hyperparameters[ends] / exact.hyperparameters[ends]).dropna(), 0, atol=0.5
    )
    assert integrated.posterior["posterior"].attrs["beta"] == "given the mode of sigma and Sigma"


@pytest.mark.slow
@pytest.mark.parametrize(("formula", "groups", "rows", "covariance"), [
    ("y ~ t + (t | g)", 18, 10, [[1.0, 0.8], [0.8, 1.0]]),
    ("y ~ t + (t | g)", 18, 10, [[16.0, 0.0], [0.0, 0.04]]),
    ("y ~ 1 + (1 | g)", 8, 3, [[0.49, 0.0], [0.0, 0.0]]),
    ("y ~ 1 + (1 | g)", 8, 3, [[0.04, 0.0], [0.0, 0.0]]),
])  # fmt: skip
def test_awkward_settings_raise_no_false_alarms(formula, groups, rows, covariance):
    """NUTS over all hyperparameters agreed with nearly all that had k-hat above .7 before, up to 18% of a setting."""
    alarms = 0
    for seed in range(25):
        rng = np.random.default_rng([seed, 1])
        g, t = np.repeat(np.arange(groups), rows), np.tile(np.linspace(-1.0, 1.0, rows), groups)
        effects = rng.multivariate_normal(np.zeros(2), covariance, size=groups)[g]
        y = 1.0 + effects[:, 0] + t * effects[:, 1] + rng.normal(size=len(g))
        fit = pmlmm.Model(formula, pd.DataFrame({"y": y, "t": t, "g": g})).fit(integrate=True)
        alarms += not fit.k_hat <= 0.7
    assert alarms <= 1


@pytest.mark.slow
def test_a_wide_block_against_nuts():
    """Each draw has its own lambda, and is evaluated by itself."""
    rng = np.random.default_rng(4)
    W, g = rng.normal(size=(60, 200)), np.repeat(np.arange(10), 6)
    y = 0.3 * W[:, :20] @ rng.normal(size=20) + rng.normal(size=10)[g] + 0.7 * rng.normal(size=60)
    model = pmlmm.Model("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}), penalized={"w": W})
    integrated = model.fit(integrate=True)
    report = pmlmm.compare(integrated, integrated.sample(1000, tune=1000, progress=False))
    assert (report.table["integrated", "z"] < 5.0).all()
    assert (report.effects["shift"] < 0.3).all()


def test_it_asks_for_a_hyperprior(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy).fit(hyperprior=None)
    with pytest.raises(OptionError, match="proper hyperprior"):
        fit.integrate()
    with pytest.raises(OptionError, match="proper hyperprior"):
        fit.sample(hyperparameters=True, progress=False)
    with pytest.raises(OptionError, match=r"fit\(integrate=True\) needs a proper hyperprior"):
        fit.model.fit(hyperprior=None, integrate=True)


def test_few_and_odd_numbers_of_nodes(sleep_fit):
    for nodes in (64, 96, 100):
        result = sleep_fit.integrate(nodes=nodes, draws=200)._posterior.integrated
        assert len(result.nodes) == (64 if nodes == 64 else 128)
        np.testing.assert_allclose(result.given.sum(axis=1), 1.0, rtol=1e-4)
        assert result.weights.sum() == pytest.approx(1.0)
    with pytest.raises(OptionError, match="nodes=63"):
        sleep_fit.integrate(nodes=63)
    with pytest.raises(OptionError, match="draws=99"):
        sleep_fit.integrate(draws=99)
