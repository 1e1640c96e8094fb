"""Predictions given lme4's sigma and Sigma, under flat priors of beta, are lme4's."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pmlmm
from pmlmm.posterior.draws import WeightedDraws
from pmlmm.posterior.learned import LearnedPosterior
from pmlmm.posterior.predict import predict
from pmlmm.posterior.tree import covariance_draws
from tests.problems import DATA, read

FITS = json.loads((DATA / "predictions.json").read_text())["fits"]


class At(LearnedPosterior):
    """Every draw of (sigma, Sigma) is this one."""

    def __init__(self, learned, natural):
        super().__init__(learned)
        self.natural = natural

    def draw(self, number, rng):
        natural = np.repeat(self.natural[None], number, axis=0)
        return WeightedDraws(self.problem, natural, self.learned.theta.log_lambda, np.full(number, 1.0 / number))


@pytest.fixture(params=FITS, ids=[fit["dataset"] for fit in FITS])
def theirs(request):
    return request.param


@pytest.fixture
def ours(theirs):
    """The posterior at lme4's estimates."""
    flat, table = pmlmm.Flat(), read(theirs["dataset"])
    fixed = ["Intercept", "common"] if "~ 1" not in theirs["formula"] else ["Intercept"]
    factors = [g.factor for g in pmlmm.Model(theirs["formula"], table).design.groupings]
    priors = dict.fromkeys([*factors, "sigma", *fixed], flat)
    model = pmlmm.Model(theirs["formula"], table, priors, standardize=False)
    fit = model.fit("joint", coordinates="natural")
    values = {"sigma": (("chain", "draw"), [[theirs["sigma"]]])}
    for term in model.design.terms:
        S = np.array(theirs["covariances"][":".join(reversed(term.name.split(":")))], dtype=float)
        values[f"Sigma_{term.name}"] = (
            ("chain", "draw", f"{term.name}_a", f"{term.name}_b"),
            np.atleast_2d(S)[None, None],
        )
    natural = covariance_draws(xr.Dataset(values), model.design, model.statistics.origins)[0, 0]
    return At(fit._posterior.learned, natural)


def table_of(posterior, data=None, **options):
    options = {"kind": "mean", "groups": "known", "interval": 0.95, "penalized": None, "draws": 5000} | options
    return predict(posterior, data, random_seed=1, **options)


def test_rows_of_the_fit(ours, theirs):
    """The sds within five Monte Carlo errors of 20,000 draws."""
    for groups, name in (("known", "conditional"), ("none", "population")):
        found = table_of(ours, groups=groups)
        np.testing.assert_allclose(found["mean"], theirs[name], rtol=1e-6)
        np.testing.assert_allclose(found["sd"], theirs[f"sd_{name}"], rtol=5 / np.sqrt(2 * 20_000))
        response = table_of(ours, groups=groups, kind="response")
        expected = np.hypot(theirs[f"sd_{name}"], theirs["sigma"])
        np.testing.assert_allclose(response["sd"], expected, rtol=5 / np.sqrt(2 * 20_000))


def test_new_levels(ours, theirs):
    new = pd.DataFrame(theirs["new"])
    if "Days" in new:
        new["Subject"] = new["Subject"].astype(int)
    found = table_of(ours, new, groups="new")
    np.testing.assert_allclose(found["mean"], theirs["new_levels"], rtol=1e-6)
    assert found["sd"].iloc[1] > 1.2 * found["sd"].iloc[0]
