"""Fixed effects with priors in the units of y: what is stated, what follows from the table, and the exact density."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import pmlmm
from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.errors import DataError, PriorError
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels.likelihood_at_draws import Exact
from pmlmm.kernels.likelihood_compiled import flatten, value_and_gradient


@pytest.fixture
def table():
    """40 rows, 8 groups, a covariate far from zero, three levels of which one is rare."""
    rng = np.random.default_rng(4)
    f = np.array(list("ppppqqqr") * 5)
    table = pd.DataFrame({"g": np.arange(40) % 8, "h": np.arange(40) // 10, "x": 50 + 3 * rng.normal(size=40), "f": f})
    return table.assign(y=100 + 2 * table["x"] + 5 * rng.normal(size=8)[table["g"]] + 4 * rng.normal(size=40))


def prior(model):
    """Prior mean and covariance of the coefficients on the user's scale."""
    priors, standard = model.priors, model.statistics.standardization
    sd = np.zeros(len(priors.means))
    for group in priors.penalty_groups:
        sd[list(group.columns)] = group.prior.sd
    root = standard.transform * sd
    return standard.shift, root @ root.T


def test_the_default_is_that_of_rstanarm_and_bambi(table):
    model = pmlmm.Model("y ~ x + (1 | g)", table)
    mean, covariance = prior(model)
    x, y = table["x"], table["y"]
    slope = 2.5 * y.std(ddof=0) / x.std(ddof=0)
    assert mean == pytest.approx([y.mean(), 0.0])
    assert covariance[1, 1] == pytest.approx(slope**2)
    at_mean = np.array([1.0, x.mean()])
    assert at_mean @ covariance @ at_mean == pytest.approx((2.5 * y.std(ddof=0)) ** 2)
    assert "Intercept ~ Normal(" in str(model)
    assert "x ~ Normal(0, 2.5 sd(y) / sd(x))" in str(model)


def test_what_is_stated_is_on_the_scale_of_the_column(table):
    stated = {"x": pmlmm.Normal(1.5, 0.25), "f": pmlmm.Normal(sd=7), "Intercept": pmlmm.Normal(220, 30)}
    model = pmlmm.Model("y ~ x + f + (1 | g)", table, stated)
    mean, covariance = prior(model)
    assert mean[1:] == pytest.approx([1.5, 0.0, 0.0])
    assert np.sqrt(np.diag(covariance)[1:]) == pytest.approx([0.25, 7.0, 7.0])
    assert len(model.priors.penalty_groups) == 1
    centre = np.append(1.0, model.design.X[:, 1:].mean(axis=0))
    assert centre @ mean == pytest.approx(220.0)
    assert centre @ covariance @ centre == pytest.approx(30.0**2)
    for words in ("x ~ Normal(1.5, 0.25)", "f[T.q], f[T.r] ~ Normal(0, 7)", "Intercept ~ Normal(220, 30)"):
        assert words in str(model)


def test_columns_left_where_they_are_have_the_same_prior(table):
    """Without centring the intercept's prior is what the default says about it at x = 0."""
    centred, raw = (pmlmm.Model("y ~ x + (1 | g)", table, standardize=s) for s in (True, False))
    assert prior(raw)[0] == pytest.approx(prior(centred)[0])
    assert np.diag(prior(raw)[1]) == pytest.approx(np.diag(prior(centred)[1]))


def test_prior_draws_have_it(table):
    fit = pmlmm.Model("y ~ x + (1 | g)", table, {"x": pmlmm.Normal(3.0, 0.5)}).fit()
    drawn = fit.sample_prior_predictive(draws=4000, random_seed=0)["prior"]["beta"].to_numpy()[0]
    slope, level = drawn[:, 1], drawn @ [1.0, table["x"].mean()]
    assert slope.mean() == pytest.approx(3.0, abs=4 * 0.5 / np.sqrt(4000))
    assert slope.std() == pytest.approx(0.5, rel=0.05)
    assert level.mean() == pytest.approx(table["y"].mean(), abs=4 * fit.model.priors.normals.unit / np.sqrt(4000))
    assert level.std() == pytest.approx(fit.model.priors.normals.unit, rel=0.05)


def test_a_constant_column_that_is_left_as_it_is(table):
    model = pmlmm.Model("y ~ k + (1 | g)", table.assign(k=0.1), standardize=False)
    assert np.diag(prior(model)[1])[1] == pytest.approx((25.0 * table["y"].std(ddof=0)) ** 2)


