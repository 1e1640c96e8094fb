"""MCMC, comparison, predictive draws and left-out groups, on real data."""

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pmlmm
from pmlmm.checks import verdict
from pmlmm.errors import OptionError, PriorError
from pmlmm.kernels.coordinates import unvech

FORMULA = "Reaction ~ Days + (Days | Subject)"
BAD_K = "ignore:Estimated shape parameter of Pareto distribution:UserWarning"


@pytest.fixture(scope="module")
def mcmc(sleep_fit):
    return sleep_fit.sample(progress=False)


@pytest.fixture(scope="module")
def integrated(sleep_fit):
    return sleep_fit.integrate()


def test_nuts_has_the_groups_of_a_posterior(sleep_fit, mcmc):
    assert {"posterior", "sample_stats", "observed_data", "constant_data"} <= set(mcmc.children)
    assert mcmc["posterior"].attrs["graph"] == "collapsed"
    assert set(mcmc["posterior"].data_vars) == set(sleep_fit.posterior["posterior"].data_vars)
    assert mcmc["posterior"]["gamma_Subject"].dims == ("chain", "draw", "Subject", "Subject_effect")
    assert float(az.rhat(mcmc)["sigma"]) < 1.01
    np.testing.assert_array_equal(mcmc["constant_data"]["X"][:, 1], mcmc["constant_data"]["X"].sel(coefficient="Days"))


def test_the_same_seed_gives_the_same_chains(sleep_fit):
    options = {"draws": 50, "tune": 50, "chains": 2, "progress": False}
    first, second, other = (sleep_fit.sample(random_seed=seed, **options) for seed in (3, 3, 4))
    xr.testing.assert_equal(first["posterior"].to_dataset(), second["posterior"].to_dataset())
    assert not np.array_equal(first["posterior"]["sigma"], other["posterior"]["sigma"])


def test_comparison_of_a_good_fit(sleep_fit, mcmc):
    report = pmlmm.compare(sleep_fit, mcmc)
    assert report.trustworthy == {"NUTS": True, "Laplace": True, "PSIS": True}
    assert (report.table["PSIS", "z"] < 3.5).all()
    assert report.table.index[0] in ("sigma", "Sigma_Subject[Intercept, Intercept]", "Sigma_Subject[Days, Days]")
    psis, bridge = report.evidence.loc["PSIS"], report.evidence.loc["bridge"]
    assert abs(psis["log_evidence"] - bridge["log_evidence"]) < 3 * np.hypot(psis["error"], bridge["error"])
    assert report.effects.loc["gamma_Subject", "number"] == 36
    assert report.effects.loc["gamma_Subject", "shift"] < 0.1
    text = repr(report)
    assert "Verdict: use the fit's mean, sd and posterior" in text
    assert "bridge" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.slow
def test_comparison_of_an_integrated_fit(integrated, sleep_fit, mcmc):
    sampled = sleep_fit.sample(600, hyperparameters=True, progress=False)
    report = pmlmm.compare(integrated, sampled)
    assert report.trustworthy["NUTS"]
    assert report.trustworthy["integrated"]
    assert (report.table["integrated", "z"] < 4).all()
    one, other = report.evidence["log_evidence"]
    assert abs(one - other) < 3 * np.hypot(*report.evidence["error"])
    for name in ("lambda_common", "b_Subject", "A_Subject"):
        draws, reference = integrated.posterior["posterior"][name], sampled["posterior"][name]
        shift = (np.log(draws).mean(("chain", "draw")) - np.log(reference).mean(("chain", "draw"))) / np.log(
            reference
        ).std(("chain", "draw"))
        assert float(np.abs(shift).max()) < 0.2
    with pytest.raises(OptionError, match=r"compare\(fit.integrate\(\), mcmc\)"):
        pmlmm.compare(sleep_fit, sampled)
    with pytest.raises(OptionError, match="hyperparameters=True"):
        pmlmm.compare(integrated, mcmc)


def test_intervals_of_the_integrated_fit_are_wider(sleep_fit, integrated):
    name = "Sigma_Subject"
    ratio = integrated.sd[name] / sleep_fit.sd[name]
    assert float(ratio[0, 0]) > 1.3
    table = integrated.hyperparameters
    assert (table.loc["b[Subject]", ["lower", "upper"]].diff().iloc[1]) > 0.3
    np.testing.assert_allclose(integrated.predict(), sleep_fit.predict(), atol=6.0)
    assert "carry the uncertainty" in repr(integrated)
    assert integrated.k_hat < 0.7
    assert isinstance(integrated, pmlmm.Fit)


