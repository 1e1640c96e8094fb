"""Residual checks: quiet where the errors are normal with one variance, and heard where they are not."""

import numpy as np
import pandas as pd
import pytest

import pmlmm

GROUPS, ROWS = 18, 10


def fit_of(errors, seed, scale=1.0):
    """Curves of 18 subjects with errors of some kind, ``(rng, t, subject, mean) -> (n,)``."""
    rng = np.random.default_rng(seed)
    g, t = np.repeat(np.arange(GROUPS), ROWS), np.tile(np.arange(float(ROWS)), GROUPS)
    mean = 20.0 + (1.0 + 0.3 * rng.normal(size=GROUPS)[g]) * t + 2.0 * rng.normal(size=GROUPS)[g]
    y = scale * (mean + errors(rng, t, g, mean))
    return pmlmm.Model("y ~ t + (t | g)", pd.DataFrame({"y": y, "t": t, "g": g})).fit(draws=200, refine=False)


KINDS = {
    "tails": lambda rng, t, g, mean: rng.standard_t(3, size=len(t)),
    "spread by fitted value": lambda rng, t, g, mean: 0.2 * (mean - 16.0) * rng.normal(size=len(t)),
    "spread by g": lambda rng, t, g, mean: np.exp(0.8 * rng.normal(size=GROUPS))[g] * rng.normal(size=len(t)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_errors_are_heard(kind):
    heard = [fit_of(KINDS[kind], seed).check_residuals().loc[kind, "p_value"] < 0.01 for seed in range(8)]
    assert sum(heard) >= 6


@pytest.fixture(scope="module")
def right():
    """40 fits of the right model."""
    return [fit_of(lambda rng, t, g, mean: rng.normal(size=len(t)), seed) for seed in range(40)]


def test_right_errors_are_quiet(right):
    """Three checks in 40 data sets: at .01 each, 1.2 alarms are expected at most."""
    tables = [fit.check_residuals() for fit in right]
    alarms = sum(int((table["p_value"] < 0.01).sum()) for table in tables)
    assert alarms <= 4
    assert (tables[0]["words"] == "nothing against it").all()


def test_the_summary_says_when_not_to_believe_sigma():
    fit = fit_of(KINDS["tails"], 3, scale=1e-6)
    assert "tails are heavier than normal ones" in str(fit)
    assert "do not rely on the interval of sigma" in str(fit)
    assert "do not rely" not in str(fit_of(lambda rng, t, g, mean: rng.normal(size=len(t)), 1))


def test_few_rows_and_no_groups():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=12), "x": rng.normal(size=12)})
    assert list(pmlmm.Model("y ~ x", table).fit().check_residuals().index) == ["spread by fitted value"]


def test_the_same_seed_gives_the_same_table(sleep_fit):
    pd.testing.assert_frame_equal(sleep_fit.check_residuals(), sleep_fit.check_residuals())


@pytest.fixture(scope="module")
def gaps():
    """Sleepstudy with an index of names, and missing values in two columns."""
    data = pmlmm.datasets.load("sleepstudy")
    data.index = [f"r{i}" for i in range(len(data))]
    data.loc["r3", "Reaction"] = np.nan
    data.loc["r70", "Days"] = np.nan
    return data, pmlmm.Model("Reaction ~ Days + (Days | Subject)", data).fit()


def test_residuals_are_aligned_with_the_given_table(gaps):
    data, fit = gaps
    residuals = fit.residuals()
    assert residuals.index.equals(data.index)
    assert residuals[residuals.isna()].index.tolist() == ["r3", "r70"]
    gamma, beta = fit.mean["gamma_Subject"], fit.mean["beta"].to_numpy()
    row = data.loc["r50"]
    effects = gamma.sel(Subject=row["Subject"]).to_numpy()
    assert residuals["r50"] == pytest.approx(row["Reaction"] - (beta + effects) @ [1.0, row["Days"]])
    assert fit.residuals("marginal")["r50"] == pytest.approx(row["Reaction"] - beta @ [1.0, row["Days"]])
    assert fit.residuals("standardized")["r50"] == pytest.approx(residuals["r50"] / float(fit.mean["sigma"]))


def test_pivotal_residuals_are_standard_normal(right):
    """Their mean square over 40 data sets is 1, with error sqrt(2 / (40 * 180)) = .017."""
    squares = [np.mean(fit.residuals("pivotal") ** 2) for fit in right]
    assert np.mean(squares) == pytest.approx(1.0, abs=0.05)


def test_residuals_of_wide_blocks_polars_and_nothing_else():
    import polars as pl

    from tests.problems import wide_data

    table, genes = wide_data(p=20)
    fit = pmlmm.Model("y ~ t + (1 | ind)", pl.from_pandas(table), penalized={"genes": genes}).fit(integrate=False)
    fixed = fit.mean["beta"].to_numpy() @ [np.ones(len(table)), table["t"]]
    fixed = fixed + genes.to_numpy() @ fit.mean["beta_genes"].to_numpy()
    np.testing.assert_allclose(fit.residuals("marginal"), table["y"] - fixed)
    assert isinstance(fit.residuals().index, pd.RangeIndex)
    with pytest.raises(pmlmm.OptionError, match=r"residuals\(kind='pearson'\)"):
        fit.residuals("pearson")
