"""What the printed summary says."""

import numpy as np
import pytest

import pmlmm

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_summary_says_what_matters(sleepstudy):
    table = sleepstudy.copy()
    table.loc[[3, 40], "Days"] = np.nan
    fit = pmlmm.Model(FORMULA, table).fit(integrate=False)
    text = " ".join(repr(fit).split())  # wherever lines end
    for words in (
        "18 groups of Subject (9 to 10 rows each)",
        "2 of 180 rows dropped for missing values (Days: 2)",
        "b[Subject]",
        "Days ~ Normal(0, 2.5 sd(y) / sd(x))",
        "Pareto k-hat",
        "given the learned hyperparameters",
        "eta - q + 1 ~ LogNormal",
    ):
        assert words in text
    assert fit.refinement.startswith("refined on the importance-sampled evidence")


def test_what_decides_comes_first(sleep_fit, integrated):
    assert str(integrated).splitlines()[2].startswith("Estimates and intervals carry")
    lines = str(sleep_fit).splitlines()
    assert lines[2].startswith("Intervals are plug-in")
    sections = ["Fixed effects", "Standard deviations", "Hyperparameters", "Priors", "Log evidence"]
    found = [next(k for k, line in enumerate(lines) if line.startswith(section)) for section in sections]
    assert found == sorted(found)


def test_no_line_is_wider_than_a_page(sleep_fit):
    table = {f"a_covariate_with_a_long_name_{k}": np.random.default_rng(k).normal(size=60) for k in range(12)}
    fixed = " + ".join(table)
    table |= {"y": np.random.default_rng(99).normal(size=60), "g": np.repeat(np.arange(12), 5)}
    wide = pmlmm.Model(f"y ~ {fixed} + (1 | g)", table).fit(draws=200)
    for text in (str(sleep_fit), str(sleep_fit.integrate()), str(wide), str(wide.model)):
        assert max(map(len, text.splitlines())) <= 100


def test_standard_deviations_are_medians_of_themselves(sleepstudy):
    """Not roots of the mean variance, which few groups pull up: Dyestuff2 has six, which hardly differ."""
    rng = np.random.default_rng(2)
    y = rng.normal(size=30)
    fit = pmlmm.Model("y ~ 1 + (1 | g)", {"y": y, "g": np.repeat(np.arange(6), 5)}).fit().integrate()
    variances = fit.posterior["posterior"]["Sigma_g"].to_numpy().ravel()
    printed = float(next(line for line in str(fit).splitlines() if line.startswith("  g Intercept")).split()[2])
    assert printed == pytest.approx(np.median(np.sqrt(variances)), rel=0.1)
    assert printed < 0.9 * np.sqrt(np.mean(variances))


def test_nearly_collinear_penalised_columns_are_named(sleepstudy):
    table = sleepstudy.assign(year=sleepstudy["Days"] + 1990.0)
    fit = pmlmm.Model("Reaction ~ year + I(year**2) + (1 | Subject)", table).fit(draws=200)
    assert "'year' and 'I(year ** 2)' correlate at" in repr(fit)


def test_failed_importance_sampling_is_said_in_words(sleepstudy, monkeypatch):
    monkeypatch.setattr("pmlmm.inference.importance._FEWEST_DRAWS", 2.0)  # more than all draws
    fit = pmlmm.Model(FORMULA, sleepstudy).fit(integrate=False)
    assert np.isinf(fit.k_hat)
    assert "importance sampling failed: hardly a draw has a likelihood" in repr(fit)
    assert "nan +- nan" not in repr(fit)


def test_nothing_is_said_of_hyperparameters_where_there_are_none(sleepstudy):
    text = str(pmlmm.Model("Reaction ~ Days", sleepstudy).fit())
    assert "yperparameters" not in text.split("Log evidence")[0]
    assert "eta - q + 1" not in text
