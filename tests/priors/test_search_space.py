"""The space in which hyperparameters are searched, and the hyperprior over it."""

import numpy as np
import pytest
from scipy import stats

import pmlmm
from pmlmm.priors.hyperprior import Pool
from pmlmm.priors.search_space import build_space
from tests.problems import RIDGE

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.mark.parametrize(("pool_at", "size"), [("largest", 9.0), ("mean square", np.sqrt(np.mean(np.arange(10) ** 2)))])
def test_hyperprior_is_proper_and_draws_are_its_own(sleepstudy, pool_at, size):
    model = pmlmm.Model("Reaction ~ 0 + (Days | Subject)", sleepstudy)
    prior = pmlmm.Hyperprior(level=2.5, eta_sd=0.5, pool_sd=0.6, pool_df=np.inf, pool_at=pool_at)
    space = build_space(model.design, model.priors, model.statistics.columns, prior)
    phi = space.draw_prior(4000, np.random.default_rng(0))
    level = np.mean(phi[:, 1:] - space.start[1:], axis=1)
    share = 1.0 / (1.0 + np.exp(-level))
    assert share.mean() == pytest.approx(0.5, abs=0.02)
    assert share.var() == pytest.approx(0.25 / 6.0, abs=0.003)  # of Beta(2.5, 2.5)
    apart = np.diff(phi[:, 1:], axis=1)  # log A of the slopes minus log A of the intercepts
    assert apart.mean() == pytest.approx(-2.0 * np.log(size), abs=0.05)
    assert apart.std() == pytest.approx(0.6 * np.sqrt(2), abs=0.04)
    # E[1 / p] over draws of p is the volume of the region that is looked at
    box = np.all(np.abs(phi - space.start) < 1.0, axis=1)
    inverse = np.array([np.exp(-space.log_prior(point)[0]) for point in phi[box]])
    assert np.sum(inverse) / len(phi) == pytest.approx(8.0, rel=0.1)


def test_a_heavy_tailed_pool_is_a_normal_one_whose_variance_is_learned():
    """Its density is the average of normal ones over chi-squared precisions, and its draws are its own."""
    rng = np.random.default_rng(2)
    heavy, sizes = pmlmm.Hyperprior(pool_sd=0.8, pool_df=3.0), np.array([1.0, 2.0, 0.5])
    pool = Pool("A", np.arange(3), np.zeros(3), sizes)
    phi = pool.shape + np.array([0.9, -1.1, 0.4])
    scales = 0.8 / np.sqrt(rng.chisquare(3.0, 20_000) / 3.0)
    each = [pool.spread(phi, pmlmm.Hyperprior(pool_sd=sd, pool_df=np.inf))[0] for sd in scales]
    assert pool.spread(phi, heavy)[0] == pytest.approx(np.log(np.mean(np.exp(each))), abs=0.02)
    drawn = pool.draw(20_000, heavy, rng)
    apart = (drawn - pool.shape)[:, 0] - (drawn - pool.shape)[:, 1]
    assert stats.kstest(apart, stats.t(3.0, scale=0.8 * np.sqrt(2.0)).cdf).pvalue > 0.01


def test_parts_of_the_hyperprior(sleepstudy):
    """lambda's and the covariances', of many points at once."""
    rng = np.random.default_rng(3)
    model = pmlmm.Model(FORMULA, sleepstudy, {"common": pmlmm.Ridge()})
    space = build_space(model.design, model.priors, model.statistics.columns, pmlmm.Hyperprior())
    phi = space.start + rng.normal(size=(6, len(space.start)))
    parts = space.log_prior_of_lambda(phi[:, :1]) + space.log_prior_of_covariances(phi[:, 1:])
    np.testing.assert_allclose(parts, [space.log_prior(point)[0] for point in phi], rtol=1e-12)


@pytest.mark.parametrize("df", [1.0, 4.0, np.inf])
def test_gradient_of_the_hyperprior(sleepstudy, differences, df):
    model = pmlmm.Model(FORMULA, sleepstudy, RIDGE)
    space = build_space(model.design, model.priors, model.statistics.columns, pmlmm.Hyperprior(pool_df=df))
    phi = space.start + np.array([0.3, -0.4, 0.5, -1.0])
    np.testing.assert_allclose(
        space.log_prior(phi)[1], differences(lambda x: space.log_prior(x)[0], phi), rtol=1e-6, atol=1e-8
    )
