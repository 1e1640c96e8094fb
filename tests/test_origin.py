"""Random slopes on times counted from far away: the fit of centred times, shown on the user's scale."""

import numpy as np
import pandas as pd
import pytest

import pmlmm

CLOCKS = {
    "years": lambda t: t + 2000.0,
    "decimal years": lambda t: 2019.0 + t / 13.0,
    "Julian days": lambda t: 2458000.0 + 30.0 * t,
    "days since an epoch": lambda t: (738000 + 7 * t).astype(int),
    "seconds since 1970": lambda t: 1.6e9 + 86400.0 * t,
    "milliseconds since 1970": lambda t: (1.6e12 + 8.64e7 * t).astype(np.int64),
}


@pytest.fixture(scope="module")
def growth():
    """25 groups, 12 times each; sds 3 and .5 at time 0."""
    rng = np.random.default_rng(13)
    g, t = np.repeat(np.arange(25), 12), np.tile(np.arange(12.0), 25)
    u = rng.multivariate_normal([0, 0], [[9, -0.5], [-0.5, 0.25]], size=25)
    return pd.DataFrame({"g": g, "t": t, "y": 50 + 1.2 * t + u[g, 0] + u[g, 1] * t + 2 * rng.normal(size=300)})


@pytest.fixture(scope="module")
def centred(growth):
    return pmlmm.Model("y ~ t + (t | g)", growth.assign(t=growth.t - growth.t.mean())).fit()


@pytest.mark.parametrize("clock", CLOCKS)
def test_any_clock_gives_the_fit_of_centred_times(growth, centred, clock):
    t = CLOCKS[clock](growth.t)
    unit = float(np.ptp(t)) / 11.0
    fit = pmlmm.Model("y ~ t + (t | g)", growth.assign(t=t)).fit()

    def numbers(fit, unit):
        slope = fit.mean["Sigma_g"].values[1, 1] ** 0.5
        beta = fit.mean["beta"].values[1], fit.sd["beta"].values[1]
        return np.array([slope * unit, beta[0] * unit, beta[1] * unit, float(fit.mean["sigma"]), fit.log_evidence])

    np.testing.assert_allclose(numbers(fit, unit), numbers(centred, 1.0), rtol=1e-6)
    np.testing.assert_allclose(fit.predict()["mean"], centred.predict()["mean"], rtol=1e-6)
    integrated = fit.integrate()
    assert fit.k_hat < 0.7
    assert integrated.k_hat < 0.7
    assert integrated.log_evidence == pytest.approx(centred.integrate().log_evidence, abs=1e-4)


@pytest.mark.parametrize("options", [{"approximation": "joint"}, {"coordinates": "natural", "optimizer": "em"}])
def test_other_approximations(growth, options):
    fits = [
        pmlmm.Model("y ~ t + (t | g)", growth.assign(t=growth.t + c)).fit(**options) for c in (2000.0, -growth.t.mean())
    ]
    assert fits[0].log_evidence == pytest.approx(fits[1].log_evidence, abs=1e-5)
    assert fits[0].log_posterior == pytest.approx(fits[1].log_posterior, abs=1e-5)


def test_flat_covariances_are_those_of_restricted_maximum_likelihood(growth):
    """REML does not know of origins; its mode in natural coordinates is the same on any clock, given the way back."""
    flat = {"g": pmlmm.Flat(), "common": pmlmm.Flat(), "sigma": pmlmm.Flat()}
    far, near = (
        pmlmm.Model("y ~ t + (t | g)", growth.assign(t=growth.t + c), flat).fit(coordinates="natural").mode
        for c in (300.0, 0.0)
    )
    M = np.array([[1.0, -300.0], [0.0, 1.0]])
    np.testing.assert_allclose(far["Sigma_g"], M @ near["Sigma_g"].values @ M.T, rtol=1e-4)
    assert float(far["sigma"]) == pytest.approx(float(near["sigma"]), rel=1e-6)


# The same model twice: as the user writes it, and with the columns shifted by hand.

