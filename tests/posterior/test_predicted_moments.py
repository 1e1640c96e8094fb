"""Many rows by moments are what all their draws say."""

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.posterior.new_rows import fitted_rows, new_rows
from pmlmm.posterior.predicted_draws import PredictedDraws
from pmlmm.posterior.predicted_moments import many_rows

TAILS = 0.025, 0.975


def both_ways(posterior, rows, response):
    """(sd, ends) by moments and by draws, of the same 4,000 draws but for errors and wide blocks."""
    return [
        way(PredictedDraws(posterior, 4_000, np.random.default_rng(1)))
        for way in (
            lambda drawn: many_rows(drawn, rows, TAILS, response),
            lambda drawn: drawn.sd_and_ends(rows, TAILS, response),
        )
    ]


def assert_same(posterior, rows):
    """The Monte Carlo error of a 2.5% quantile is .04 sds; what rows differ by comes on top."""
    for response in (False, True):
        (sd, ends), (own, quantiles) = both_ways(posterior, rows, response)
        np.testing.assert_allclose(sd, own, rtol=1e-6)
        off = (ends - quantiles) / own[:, None]
        assert off.std() < 0.08
        assert np.abs(off).max() < 0.25


def test_one_factor_known_new_and_none(sleep_fit, sleepstudy):
    """Raw years as well, as squares would cancel there."""
    rows = pd.concat([sleepstudy, sleepstudy.assign(Subject=1)])
    posterior = sleep_fit._posterior
    for effects in (True, False):
        assert_same(posterior, new_rows(posterior.design, rows, None, unseen=True, effects=effects))
    late = sleepstudy.assign(Days=sleepstudy["Days"] + 1.7e9)
    fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", late).fit(integrate=False)
    assert_same(fit._posterior, fitted_rows(fit.model.design))


@pytest.mark.slow
def test_crossed_and_nested_factors(crossed, crossed_fit):
    """Few rows in each set of groups, whose draws are all made; and many."""
    posterior = crossed_fit._posterior
    for rows in (crossed, pd.concat([crossed] * 9)):
        assert_same(posterior, new_rows(posterior.design, rows, None, unseen=False))


def test_wide_blocks(table, block):
    fit = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": block}).fit(integrate=False)
    assert_same(fit._posterior, fitted_rows(fit.model.design))
