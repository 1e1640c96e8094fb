"""What the printed summary says."""

import numpy as np

import pmlmm

FORMULA = "Reaction ~ Days + (Days | Subject)"


def test_summary_says_what_matters(sleepstudy):
    table = sleepstudy.copy()
    table.loc[[3, 40], "Days"] = np.nan
    fit = pmlmm.Model(FORMULA, table).fit()
    text = repr(fit)
    for words in (
        "18 groups of Subject (9 to 10 rows each)",
        "2 of 180 rows dropped for missing values (Days: 2)",
        "b[Subject]",
        "Days ~ Normal(0, 2.5 sd(y) / sd(x))",
        "Pareto k-hat",
        "given the learned hyperparameters",
        "eta - q + 1 ~ LogNormal",
        "refined on the importance-sampled evidence",
    ):
        assert words in text


def test_nearly_collinear_penalised_columns_are_named(sleepstudy):
    table = sleepstudy.assign(year=sleepstudy["Days"] + 1990.0)
    fit = pmlmm.Model("Reaction ~ year + I(year**2) + (1 | Subject)", table).fit(draws=200)
    assert "'year' and 'I(year ** 2)' correlate at" in repr(fit)


def test_failed_importance_sampling_is_said_in_words(sleepstudy, monkeypatch):
    monkeypatch.setattr("pmlmm.inference.importance._FEWEST_DRAWS", 2.0)  # more than all draws
    fit = pmlmm.Model(FORMULA, sleepstudy).fit()
    assert np.isinf(fit.k_hat)
    assert "importance sampling failed: hardly a draw has a likelihood" in repr(fit)
    assert "nan +- nan" not in repr(fit)