SHIFT = np.array([0.0, 80.0, -40.0])
BACK = np.eye(3) - np.outer([1.0, 0.0, 0.0], SHIFT)


def two_covariates(seed=0):
    rng = np.random.default_rng(seed)
    g, h = np.repeat(np.arange(20), 8), rng.integers(0, 6, 160)
    data = pd.DataFrame({"g": g, "h": h, "x": rng.normal(size=160), "z": 2 * rng.normal(size=160)})
    data -= np.array([0.0, 0.0, data.x.mean(), data.z.mean()])
    gamma, level = rng.normal(size=(20, 3)) * [1.0, 0.7, 0.4], rng.normal(size=6)
    fixed = 3 + data.x - 0.5 * data.z + level[h]
    data["y"] = fixed + gamma[g, 0] + gamma[g, 1] * data.x + gamma[g, 2] * data.z + rng.normal(size=160)
    return data.astype({"g": int, "h": int})


def pair(**options):
    """Fits of the far and of the hand-centred model."""
    near = two_covariates()
    far = near.assign(x=near.x + SHIFT[1], z=near.z + SHIFT[2])
    formula = "y ~ x + z + (x + z | g) + (1 | h)"
    return tuple(pmlmm.Model(formula, data, **options).fit(draws=400, integrate=False) for data in (far, near))


@pytest.fixture(scope="module")
def fits():
    return pair()