def test_levels_without_an_intercept_are_around_the_mean_of_y(table):
    model = pmlmm.Model("y ~ 0 + f + x + (1 | g)", table)
    mean, covariance = prior(model)
    assert mean == pytest.approx([*[table["y"].mean()] * 3, 0.0])
    assert covariance[3, 3] == pytest.approx((2.5 * table["y"].std(ddof=0) / table["x"].std(ddof=0)) ** 2)
    np.testing.assert_allclose(model.statistics.standardization.offset, table["y"].mean())


def test_regression_through_the_origin_is_about_zero(table):
    model = pmlmm.Model("y ~ 0 + x + (1 | g)", table)
    mean, covariance = prior(model)
    assert mean == pytest.approx([0.0])
    assert covariance[0, 0] == pytest.approx(2.5**2 * np.mean(table["y"] ** 2) / np.mean(table["x"] ** 2))
    assert "x ~ Normal(0, 2.5 rms(y) / rms(x))" in str(model)


@pytest.mark.parametrize("value", [{"sd": 0.0}, {"sd": -1.0}, {"sd": np.inf}, {"mean": np.nan}, {"mean": "response"}])
def test_numbers_that_are_no_prior(value):
    with pytest.raises(PriorError, match=f"Normal\\({next(iter(value))}="):
        pmlmm.Normal(**value)


def test_where_it_is_refused(table):
    with pytest.raises(PriorError, match=r"one standard deviation in the units of y.*pmlmm\.Ridge\(\)"):
        pmlmm.Model("y ~ x + (1 | g)", table, {"w": pmlmm.Normal()}, penalized={"w": np.eye(40)[:, :3]})
    with pytest.raises(DataError, match="'k' is constant"):
        pmlmm.Model("y ~ k + (1 | g)", table.assign(k=2.0))
    with pytest.raises(PriorError, match=r"pmlmm.Normal\(mean=2.0, sd=...\)"):
        pmlmm.Model("y ~ x + (1 | g)", table, {"x": pmlmm.Ridge(1.0, mean=2.0)})


# The evidence: every kind of elimination, against log N(y; X m, sigma^2 I + Z Sigma Z' + X T X').

ELIMINATED = {
    "groups": ("y ~ x + f + (x | g)", {}, None),
    "crossed": ("y ~ x + f + (x | g) + (1 | h)", {}, None),
    "no random effects": ("y ~ x + f", {}, None),
    "no intercept": ("y ~ 0 + f + x + (1 | g)", {}, None),
    "beside a ridge": ("y ~ x + f + (x | g)", {"f": pmlmm.Ridge()}, None),
    "stated": ("y ~ x + f + (1 | g)", {"x": pmlmm.Normal(1.0, 0.3), "Intercept": pmlmm.Normal(150, 9)}, None),
    "wide, eigenbasis": ("y ~ x + (1 | g)", {"x": pmlmm.Normal(1.0, 0.3)}, (60,)),
    "wide, kernels": ("y ~ x + (1 | g)", {}, (60, 50)),
    "wide among the dense": ("y ~ x + (1 | g)", {}, (5,)),
}


@pytest.fixture(params=ELIMINATED)
def case(request, table):
    """A model and a point; its columns are not standardised where there are wide blocks, to have them as given."""
    formula, priors, widths = ELIMINATED[request.param]
    rng = np.random.default_rng(8)
    blocks = {f"w{k}": rng.normal(size=(40, p)) for k, p in enumerate(widths or ())}
    model = pmlmm.Model(formula, table, priors, penalized=blocks, standardize=not blocks)
    d = 1 + sum(coordinates.vech_size(q) for q in model.design.sizes)
    natural = coordinates.to_natural(np.append(np.log(3.0), 0.3 * rng.normal(size=d - 1)), model.design.sizes)
    stated = [group.log_lambda for group in model.priors.penalty_groups]
    return model, np.concatenate([natural, [0.7 if value is None else value for value in stated]]), blocks


