import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import pmlmm
from pmlmm.posterior.savage_dickey import log_density_ratio
from pmlmm.report.hypothesis import Names
from tests.test_fixed_effects import trial


@pytest.fixture(scope="module")
def fit():
    return pmlmm.Model("y ~ arm * t + (t | id)", trial()).fit()


@pytest.fixture(scope="module")
def draws(fit):
    return fit.draw_posterior(gamma=False, wide=False)["posterior"].to_dataset().stack(draws=("chain", "draw"))


def test_a_difference_of_marginal_means_is_the_contrast(fit):
    row = fit.hypothesis("arm_new - arm_control < -2").iloc[0]
    contrast = fit.contrast("arm").iloc[0]
    for name in ("sd", "lower", "upper"):
        assert row[name] + (0 if name == "sd" else -2) == pytest.approx(contrast[name])
    assert row["mean"] - 2 == pytest.approx(contrast["mean"])
    assert row["evidence_ratio"] == pytest.approx(row["probability"] / (1 - row["probability"]))


def test_statements_are_shares_of_the_draws(fit, draws):
    beta, sd = draws["beta"], np.sqrt(np.abs(draws["Sigma_id"]))
    slope = beta.sel(coefficient="arm[T.new]:t")
    correlation = draws["Sigma_id"][0, 1] / (sd[0, 0] * sd[1, 1])
    table = fit.hypothesis(
        [
            "`arm[T.new]:t` < -1.9",
            "sd(id, t) > 1",
            "cor(id, Intercept, t) > 0",
            "sd(id, Intercept)^2 / (sd(id, Intercept)^2 + sigma^2) > 0.5",
            "exp(t) - 2*Intercept/60 < -(1.5)",
            "sigma",
        ]
    )
    ratio = draws["Sigma_id"][0, 0] / (draws["Sigma_id"][0, 0] + draws["sigma"] ** 2)
    expected = [slope < -1.9, sd[1, 1] > 1, correlation > 0, ratio > 0.5]
    expected.append(np.exp(beta.sel(coefficient="t")) - beta.sel(coefficient="Intercept") / 30 < -1.5)
    np.testing.assert_allclose(table["probability"].iloc[:5], [float(share.mean()) for share in expected])
    assert table["mean"].iloc[3] == pytest.approx(float(ratio.mean()) - 0.5)
    assert np.isnan(table["probability"].iloc[5])
    assert table.index.name == "hypothesis"


def test_a_coefficient_comes_before_a_level_of_that_name():
    data = trial().assign(arm_new=np.arange(len(trial())) % 3)
    fit = pmlmm.Model("y ~ arm + arm_new + (1 | id)", data).fit()
    assert fit.hypothesis("arm_new > 0")["mean"].iloc[0] == pytest.approx(float(fit.mean["beta"][2]))


def test_equality_is_the_bayes_factor_of_the_model_without():
    """Savage and Dickey against the evidence of two fits, which share everything else."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(12), 5), "x": rng.normal(size=60)})
    data["y"] = 10 + 0.15 * data["x"] + rng.normal(size=12)[data["g"]] + rng.normal(size=60)
    priors = {"Intercept": pmlmm.Normal(0, 20), "g": pmlmm.InverseWishart(0.3, [[1.0]])}
    full = pmlmm.Model("y ~ x + (1 | g)", data, priors | {"x": pmlmm.Normal(0, 0.5)}).fit(integrate=False)
    without = pmlmm.Model("y ~ 1 + (1 | g)", data, priors).fit(integrate=False)
    row = full.hypothesis("x = 0").iloc[0]
    error = np.hypot(full.log_evidence_psis_error, without.log_evidence_psis_error)
    expected = without.log_evidence_psis - full.log_evidence_psis
    assert np.log(row["evidence_ratio"]) == pytest.approx(expected, abs=4 * error + 0.06)  # four of 0.015, over seeds
    assert row["probability"] == pytest.approx(row["evidence_ratio"] / (1 + row["evidence_ratio"]))


def test_the_posterior_density_integrates_to_one(fit):
    """Once multiplied by the prior's, which is the default one here."""
    weights = np.array([0.0, 0.0, 0.0, 1.0, 0.0])
    centre, sd = fit.mean["beta"][3].item(), fit.sd["beta"][3].item()
    grid = np.linspace(centre - 6 * sd, centre + 6 * sd, 61)
    prior = 2.5 * trial()["y"].std(ddof=0) / fit.model.design.X[:, 3].std()
    ratios = np.exp(log_density_ratio(fit._posterior, weights, grid))
    assert np.trapezoid(ratios * norm.pdf(grid, 0.0, prior), grid) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arm_nw > 0", "'arm_nw' is not known.*Did you mean 'arm_new'.*'sd\\(id, t\\)'"),
        ("arm[T.new] > 0", "names of more than a word in backticks"),
        ("t >", "cannot be read"),
        ("t > 0 > sigma", "another comparison"),
        ("t != 0", "another comparison"),
        ("1 > 0", "names no parameter"),
        ("sd(id) > 0", "'sd\\(id\\)' is not known.*'sd\\(id, Intercept\\)', 'sd\\(id, t\\)'"),
        ("cor(id, t) > 0", "Valid choices: 'cor\\(id, Intercept, t\\)'"),
        ("sigma = 1", "'=' is for sums and differences of fixed effects"),
        ("log(t) > 0", "is not defined in"),
        ("__import__('os') > 0", "calls __import__"),
        ("t.real > 0", "has more than names"),
        ("9**9**9 > t", "is not defined in"),
        (f"{10**400} > t", "has more than names"),
        ("t + " * 300 + "t", "may have 1000 characters"),
        ([], "takes a text"),
        (3, "takes a text"),
    ],
)
def test_errors_name_the_way_out(fit, text, message):
    with pytest.raises(pmlmm.OptionError, match=message):
        fit.hypothesis(text)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(alphabet="tsd(id,)`=<>+-*/^.[]'1e \\\n:", max_size=20))
def test_any_text_is_a_table_or_our_error(fit, text):
    with contextlib.suppress(pmlmm.OptionError):
        assert len(fit.hypothesis(text)) == 1


def test_names_are_listed_as_they_are_written():
    """Each listed one, pasted, is a statement."""
    table = trial().rename(columns={"t": "the time", "id": "a.b"})
    table["class"] = table["arm"].str.replace("new", "new (a)")
    fit = pmlmm.Model("y ~ `class` * `the time` + (`the time` | `a.b`)", table).fit(integrate=False)
    known = Names(fit._posterior).known
    assert sum("`" in name for name in known) > 5
    assert len(fit.hypothesis([f"{name} > 0.1" for name in known])) == len(known)
    with pytest.raises(pmlmm.OptionError, match=r"Valid choices: 'sd\(`a.b`, Intercept\)', 'sd\(`a.b`, `the time`"):
        fit.hypothesis("sd(a) > 0")


def test_equality_needs_a_normal_prior():
    data = trial()
    for prior in (pmlmm.Flat(), pmlmm.Ridge(1.0)):
        fit = pmlmm.Model("y ~ t + (1 | id)", data, {"t": prior}).fit(integrate=False)
        with pytest.raises(pmlmm.OptionError, match=r"'t' is flat, or a ridge. Give priors"):
            fit.hypothesis("t = 0")
