"""lme4 and blme: published numbers of other programs for the same objective."""

import numpy as np
import pytest

import pmlmm

FLAT = pmlmm.Flat()


def python_formula(text):
    """R's I(age^2) is I(age**2) here."""
    return text.replace("^", "**")


def r_name(name):
    """formulaic's coefficient names in R's spelling."""
    return name.replace("Intercept", "(Intercept)").replace(" ** ", "^").replace("[T.", "").replace("]", "")


LME4 = [
    (name, formula, reml)
    for name, formulas in {
        "sleepstudy": ["Reaction ~ Days + (Days | Subject)", "Reaction ~ Days + (Days || Subject)"],
        "Orthodont": ["distance ~ age + (age | Subject)", "distance ~ age * Sex + (age | Subject)"],
        "Oxboys": [
            "height ~ age + (age | Subject)",
            "height ~ age + I(age^2) + (age + I(age^2) | Subject)",
        ],
        "Exam": [
            "normexam ~ standLRT + (standLRT | school)",
            "normexam ~ standLRT + sex + schgend + (standLRT | school)",
        ],
    }.items()
    for formula in formulas
    for reml in (False, True)
]


@pytest.mark.parametrize(("name", "formula", "reml"), LME4)
def test_flat_priors_give_lme4(load, reference, name, formula, reml):
    """With density 1 on everything, "joint" is maximum likelihood and "marginal" is REML."""
    expected = next(f for f in reference["lme4"] if (f["dataset"], f["formula"], f["REML"]) == (name, formula, reml))
    table = load(name)
    factor = "school" if name == "Exam" else "Subject"
    priors = {factor: FLAT, "sigma": FLAT, "Intercept": FLAT, "common": FLAT}
    model = pmlmm.Model(python_formula(formula), table, priors, standardize=False)
    fit = model.fit("marginal" if reml else "joint", coordinates="natural")
    assert fit.log_posterior == pytest.approx(expected["logLik"], rel=1e-9)
    assert float(fit.mode["sigma"]) == pytest.approx(expected["sigma"], rel=1e-5)
    for column, value in zip(model.design.coefficients, fit.mode["beta"].to_numpy(), strict=True):
        assert value == pytest.approx(expected["fixef"][r_name(column)], rel=1e-5, abs=1e-5)
    covariances = [np.atleast_2d(block["cov"]) for block in expected["varcorr"].values()]
    for term, cov in zip(model.design.terms, covariances, strict=True):
        sd = np.sqrt(np.diag(cov))
        ours = fit.mode[f"Sigma_{term.name}"].to_numpy()
        np.testing.assert_allclose(ours / np.outer(sd, sd), cov / np.outer(sd, sd), atol=1e-4)


SEVERAL = [
    ("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
    ("Pastes", "strength ~ 1 + (1 | batch/cask)"),
    ("InstEval", "y ~ service + (1 | s) + (1 | d)"),
    pytest.param(
        "InstEval", "y ~ service + studage + lectage + (1 | s) + (1 | d) + (1 | dept)", marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize("reml", [False, True])
@pytest.mark.parametrize(("name", "formula"), SEVERAL)
def test_crossed_and_nested_factors_give_lme4(load, reference, name, formula, reml):
    expected = next(f for f in reference["lme4"] if (f["dataset"], f["formula"], f["REML"]) == (name, formula, reml))
    table = load(name)
    factors = [g.factor for g in pmlmm.Model(formula, table).design.groupings]
    priors = dict.fromkeys([*factors, "sigma", "Intercept"], FLAT)
    if "service" in formula:
        priors["common"] = FLAT
    model = pmlmm.Model(formula, table, priors, standardize=False)
    fit = model.fit("marginal" if reml else "joint", coordinates="natural")
    assert fit.log_posterior == pytest.approx(expected["logLik"], rel=1e-9)
    assert float(fit.mode["sigma"]) == pytest.approx(expected["sigma"], rel=1e-5)
    for factor in factors:
        theirs = expected["varcorr"][":".join(reversed(factor.split(":")))]["cov"]
        np.testing.assert_allclose(fit.mode[f"Sigma_{factor}"], theirs, rtol=1e-4)


def test_an_unpenalised_slope_does_not_depend_on_its_origin(sleepstudy):
    """The prior of the intercept is no penalty on it."""
    slopes = []
    for origin in (0.0, 1e4):
        table = sleepstudy.assign(Days=sleepstudy["Days"] + origin)
        priors = {"Days": pmlmm.Ridge(0), "Subject": pmlmm.InverseWishart(0.5, [[600]])}
        slopes.append(float(pmlmm.Model("Reaction ~ Days + (1 | Subject)", table, priors).fit().mean["beta"][1]))
    assert slopes[0] == pytest.approx(10.467, abs=1e-3)  # least squares: the design is balanced
    assert slopes[1] == pytest.approx(slopes[0], rel=1e-6)


def test_conditional_modes_of_gamma_are_lme4s(sleepstudy, reference):
    expected = next(f for f in reference["lme4"] if f["dataset"] == "sleepstudy" and not f["REML"])
    priors = dict.fromkeys(("Subject", "sigma", "Intercept", "common"), FLAT)
    fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy, priors).fit("joint")
    head = expected["ranef_head"]["Subject"]
    ours = fit.mode["gamma_Subject"].sel(Subject=[int(x) for x in head["levels"]])
    np.testing.assert_allclose(ours, head["values"], rtol=1e-4)


def test_a_tiny_lambda_is_not_flat_in_sigma(sleepstudy, reference):
    """beta ~ N(0, sigma^2 / lambda) has density proportional to sigma^-p however small lambda is."""
    expected = next(f for f in reference["lme4"] if f["dataset"] == "sleepstudy" and not f["REML"])
    tiny = pmlmm.Ridge(1e-9)
    priors = {"Subject": FLAT, "sigma": FLAT, "Intercept": tiny, "common": tiny}
    fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy, priors, standardize=False).fit("joint")
    # sigma^2 then has n + p instead of n degrees of freedom, of which 2 m are spent on gamma
    n, p, spent = 180, 2, 36
    ratio = float(fit.mode["sigma"]) ** 2 / expected["sigma"] ** 2
    assert ratio == pytest.approx((n - spent) / (n - spent + p), rel=1e-3)


@pytest.mark.parametrize("index", range(4))
def test_blme_objective_and_mode(load, reference, index):
    expected = reference["blme"][index]
    sd_intercept, sd_rest = expected["fixef_prior_sd_intercept_then_rest"]
    priors = {
        "Intercept": pmlmm.Ridge(1 / sd_intercept**2),
        "common": pmlmm.Ridge(1 / sd_rest**2),
        "Subject": pmlmm.InverseWishart.from_eta_phi(expected["df"], expected["scale"]),
        "sigma": FLAT,
    }
    model = pmlmm.Model(expected["formula"], load(expected["dataset"]), priors, standardize=False)
    fit = model.fit("marginal" if expected["REML"] else "joint", coordinates="natural")
    # blme's optimum, maximised again by an independent optimiser in the reference
    assert fit.log_posterior == pytest.approx(expected["independent_max_logpost"], rel=1e-10)
    assert fit.log_posterior == pytest.approx(expected["blme_logpost"], rel=1e-8)
    assert float(fit.mode["sigma"]) == pytest.approx(expected["independent_max"]["sigma"], rel=1e-5)
    np.testing.assert_allclose(fit.mode["Sigma_Subject"], expected["independent_max"]["cov"], rtol=1e-5)
    np.testing.assert_allclose(fit.mode["beta"], list(expected["fixef"].values()), rtol=1e-5)