def dense_evidence(model, u, blocks):
    """From the design and the statement of the priors alone, on the user's scale."""
    design, priors = model.design, model.priors
    n, position = design.n_rows, 1
    V = u[0] ** 2 * np.eye(n)
    for term in design.terms:
        size = coordinates.vech_size(term.q)
        Sigma = coordinates.unvech(u[position : position + size], term.q)
        together = term.grouping.codes[:, None] == term.grouping.codes
        V += np.where(together, term.Z @ Sigma @ term.Z.T, 0.0)
        position += size
    mean = np.zeros(n)
    centre = design.X.mean(axis=0) * (priors.standardize and "Intercept" in design.coefficients)
    X = np.where(np.array(design.coefficients) == "Intercept", 1.0, design.X - centre)
    for group, log_lambda in zip(priors.penalty_groups, u[position:], strict=True):
        if group.block is not None:
            own = blocks[group.name]
            V += u[0] ** 2 / np.exp(log_lambda) * own @ own.T
        elif group.absolute:
            own = X[:, list(priors.normals.columns)]
            mean += own @ np.array(priors.normals.mean)
            V += own * np.array(priors.normals.sd) ** 2 @ own.T
        else:
            own = X[:, list(group.columns)] / X[:, list(group.columns)].std(axis=0)
            V += u[0] ** 2 / np.exp(log_lambda) * own @ own.T
    return multivariate_normal(mean, V).logpdf(design.y)


def test_the_evidence_is_the_dense_density(case):
    model, u, blocks = case
    value = likelihood.evaluate(u, model.statistics.crossproducts(), profile=False, order=0).value
    assert value == pytest.approx(dense_evidence(model, u, blocks), rel=1e-10)


@pytest.mark.parametrize("profile", [False, True])
def test_derivatives_match_differences(differences, case, profile):
    model, u, _ = case
    data = model.statistics.crossproducts(profile)
    at = likelihood.evaluate(u, data, profile=profile, order=2)
    gradient = differences(lambda x: likelihood.evaluate(x, data, profile=profile, order=0).value, u)
    hessian = differences(lambda x: likelihood.evaluate(x, data, profile=profile, order=1).gradient, u)
    scale = 1.0 + np.max(np.abs(at.hessian))
    np.testing.assert_allclose(at.gradient, gradient, atol=1e-6 * scale)
    np.testing.assert_allclose(at.hessian, hessian, atol=1e-6 * scale)


def test_the_profile_is_the_largest_joint_density(case):
    """``max_beta log p(y, beta)`` beside the evidence: Gaussian, so they differ by the posterior's volume."""
    model, u, _ = case
    data = model.statistics.crossproducts(True)
    values = [likelihood.evaluate(u, data, profile=profile, order=0).value for profile in (False, True)]
    covariance = u[0] ** 2 * likelihood.condition(u, data).effect_covariance[data.gammas :, data.gammas :]
    volume = 0.5 * len(covariance) * np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance)[1]
    unseen = data.counts.copy()  # directions of a wide block that no row sees: their prior alone
    for block in data.blocks:
        if block.ridge:
            unseen[block.parameter] -= block.levels
    volume += 0.5 * unseen @ (np.log(2 * np.pi * u[0] ** 2) - u[data.layout.log_lambda])
    assert values[0] == pytest.approx(values[1] + volume, rel=1e-10)


def test_compiled_and_at_draws_are_the_same_numbers(case):
    model, u, _ = case
    data = model.statistics.crossproducts()
    at = likelihood.evaluate(u, data, profile=False, order=1)
    value, gradient = value_and_gradient(u, flatten(data))
    assert value == pytest.approx(at.value, rel=1e-10)
    np.testing.assert_allclose(gradient, at.gradient, rtol=1e-9, atol=1e-9)
    d = data.parameters
    several = np.stack([u[:d], u[:d] * 1.21])
    drawn = Exact(several, u[d:], data)(u[d:])
    for s, point in enumerate(several):
        one = likelihood.evaluate(np.concatenate([point, u[d:]]), data, profile=False, order=1)
        assert drawn.value[s] == pytest.approx(one.value, rel=1e-10)
        np.testing.assert_allclose(drawn.gradient[s], one.gradient[d:], rtol=1e-8, atol=1e-9)


def test_a_wide_block_is_eliminated_first_or_not(table):
    """The same evidence either way, Normal columns beside it."""
    block = np.random.default_rng(8).normal(size=(40, 60))
    model = pmlmm.Model("y ~ x + (x | g)", table, penalized={"w": block})
    standard = model.statistics.standardization
    known = [0.3 if g.log_lambda is None else g.log_lambda for g in model.priors.penalty_groups]
    u = np.concatenate([[3.0, 2.0, 0.1, 0.5], known])
    found = []
    for method in ("wide", "groups"):
        data = build_statistics(model.design, model.priors, standard, method=method).crossproducts()
        found.append(likelihood.evaluate(u, data, profile=False, order=2))
    assert found[0].value == pytest.approx(found[1].value, rel=1e-10)
    np.testing.assert_allclose(found[0].hessian, found[1].hessian, rtol=1e-7, atol=1e-8)