def bad_fit():
    """Four groups, three effects, b at its lower bound: hardly a prior, hardly data."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(4), 4)
    z = rng.normal(size=(16, 3))
    table = pd.DataFrame({"g": group, "z0": z[:, 0], "z1": z[:, 1], "z2": z[:, 2], "y": rng.normal(size=16)})
    prior = {"g": pmlmm.InverseWishart(b=6 / 10 + 0.003, A=0.5 * np.eye(3))}
    return pmlmm.Model("y ~ 1 + (0 + z0 + z1 + z2 | g)", table, prior).fit()


def test_comparison_of_a_bad_fit_says_so():
    fit = bad_fit()
    report = pmlmm.compare(fit, fit.sample(1500, tune=1500, progress=False))
    assert report.trustworthy["NUTS"]
    assert not report.trustworthy["Laplace"]
    assert "Laplace is not to be trusted" in report.verdict
    assert "Use the NUTS draws" in report.verdict or "importance-sampled correction, not plain" in report.verdict


def marginal_table(shift, ratio, z, noise=0.02):
    columns = pd.MultiIndex.from_product([["Laplace", "PSIS"], ["shift", "sd ratio", "z", "mcse"]])
    columns = columns.append(pd.MultiIndex.from_product([["NUTS"], ["mean", "sd"]]))
    row = [shift, ratio, z, 0.02, shift / 3, 1.01, 1.0, noise, 0.0, 1.0]
    return pd.DataFrame([row], columns=columns, index=["Sigma_g[z, z]"])


GOOD = {"r_hat": 1.002, "ess": 2000.0, "divergences": 0, "draws": 4000, "k_hat": 0.3}


@pytest.mark.parametrize(
    ("numbers", "diagnostics", "expected"),
    [
        ((0.05, 1.02, 2.0), {}, "use the fit's mean, sd and posterior (Laplace's approximation and its correction)"),
        ((0.40, 1.02, 9.0), {}, "the importance-sampled correction, not plain Laplace"),
        ((0.05, 1.02, 2.0), {"k_hat": 0.9}, "Laplace's approximation, uncorrected, which is as good as NUTS"),
        ((np.nan, 1.02, np.nan), {"k_hat": 0.9}, "do not use"),
        ((0.40, 1.02, 9.0, 0.3), {}, "do not use"),
        ((0.05, 1.02, 2.0, 0.3), {}, "PSIS (k-hat 0.30) is too noisy to tell"),
        ((0.40, 1.02, 9.0), {"k_hat": 0.9}, "do not use the fit's intervals here. Use the NUTS draws"),
        ((0.05, 1.02, 2.0), {"r_hat": 1.2}, "no verdict before NUTS has converged"),
        ((0.05, 1.02, 2.0), {"divergences": 100}, "no verdict before NUTS has converged"),
        ((0.05, 1.02, 2.0), {"ess": 90.0}, "no verdict before NUTS has converged"),
    ],
)
def test_verdicts(sleep_fit, numbers, diagnostics, expected):
    good, words = verdict.judge(marginal_table(*numbers), pd.DataFrame(), GOOD | diagnostics)
    assert expected in " ".join(words.split())
    assert not ("no verdict" in words and any(good.values()))


def test_a_random_effect_far_off_decides_too(sleep_fit):
    effects = pd.DataFrame({"number": [36], "shift": [4.0]}, index=["gamma_Subject"])
    good, words = verdict.judge(marginal_table(0.05, 1.02, 2.0), effects, GOOD)
    assert not good["PSIS"]
    assert "4.00 sds from NUTS's" in words
    assert "do not use the fit's intervals" in words


def test_comparison_refuses_other_draws(sleep_fit, sleepstudy, mcmc):
    other = pmlmm.Model("Reaction ~ 1 + (1 | Subject)", sleepstudy).fit()
    with pytest.raises(OptionError, match="other coefficients"):
        pmlmm.compare(other, mcmc)
    with pytest.raises(OptionError, match="DataTree"):
        pmlmm.compare(sleep_fit, mcmc["posterior"].to_dataset())
    with pytest.raises(OptionError, match="'Sigma_Subject'"):
        pmlmm.compare(
            sleep_fit, xr.DataTree.from_dict({"posterior": mcmc["posterior"].to_dataset()[["sigma", "beta"]]})
        )


def test_picture(sleep_fit, mcmc):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    report = pmlmm.compare(sleep_fit, mcmc)
    figure = report.plot(4)
    shown = [axis.get_xlabel() for axis in figure.axes if axis.get_visible()]
    assert shown == list(report.table.index[:4])
    assert [line.get_label() for line in figure.axes[0].lines] == ["Laplace", "PSIS", "NUTS"]
    matplotlib.pyplot.close(figure)


def test_posterior_predictive_moments(sleep_fit):
    tree = sleep_fit.sample_posterior_predictive()
    replicated = tree["posterior_predictive"]["Reaction"]
    np.testing.assert_allclose(replicated.mean(("chain", "draw")), sleep_fit.predict(), atol=4.0)
    gamma, beta = tree["posterior"]["gamma_Subject"], tree["posterior"]["beta"]
    # the same draws as in the posterior group: conditional log-likelihood by hand for one row
    row = 25
    subject = sleep_fit.model.design.groupings[0].codes[row]
    X = sleep_fit.model.design.X[row]
    mean = (beta * X).sum("coefficient") + (gamma[:, :, subject] * X).sum("Subject_effect")
    z = (sleep_fit.model.design.y[row] - mean) / tree["posterior"]["sigma"]
    expected = -0.5 * np.log(2 * np.pi) - np.log(tree["posterior"]["sigma"]) - 0.5 * z**2
    np.testing.assert_allclose(tree["log_likelihood"]["Reaction"][:, :, row], expected, rtol=1e-10)


def test_group_log_likelihood_is_the_dense_normal(sleep_fit):
    from scipy.stats import multivariate_normal

    tree = sleep_fit.sample_posterior_predictive(draws=3)
    draw = tree["posterior"].isel(chain=1, draw=2)
    rows = slice(10, 20)  # the second subject
    design = sleep_fit.model.design
    X, y = design.X[rows], design.y[rows]
    V = float(draw["sigma"]) ** 2 * np.eye(10) + X @ draw["Sigma_Subject"].to_numpy() @ X.T
    expected = multivariate_normal(X @ draw["beta"].to_numpy(), V).logpdf(y)
    assert float(tree["log_likelihood"]["Reaction_by_Subject"][1, 2, 1]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.filterwarnings(BAD_K)
def test_arviz_runs_on_the_tree(sleep_fit, mcmc):
    tree = sleep_fit.sample_posterior_predictive(mcmc)
    assert az.loo(tree, var_name="Reaction").elpd == pytest.approx(-860.5, abs=4.0)
    own = sleep_fit.sample_posterior_predictive()
    assert az.loo(own, var_name="Reaction").elpd == pytest.approx(-860.5, abs=4.0)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    az.plot_ppc_dist(own, num_samples=20)
    az.plot_ppc_dist(sleep_fit.sample_prior_predictive(50), group="prior_predictive", num_samples=20)
    matplotlib.pyplot.close("all")


def test_prior_predictive_moments(sleepstudy):
    prior = {
        "Intercept": pmlmm.Ridge(0.25),
        "common": pmlmm.Ridge(4.0),
        "Subject": pmlmm.InverseWishart(eta=12.0, A=[[2.0, 0.3], [0.3, 0.5]]),
        "sigma": pmlmm.HalfStudentT(30, 1.0),
    }
    fit = pmlmm.Model(FORMULA, sleepstudy, prior).fit(refine=False)
    tree = fit.sample_prior_predictive(6000)
    draws, design = tree["prior"], fit.model.design
    sigma2 = float((draws["sigma"] ** 2).mean())
    assert sigma2 == pytest.approx(30 / 28, rel=0.06)
    Phi = (12 + 3) * np.array([[2.0, 0.3], [0.3, 0.5]])
    mean = Phi / (12 - 3)
    np.testing.assert_allclose(draws["Sigma_Subject"].mean(("chain", "draw")), mean, rtol=0.1, atol=0.05)
    X = design.X
    standard = (X[:, 1] - X[:, 1].mean()) / X[:, 1].std()
    expected = sigma2 * (1 + 1 / 0.25 + standard**2 / 4.0) + np.einsum("na,ab,nb->n", X, mean, X)
    replicated = tree["prior_predictive"]["Reaction"]
    np.testing.assert_allclose(replicated.var(("chain", "draw")), expected, rtol=0.12)
    assert tree["prior"]["beta"].dims == ("chain", "draw", "coefficient")


def test_prior_predictive_needs_proper_priors(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.Flat()}).fit()
    with pytest.raises(PriorError, match="flat"):
        fit.sample_prior_predictive()


def test_left_out_groups_are_exact_given_sigma_and_Sigma(sleepstudy):
    """log p(y_g | y_-g, theta) as a difference of two marginal likelihoods of the same model."""
    prior = {"Intercept": pmlmm.Ridge(1e-4), "sigma": pmlmm.HalfStudentT(4, 50.0), "common": pmlmm.Ridge(1.0)}
    prior["Subject"] = pmlmm.InverseWishart(b=0.5, A=[[600.0, 0.0], [0.0, 40.0]])
    table = sleepstudy.iloc[: 6 * 10].drop(index=[3, 4, 17])  # groups of different sizes
    model = pmlmm.Model(FORMULA, table, prior, standardize=False)
    fit = model.fit(draws=200)
    from pmlmm.checks.leave_group_out import group_densities, row_batches
    from pmlmm.crossproducts.statistics import build_statistics

    statistics = build_statistics(
        model.design, model.priors, model.statistics.standardization, method="groups", factor="Subject"
    )
    law = fit._posterior.weighted.take(np.array([0, 5, 9]))
    values = group_densities(law, statistics, list(row_batches(model.design, statistics, "Subject")), 6)
    for g, subject in enumerate(table["Subject"].unique()):
        rest = pmlmm.Model(FORMULA, table[table["Subject"] != subject], prior, standardize=False).fit(refine=False)
        draws = fit.posterior["posterior"].to_dataset().isel(chain=[0], draw=[0, 1, 2]).copy(deep=True)
        draws["sigma"][0] = law.natural[:, 0]
        draws["Sigma_Subject"][0] = unvech(law.natural[:, 1:], 2)
        expected = fit.marginal_log_likelihood(draws) - rest.marginal_log_likelihood(draws)
        np.testing.assert_allclose(values[:, g], expected[0], rtol=1e-8)


@pytest.mark.filterwarnings(BAD_K)
def test_left_out_groups_rank_models(sleep_fit, sleepstudy, integrated):
    slopes = sleep_fit.logo()
    intercepts = pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy).fit().logo("Subject")
    table = az.compare({"slopes": slopes, "intercepts": intercepts})
    assert list(table.index) == ["slopes", "intercepts"]
    assert slopes.n_data_points == 18
    assert integrated.logo().elpd == pytest.approx(slopes.elpd, abs=6.0)
    with pytest.raises(OptionError, match="'Days'"):
        sleep_fit.logo("Days")


def test_options_of_the_checks(sleep_fit):
    for options, match in (
        ({"draws": 2}, "draws"),
        ({"chains": 0}, "chains"),
        ({"tune": 3}, "tune"),
        ({"sampler": "hmc"}, "choose one of"),
        ({"random_seed": -1}, "at least 0"),
        ({"hyperparameters": True, "collapsed": False}, "collapsed"),
    ):
        with pytest.raises(OptionError, match=match):
            sleep_fit.sample(progress=False, **options)
    with pytest.raises(OptionError, match="nodes"):
        sleep_fit.integrate(nodes=3)
    with pytest.raises(OptionError, match="draws"):
        sleep_fit.sample_posterior_predictive(draws=0)


def test_draws_of_another_fit_are_refused(sleep_fit, sleepstudy, mcmc):
    other = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.InverseWishart(b=0.8)}).fit()
    with pytest.raises(OptionError, match="other hyperparameters"):
        pmlmm.compare(other, mcmc)
    moved = pmlmm.Model(FORMULA, sleepstudy.assign(Reaction=sleepstudy["Reaction"] + 1.0)).fit()
    with pytest.raises(OptionError, match="other data"):
        pmlmm.compare(moved, mcmc)
    with pytest.raises(OptionError, match="other data"):
        moved.sample_posterior_predictive(mcmc)
    with pytest.raises(OptionError, match="leave draws= out"):
        sleep_fit.sample_posterior_predictive(mcmc, draws=10)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_units_of_the_response_do_not_matter(sleepstudy, unit):
    fit = pmlmm.Model(FORMULA, sleepstudy.assign(Reaction=sleepstudy["Reaction"] * unit)).fit()
    report = pmlmm.compare(fit, fit.sample(400, progress=False))
    assert report.trustworthy["PSIS"]
    one, other = report.evidence.loc["PSIS"], report.evidence.loc["bridge"]
    assert abs(one["log_evidence"] - other["log_evidence"]) < 4 * np.hypot(one["error"], other["error"])
    assert fit.integrate().k_hat < 0.7


def test_prior_predictive_of_a_prior_that_says_next_to_nothing():
    tree = bad_fit().sample_prior_predictive(200)
    assert np.isfinite(tree["prior_predictive"]["y"]).all()


@pytest.mark.slow
def test_noisy_integration_is_not_called_good(sleep_fit, sleepstudy):
    integrated = sleep_fit.integrate(nodes=64, draws=1)
    report = pmlmm.compare(integrated, sleep_fit.sample(600, hyperparameters=True, progress=False))
    assert not report.trustworthy["integrated"]
