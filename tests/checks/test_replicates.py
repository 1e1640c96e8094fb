"""Replicated responses: a round trip, the law they come from, and their place in the table."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.errors import OptionError
from tests.problems import wide_data


@pytest.mark.slow
@pytest.mark.parametrize("groups", ["known", "new"])
def test_a_fit_of_simulated_data_recovers_the_model(sleepstudy, integrated, groups):
    """12 round trips: their mean within 4 standard errors (sd of sigma 1.5, of the slope 1.6, times sqrt(2 / 12))."""
    replicated = integrated.simulate(12, groups=groups, random_seed=3)
    again = [
        pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy.assign(Reaction=replicated[k])).fit(draws=300)
        for k in replicated
    ]
    sigma = np.array([float(fit.mean["sigma"]) for fit in again])
    assert np.mean(sigma) == pytest.approx(float(integrated.mean["sigma"]), abs=2.4)
    slopes = np.array([fit.mean["beta"].to_numpy()[1] for fit in again])
    assert np.mean(slopes) == pytest.approx(float(integrated.mean["beta"][1]), abs=2.6)
    correlations = [
        np.corrcoef(fit.mean["gamma_Subject"][:, 1], integrated.mean["gamma_Subject"][:, 1])[0, 1] for fit in again
    ]
    if groups == "known":
        assert np.mean(correlations) > 0.8
    else:
        assert abs(np.mean(correlations)) < 0.3  # error .07


def test_rows_are_those_of_the_given_table(sleepstudy, integrated):
    data = sleepstudy.set_index(np.arange(180)[::-1])
    data.loc[5, "Days"] = np.nan
    table = pmlmm.Model("log(Reaction) ~ Days + (Days | Subject)", data).fit().simulate(3)
    assert table.index.equals(data.index)
    assert list(table.columns) == [1, 2, 3]
    assert table.loc[5].isna().all()
    assert table.drop(index=5).notna().all(axis=None)
    assert table.max(axis=None) < 8  # of log(Reaction)
    pd.testing.assert_frame_equal(integrated.simulate(2), integrated.simulate(2))
    assert not integrated.simulate(2).equals(integrated.simulate(2, random_seed=1))


@pytest.mark.parametrize("years", [False, True])
def test_means_and_covariances_are_those_of_the_model(years):
    """At fixed hyperparameters and much data: Var(y) of a row of a new group is z' Sigma z + sigma^2."""
    rng = np.random.default_rng(4)
    g, t = np.repeat(np.arange(200), 6), np.tile(np.arange(6.0), 200) + 2000.0 * years
    gamma = rng.normal(size=(200, 2))
    y = gamma[g, 0] + 0.5 * gamma[g, 1] * (t - t.min()) + rng.normal(size=1200)
    fit = pmlmm.Model("y ~ t + (t | g)", pd.DataFrame({"y": y, "t": t, "g": g})).fit(draws=500)
    new, known = (fit.simulate(400, groups=groups).to_numpy().T for groups in ("new", "known"))
    last = t == t.max()
    variance = np.mean(np.var(new[:, last], axis=1, ddof=1))
    assert variance == pytest.approx(1.0 + 0.25 * 25 + 1.0, rel=0.12)  # 200 groups: error .1 of the learned one
    within = y - known
    assert np.mean(np.var(within, axis=1)) == pytest.approx(2.0, rel=0.12)  # two errors, less what shrinks


def test_wide_blocks_are_in_the_mean():
    table, genes = wide_data(p=70)
    fit = pmlmm.Model("y ~ t + (1 + t | ind)", table, penalized={"genes": genes}).fit(integrate=False)
    for groups in ("known", "new"):
        mean = fit.simulate(400, groups=groups).mean(axis=1).to_numpy()
        marginal = table["y"].to_numpy() - fit.residuals("marginal" if groups == "new" else "response").to_numpy()
        spread = fit.simulate(400, groups=groups).std(axis=1).to_numpy()
        assert (np.abs(mean - marginal) < 5.0 * spread / 20).all()


def test_refusals(integrated):
    with pytest.raises(OptionError, match="number=0"):
        integrated.simulate(0)
    with pytest.raises(OptionError, match=r"simulate\(groups='old'\)"):
        integrated.simulate(groups="old")
