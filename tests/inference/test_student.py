"""Student-t proposals against SciPy, and what they learn from weighted draws."""

import numpy as np
import pytest
from scipy.stats import multivariate_t, norm

from pmlmm.inference.student import Mixture, Student

CENTRE, SCALE = np.array([1.0, -2.0]), np.array([[2.0, 0.6], [0.6, 0.5]])
ONE = Student.of(CENTRE, SCALE)


def test_density_and_draws():
    reference = multivariate_t(CENTRE, SCALE, df=5)
    points = np.random.default_rng(0).normal(size=(9, 2)) * 4.0
    np.testing.assert_allclose(ONE.log_density(ONE.squares(points)), reference.logpdf(points), rtol=1e-9)
    covariance = SCALE * 5.0 / 3.0
    for drawn in (ONE.draw(40_000, np.random.default_rng(1)), ONE.spread(16_384, np.random.default_rng(1))):
        np.testing.assert_allclose(drawn.mean(axis=0), CENTRE, atol=0.03)
        np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.08)


def test_matched_to_weighted_points():
    points = np.random.default_rng(2).normal(size=(50, 3))
    weights = np.random.default_rng(3).dirichlet(np.ones(50))
    found = Student.matched(points, weights)
    np.testing.assert_allclose(found.centre, weights @ points)
    np.testing.assert_allclose(found.root @ found.root.T, np.cov(points.T, aweights=weights, ddof=0), rtol=1e-9)


def test_a_mixture_is_a_density_and_draws_by_its_shares():
    both = Mixture(
        (Student.of(np.zeros(1), np.eye(1)), Student.of(np.full(1, 8.0), 0.1 * np.eye(1))), np.array([0.7, 0.3])
    )
    wide = both.defended(0.25, 6.0)
    grid = np.linspace(-400.0, 400.0, 400_001)
    assert np.trapezoid(np.exp(wide.log_density(grid[:, None])), grid) == pytest.approx(1.0, abs=1e-3)
    drawn = both.draw(1000, np.random.default_rng(4))
    assert abs(np.mean(drawn > 5.0) - 0.3) < 0.02
    assert len(wide.draw(997, np.random.default_rng(4))) == 997


def test_a_further_component_finds_what_the_first_has_missed():
    """A narrow mode beside a broad one: effective draws of the next round double at least."""
    rng = np.random.default_rng(5)

    def log_target(x):
        return np.logaddexp(norm.logpdf(x[:, 0]), np.log(0.3) + norm.logpdf(x[:, 0], 6.0, 0.2))

    def effective(proposal):
        drawn = proposal.draw(4000, rng)
        weights = np.exp(log_target(drawn) - proposal.log_density(drawn))
        return np.sum(weights) ** 2 / np.sum(weights**2), drawn, weights / np.sum(weights)

    _, points, weights = effective(Mixture.of(Student.of(np.full(1, 2.0), 9.0 * np.eye(1))))
    one = Mixture.of(Student.matched(points, weights))
    more = one.with_one_more(points, weights)
    assert effective(more)[0] > 2.0 * effective(one)[0]