def assert_same(far, near, tolerance=1e-6):
    """Variables (..., beta or Sigma or gamma) of the two models, after the way back by hand."""
    for name in near:
        expected = near[name].values
        if name in ("beta", "gamma_g"):
            expected = near[name].values @ BACK.T
        elif name == "Sigma_g":
            expected = BACK @ near[name].values @ BACK.T
        scale = np.abs(expected).max()
        np.testing.assert_allclose(far[name].values, expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def test_the_fixture_is_moved(fits):
    far, near = fits
    np.testing.assert_allclose(far.model.priors.origins[0].shift, SHIFT, atol=1e-9)
    assert not near.model.priors.origins[0].moved
    # both searches stop where a step gains 1e-3 nats, on paths that rounding of the far columns moves
    assert far.log_evidence == pytest.approx(near.log_evidence, abs=1e-6)
    assert far.log_evidence_psis == pytest.approx(near.log_evidence_psis, abs=1e-6)
    np.testing.assert_allclose(far.hyperparameters["value"], near.hyperparameters["value"], rtol=1e-5)


@pytest.mark.parametrize("what", ["mean", "mode"])
def test_means_and_modes(fits, what):
    assert_same(*(getattr(fit, what) for fit in fits))


@pytest.mark.parametrize("corrected", [True, False])
def test_draws(fits, corrected):
    far, near = (fit.draw_posterior(100, corrected=corrected)["posterior"].to_dataset() for fit in fits)
    assert_same(far, near)


def test_the_proposal_and_sds(fits):
    far, near = (fit.posterior["proposal"].to_dataset() for fit in fits)
    assert_same(far, near)
    for fit in fits:
        draws = fit.posterior["posterior"]["Sigma_g"]
        np.testing.assert_allclose(fit.sd["Sigma_g"], draws.std(("chain", "draw"), ddof=1), rtol=0.3)


def test_integrated(fits):
    far, near = (fit.integrate(nodes=64) for fit in fits)
    assert far.log_evidence == pytest.approx(near.log_evidence, abs=1e-4)
    assert_same(far.mean, near.mean, tolerance=1e-4)


def test_predictions(fits):
    new = {"g": [3, 3], "h": [1, 2], "x": [81.0, 70.0], "z": [-40.0, -35.0]}
    far = fits[0].predict(new)["mean"]
    near = fits[1].predict(new | {"x": [1.0, -10.0], "z": [0.0, 5.0]})["mean"]
    np.testing.assert_allclose(far, near, rtol=1e-6)
    np.testing.assert_allclose(fits[0].predict()["mean"], fits[1].predict()["mean"], rtol=1e-6)


@pytest.mark.parametrize("own", [True, False])
def test_posterior_predictive(fits, own):
    """From the fit's draws, and from draws that the user hands in."""
    trees = [
        fit.sample_posterior_predictive(None if own else fit.draw_posterior(30), draws=30 if own else None)
        for fit in fits
    ]
    for group in ("posterior_predictive", "log_likelihood"):
        for name in trees[1][group].to_dataset():
            np.testing.assert_allclose(trees[0][group][name], trees[1][group][name], rtol=1e-5, atol=1e-5)


def test_prior_predictive(fits):
    far, near = (fit.sample_prior_predictive(40) for fit in fits)
    np.testing.assert_allclose(far["prior_predictive"]["y"], near["prior_predictive"]["y"], rtol=1e-5, atol=1e-5)
    assert_same(far["prior"].to_dataset(), near["prior"].to_dataset(), tolerance=1e-5)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter:UserWarning")
def test_left_out_groups(fits):
    for factor in ("g", "h"):
        far, near = (fit.logo(factor, draws=25) for fit in fits)
        np.testing.assert_allclose(far.elpd_i, near.elpd_i, rtol=1e-5)


def test_likelihood_of_draws(fits):
    far, near = (fit.marginal_log_likelihood(fit.draw_posterior(25)["posterior"].to_dataset()) for fit in fits)
    np.testing.assert_allclose(far, near, rtol=1e-8)


def test_profiles(fits):
    """Each point's search ends within .01 nats of its maximum of evidence and hyperprior."""
    far, near = (fit.profile("A[g][x]", points=3)[["log_evidence", "log_hyperprior"]].sum(axis=1) for fit in fits)
    np.testing.assert_allclose(far, near, atol=0.01)


@pytest.mark.parametrize("collapsed", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_nuts_agrees(fits, collapsed):
    """:func:`pmlmm.compare` sets Sigma, beta, gamma and the bridge's evidence from these draws beside the fit."""
    far, _ = fits
    mcmc = far.sample(draws=500, collapsed=collapsed, progress=False, random_seed=1)
    comparison = pmlmm.compare(far, mcmc)
    assert comparison.diagnostics["r_hat"] < 1.03
    # standard deviations of the means from each other, and the width
    table = comparison.table
    assert table["PSIS", "shift"].abs().max() < 0.2
    assert comparison.effects["shift"].max() < 0.2
    assert comparison.evidence.loc["bridge", "log_evidence"] == pytest.approx(far.log_evidence_psis, abs=0.1)
    slopes = mcmc["posterior"]["gamma_g"].mean(("chain", "draw"))
    np.testing.assert_allclose(slopes.sel(g_effect="x"), far.mean["gamma_g"].sel(g_effect="x"), atol=0.1)


@pytest.mark.parametrize("prior", [{}, {"g": pmlmm.Flat()}])
def test_another_elimination(prior):
    """The factor with the slopes among the dense columns, beside a larger one; and a wide block first."""
    near = two_covariates()
    far = near.assign(x=near.x + SHIFT[1], z=near.z + SHIFT[2])
    genes = np.random.default_rng(1).normal(size=(160, 300))
    for formula, penalized in (
        ("y ~ x + z + (x + z | g) + (1 | k)", None),
        ("y ~ x + z + (x + z | g)", {"genes": genes}),
    ):
        rows = np.random.default_rng(2).permutation(160) // 2
        fits = [
            pmlmm.Model(formula, data.assign(k=rows), prior, penalized=penalized).fit(draws=200, integrate=False)
            for data in (far, near)
        ]
        assert fits[0].log_evidence == pytest.approx(fits[1].log_evidence, abs=1e-6)
        assert_same(fits[0].mean, fits[1].mean, tolerance=1e-4)


def test_a_matrix_is_meant_at_the_users_zero():
    """``A_used = M A M'``: given at zero for the far columns, and as that for the centred ones."""
    near, A = two_covariates(), np.diag([1.0, 0.5, 0.2])
    far = near.assign(x=near.x + SHIFT[1], z=near.z + SHIFT[2])
    M = np.linalg.inv(BACK)
    fixed = {"common": pmlmm.Ridge(0.1)}
    formula = "y ~ x + z + (x + z | g)"
    given = BACK @ A @ BACK.T
    at_zero = pmlmm.Model(formula, far, fixed | {"g": pmlmm.InverseWishart(0.5, given)})
    by_hand = pmlmm.Model(formula, near, fixed | {"g": pmlmm.InverseWishart(0.5, M @ given @ M.T)})
    stated = pmlmm.Model(formula, far, fixed | {"g": pmlmm.InverseWishart(0.5, A, origin={"x": 80.0, "z": -40.0})})
    expected = by_hand.fit()
    for model in (at_zero, stated):
        fit = model.fit()
        assert fit.log_evidence == pytest.approx(expected.log_evidence, abs=1e-6)
        assert_same(fit.mean, expected.mean, tolerance=1e-5)
    shown = at_zero.fit().hyperparameters["value"]
    assert shown["A[g][Intercept]"] == pytest.approx(given[0, 0])
    assert stated.fit().hyperparameters.loc["A[g][Intercept]", "value"] == pytest.approx(1.0)


def test_the_graph_has_both_scales(fits):
    graph = fits[0].graph(collapsed=True)
    assert {"Sigma_g_used", "Sigma_g", "Sigma_h"} <= set(graph.named_vars)
    assert "Sigma_g_used" not in fits[1].graph(collapsed=True).named_vars
    used, shown = graph["Sigma_g_used"], graph["Sigma_g"]
    value = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]])
    np.testing.assert_allclose(shown.eval({used: value}), BACK @ value @ BACK.T, rtol=1e-12)


