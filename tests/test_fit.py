"""What a fit gives back, on sleepstudy."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pmlmm
from pmlmm.kernels.coordinates import unvech

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_hyperparameters_are_labelled_values_with_intervals(sleep_fit):
    table = sleep_fit.hyperparameters
    assert list(table.index) == [
        "lambda[Intercept]",
        "lambda[common]",
        "b[Subject]",
        "A[Subject][Intercept]",
        "A[Subject][Days]",
    ]
    assert table.loc["lambda[Intercept]", "state"] == "fixed"
    learned = table.iloc[1:]
    assert (learned["state"] == "interior").all()
    assert ((learned["lower"] < learned["value"]) & (learned["value"] < learned["upper"])).all()
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
    table = sleep_fit.hyperparameters.loc["lambda[common]"]
    assert np.log(table["upper"] / table["value"]) / 1.959964 == pytest.approx(sd[0], rel=1e-2)


def test_mode_and_mean_are_labelled(sleep_fit):
    for estimate in (sleep_fit.mode, sleep_fit.mean):
        assert estimate["beta"].sel(coefficient="Days") == pytest.approx(10.2, abs=0.3)
        assert estimate["Sigma_Subject"].dims == ("Subject_effect1", "Subject_effect2")
        assert estimate["gamma_Subject"].dims == ("Subject", "Subject_effect")
        assert estimate["gamma_Subject"].sel(Subject=308, Subject_effect="Days") > 5
    assert sleep_fit.mode.attrs["coordinates"] == "unconstrained"


def test_posterior_is_arviz_data(sleep_fit):
    posterior = sleep_fit.posterior
    assert posterior["posterior"].sizes["chain"] == 4
    summary = az.summary(posterior, var_names=["beta", "sigma", "Sigma_Subject"], round_to="none")
    assert (summary["r_hat"].astype(float) < 1.02).all()
    for name in ("beta", "sigma", "Sigma_Subject", "gamma_Subject"):
        draws = posterior["posterior"][name]
        mean, sd = draws.mean(("chain", "draw")), draws.std(("chain", "draw"))
        assert float((np.abs(mean - sleep_fit.mean[name]) / sd).max()) < 0.1
    np.testing.assert_array_equal(posterior["observed_data"]["Reaction"], sleep_fit.model.design.y)
    assert float(posterior["proposal"]["weight"].sum()) == pytest.approx(1.0)


def test_posterior_goes_to_disk_and_back(sleep_fit, tmp_path):
    sleep_fit.posterior.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as back:
        xr.testing.assert_allclose(back["posterior"].to_dataset(), sleep_fit.posterior["posterior"].to_dataset())


def test_gamma_is_drawn_from_its_conditional_law(sleep_fit):
    """Given one (sigma, Sigma), beta and gamma against the dense joint normal."""
    fit = sleep_fit
    design, theta = fit.model.design, fit._posterior.learned.mode.natural
    term = design.terms[0]
    parameters = fit._posterior.parameters(np.repeat(theta[None], 6000, axis=0))
    rng = np.random.default_rng(0)
    gamma = parameters.gamma(parameters.effects(rng).drawn, rng)["gamma_Subject"][:, 3]
    standard = fit.model.statistics.standardization
    X = (design.X - standard.center) / standard.scale
    Z = term.Z * (term.grouping.codes == 3)[:, None]
    Sigma, n = unvech(theta[1:], 2), design.n_rows
    same = term.grouping.codes[:, None] == term.grouping.codes
    V = theta[0] ** 2 * (np.eye(n) + (X * np.exp(-fit._posterior.learned.theta.log_lambda)) @ X.T)
    V += (term.Z @ Sigma @ term.Z.T) * same
    gain = Sigma @ Z.T @ np.linalg.inv(V)
    mean, cov = gain @ (design.y - standard.offset), Sigma - gain @ Z @ Sigma
    error = np.sqrt(np.diag(cov) / 6000)
    assert np.max(np.abs(gamma.mean(axis=0) - mean) / error) < 4.5
    np.testing.assert_allclose(
        np.cov(gamma.T) / np.sqrt(np.outer(*[np.diag(cov)] * 2)),
        cov / np.sqrt(np.outer(*[np.diag(cov)] * 2)),
        atol=0.06,
    )


def test_profile_peaks_at_the_fit(sleep_fit):
    profile = sleep_fit.profile("b[Subject]", points=7, width=2.0)
    assert len(profile) == 7  # the middle of the grid is the learned value, once
    total = profile["log_evidence_psis"] + profile["log_hyperprior"]
    best = profile.loc[total.idxmax()]
    assert best["value"] == pytest.approx(sleep_fit.hyperparameters.loc["b[Subject]", "value"], abs=0.1)
    assert (np.abs(profile["log_evidence"] - profile["log_evidence_psis"]) < 5 * profile["error"] + 0.05).all()
    with pytest.raises(ValueError, match=r"not a learned hyperparameter.*'b\[Subject\]'"):
        sleep_fit.profile("b")


def test_predictions(sleep_fit, sleepstudy):
    fitted = sleep_fit.predict()
    assert np.corrcoef(fitted, sleepstudy["Reaction"])[0, 1] > 0.88
    np.testing.assert_allclose(sleep_fit.predict(sleepstudy.iloc[20:25]), fitted[20:25])
    new = sleepstudy.iloc[:2].assign(Subject=[999, 308])
    with pytest.raises(pmlmm.errors.DataError, match=r"1 groups that the fit has not seen \(first: 999\)"):
        sleep_fit.predict(new)
    population = sleep_fit.predict(new, new_groups="population")
    assert population[0] == pytest.approx(float(sleep_fit.mean["beta"][0]))
    assert population[1] == pytest.approx(fitted[1])
    assert np.isnan(sleep_fit.predict(new.assign(Days=[np.nan, 1]), new_groups="population")[0])


def test_summary_says_what_matters(sleepstudy):
    table = sleepstudy.copy()
    table.loc[[3, 40], "Days"] = np.nan
    fit = pmlmm.Model(FORMULA, table).fit()
    text = repr(fit)
    for words in (
        "18 groups of Subject (9 to 10 rows each)",
        "2 of 180 rows dropped for missing values (Days: 2)",
        "b[Subject]",
        "lambda[common]",
        "Pareto k-hat",
        "given the learned hyperparameters",
        "eta - q + 1 ~ LogNormal",
        "refined on the importance-sampled evidence",
    ):
        assert words in text


def test_plain_empirical_bayes_reports_its_bound_in_words(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy).fit(hyperprior=None)
    row = fit.hyperparameters.loc["b[Subject]"]
    assert row["value"] == pytest.approx(0.999)
    assert row["state"].startswith("at its upper bound: Sigma of Subject sits on its prior target")
    assert "none (plain empirical Bayes)" in repr(fit)


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


def test_identity_structure_learns_one_number(sleepstudy):
    fit = pmlmm.Model(FORMULA, sleepstudy, {"Subject": pmlmm.InverseWishart(A="identity")}).fit()
    assert [name for name in fit.hyperparameters.index if name.startswith("A")] == ["A[Subject]"]


def test_joint_by_em_is_joint_by_newton(sleepstudy):
    model = pmlmm.Model(FORMULA, sleepstudy)
    by_newton, by_em = model.fit("joint"), model.fit("joint", optimizer="em")
    assert by_em.log_evidence == pytest.approx(by_newton.log_evidence, abs=1e-3)
    # the evidence is flat at its top: hyperparameters agree to the search's tolerance
    np.testing.assert_allclose(by_em.hyperparameters["value"], by_newton.hyperparameters["value"], rtol=1e-2)


def test_options_are_checked(sleepstudy):
    model = pmlmm.Model(FORMULA, sleepstudy)
    for options in (
        {"approximation": "both"},
        {"coordinates": "polar"},
        {"refine": 1},
        {"draws": 10},
        {"random_seed": -1},
        {"hyperprior": False},
    ):
        with pytest.raises(pmlmm.errors.OptionError, match="fit\\("):
            model.fit(**options)
    with pytest.raises(ValueError, match="coordinates='natural'"):
        model.fit(optimizer="em")


@pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
def test_graphs_carry_the_learned_values(sleep_fit):
    for collapsed in (False, True):
        model = sleep_fit.graph(collapsed=collapsed)
        assert isinstance(model, pm.Model)
        learned = sleep_fit.hyperparameters.loc["b[Subject]", "value"]
        assert model["b_Subject"].get_value() == pytest.approx(learned)
    assert "gamma_Subject" not in sleep_fit.graph(collapsed=True).named_vars


def test_large_problems_skip_importance_sampling_and_say_so(sleepstudy, monkeypatch):
    monkeypatch.setattr("pmlmm.inference.learn._MOST_WORK", 1.0)
    fit = pmlmm.Model(FORMULA, sleepstudy).fit()
    assert fit.refinement.startswith("not refined: 2000 draws over 18 groups")
    assert np.isnan(fit.k_hat)
    assert "Laplace approximation, uncorrected" in repr(fit)
    assert "proposal" not in fit.posterior
    insisting = pmlmm.Model(FORMULA, sleepstudy).fit(refine=True)
    assert np.isfinite(insisting.k_hat)


def test_new_levels_and_context_in_predictions(sleepstudy):
    table = sleepstudy.assign(c=np.where(sleepstudy["Days"] > 4, "late", "early"))
    fit = pmlmm.Model("Reaction ~ c + f(Days) + (1 | Subject)", table, context={"f": np.sqrt}).fit(draws=200)
    np.testing.assert_allclose(fit.predict(table), fit.predict())
    with pytest.raises(pmlmm.errors.DataError, match="on the new data"):
        fit.predict(table.assign(c="never"))
    assert np.isnan(fit.predict(table.head(1).assign(Days=np.nan))).all()


def test_nearly_collinear_penalised_columns_are_named(sleepstudy):
    table = sleepstudy.assign(year=sleepstudy["Days"] + 1990.0)
    fit = pmlmm.Model("Reaction ~ year + I(year**2) + (1 | Subject)", table).fit(draws=200)
    assert "'year' and 'I(year ** 2)' correlate at" in repr(fit)


def noise_model():
    """Eight covariates that have nothing to do with y, and groups whose means of y are equal."""
    rng = np.random.default_rng(3)
    table = {f"x{k}": rng.normal(size=80) for k in range(8)}
    noise = rng.normal(size=(16, 5))
    table |= {"g": np.repeat(np.arange(16), 5), "y": (noise - noise.mean(axis=1, keepdims=True)).ravel()}
    return pmlmm.Model("y ~ " + " + ".join(f"x{k}" for k in range(8)) + " + (1 | g)", table)


def test_flat_ends_are_named():
    model = noise_model()
    plain = model.fit(hyperprior=None).hyperparameters["state"]
    assert "these coefficients are indistinguishable from zero" in plain["lambda[common]"]
    assert "the groups of g hardly differ in this effect" in plain["A[g][Intercept]"]
    table = model.fit().hyperparameters  # the hyperprior holds lambda off its flat end
    assert table.loc["lambda[common]", "state"].startswith("interior")
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


def test_failed_importance_sampling_is_said_in_words(sleepstudy, monkeypatch):
    monkeypatch.setattr("pmlmm.inference.importance._FEWEST_DRAWS", 2.0)  # more than all draws
    fit = pmlmm.Model(FORMULA, sleepstudy).fit()
    assert np.isinf(fit.k_hat)
    assert "importance sampling failed: hardly a draw has a likelihood" in repr(fit)
    assert "nan +- nan" not in repr(fit)