def test_columns_that_add_up_to_a_constant_are_refused_on_any_clock():
    data = two_covariates().assign(x=lambda d: 738000 + np.round(3 * d.x), w=lambda d: 5 - d.x, c=0.1)
    assert pmlmm.Model("y ~ (x | g)", data).design.terms[0].q == 2
    for inside in ("x + w", "x + c", "x + I(x + 1)"):
        with pytest.raises(pmlmm.DataError, match="collinear"):
            pmlmm.Model(f"y ~ 1 + ({inside} | g)", data)


def ages(seed, m=30, visits=6):
    """Subjects aged 20 to 80, seen within four years; at age 50 their sds are 5 and .2."""
    rng = np.random.default_rng([seed, 80])
    g, age = np.repeat(np.arange(m), visits), rng.uniform(20, 76, m)[:, None] + np.linspace(0, 4, visits)
    gamma, age = rng.normal(size=(m, 2)) * [5.0, 0.2], age.ravel()
    y = 40 + (0.1 + gamma[g, 1]) * (age - 50) + gamma[g, 0] + rng.normal(size=m * visits)
    return pd.DataFrame({"id": g, "age": age, "y": y}), 0.1 + gamma[:, 1]


@pytest.mark.parametrize(("sets", "least"), [(8, 0.82), pytest.param(40, 0.88, marks=pytest.mark.slow)])
def test_ages_with_each_subject_over_a_few_years(sets, least):
    """From zero the slopes' sd came out at .06 and their intervals covered half; the error of 8 sets' share is .04."""
    sds, inside = [], []
    for seed in range(sets):
        data, slopes = ages(seed)
        fit = pmlmm.Model("y ~ age + (age | id)", data).fit()
        draws = fit.posterior["posterior"]
        own = draws["beta"].sel(coefficient="age") + draws["gamma_id"].sel(id_effect="age")
        low, high = own.quantile(0.025, ("chain", "draw")).values, own.quantile(0.975, ("chain", "draw")).values
        inside.append(np.mean((low <= slopes) & (slopes <= high)))
        sds.append(float(np.sqrt(draws["Sigma_id"][..., 1, 1]).median()))
    assert 0.14 < np.mean(sds) < 0.26
    assert np.mean(inside) > least
