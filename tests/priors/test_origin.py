"""The zero of the columns of a term: the rule, the algebra of the way back, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmlmm
from pmlmm.priors.inverse_wishart import InverseWishartDensity
from pmlmm.priors.origin import Origin, distance, far_columns


@pytest.fixture(scope="module")
def visits():
    """Thirty subjects, six visits each: columns near to zero, far from it, and made of flags and factors."""
    rng = np.random.default_rng(0)
    n, g = 180, np.repeat(np.arange(30), 6)
    t = np.tile(np.arange(6.0), 30)
    start = np.repeat(rng.uniform(20, 76, 30), 6)
    data = {
        "g": g,
        "t": t,
        "year": 2000 + t,
        "age": start + t,
        "from_birth": np.maximum(np.repeat(rng.uniform(-1, 76, 30), 6), 0) + t,
        "baseline": start,
        "switched": (start > 40) | (np.arange(n) == 3),
        "flag": (start > 40).astype(int) + (np.arange(n) == 3),
        "mostly": np.where(np.arange(n) % 31 == 0, "a", "b"),
        "y": rng.normal(size=n),
    }
    return pd.DataFrame(data)


@pytest.mark.parametrize(
    ("inside", "moved"),
    [
        ("t", []),
        ("year", ["year"]),
        ("age", ["age"]),
        ("from_birth", ["from_birth"]),
        ("t + age", ["age"]),
        ("baseline", []),  # it does not vary within groups: its range is what counts
        ("switched", []),
        ("flag", []),
        ("mostly", []),
        ("mostly * t", []),
        ("poly(year, 2)", []),
        ("bs(t, df=4)", []),
        ("np.log(age)", ["np.log(age)"]),
        ("scale(age)", []),
        ("0 + age", []),
        ("0 + mostly + age", []),
    ],
)
def test_which_columns_are_far(visits, inside, moved):
    model = pmlmm.Model(f"y ~ {inside} + (1 | g)" if inside != "baseline" else "y ~ (1 | g)", visits)
    assert not model.priors.origins[0].moved  # nothing beside the intercept
    model = pmlmm.Model(f"y ~ 1 + ({inside} | g)", visits)
    (term,), (origin,) = model.design.terms, model.priors.origins
    assert [name for name, c in zip(term.coefficients, origin.shift, strict=True) if c] == moved
    for name, c in zip(term.coefficients, origin.shift, strict=True):
        if c:
            assert c == pytest.approx(term.Z[:, term.coefficients.index(name)].mean())


@pytest.mark.parametrize("name", ["sleepstudy", "Orthodont", "Oxboys"])
def test_times_from_a_baseline_stay(load, name):
    formula = {
        "sleepstudy": "Reaction ~ Days + (Days | Subject)",
        "Orthodont": "distance ~ age + (age | Subject)",
        "Oxboys": "height ~ age + (age | Subject)",
    }[name]
    automatic, zero = (
        pmlmm.Model(formula, load(name), {"Subject": pmlmm.InverseWishart(origin=o)}) for o in ("auto", "zero")
    )
    assert not automatic.priors.origins[0].moved
    assert automatic.fit().log_evidence == pytest.approx(zero.fit().log_evidence, abs=1e-8)


def test_separate_terms_stay_and_the_summary_says_what_they_claim(visits):
    fit = pmlmm.Model("y ~ age + (age || g)", visits).fit()
    assert not any(origin.moved for origin in fit.model.priors.origins)
    assert "uncorrelated at age = 0, far from the data" in str(fit)
    assert far_columns(fit.model.design.terms[1]) == ["age"]
    assert "far from the data" not in str(pmlmm.Model("y ~ t + (t || g)", visits).fit())


def test_terms_with_one_target_move_together(visits):
    """Within g ages vary by two years, within h by seventeen: g alone has them far from zero."""
    visits = visits.assign(h=np.arange(180) % 7)
    formula = "y ~ age + (age | g) + (age | h)"
    alone = pmlmm.Model(formula, visits).priors.origins
    assert [origin.moved for origin in alone] == [True, False]
    together = pmlmm.Model(formula, visits, {("g", "h"): pmlmm.InverseWishart()}).priors.origins
    assert [origin.moved for origin in together] == [True, True]


def test_stated_origins(visits):
    def shift(inside, origin):
        prior = {"g": pmlmm.InverseWishart(origin=origin)}
        return pmlmm.Model(f"y ~ 1 + ({inside} | g)", visits, prior).priors.origins[0].shift.tolist()

    assert shift("age", "zero") == [0, 0]
    assert shift("t", "mean") == [0, 2.5]
    assert shift("age", 50) == [0, 50]
    assert shift("t + age", {"age": 50}) == [0, 0, 50]
    assert shift("t + age", {"age": 50, "t": -1.0}) == [0, -1, 50]


def test_the_summary_says_where(visits):
    text = str(pmlmm.Model("y ~ age + (age | g)", visits, {"g": pmlmm.InverseWishart(origin=50)}))
    assert "Sigma_g (Intercept age) ~ IW(b, A), b learned, A diagonal, learned, at age = 50.0" in text
    assert ", at year = 2002.50" in str(pmlmm.Model("y ~ year + (year | g)", visits))
    assert ", at" not in str(pmlmm.Model("y ~ t + (t | g)", visits))
    assert ", at" not in str(pmlmm.Model("y ~ year + (year | g)", visits, {"g": pmlmm.Flat()}))


@pytest.mark.parametrize(
    ("origin", "words"),
    [("centre", "'auto', 'zero', 'mean'"), (np.nan, "a number"), (None, "a number"), ({"age": "x"}, "finite number")],
)
def test_what_is_no_origin(origin, words):
    with pytest.raises(pmlmm.PriorError, match=words):
        pmlmm.InverseWishart(origin=origin)


@pytest.mark.parametrize(
    ("inside", "origin", "words"),
    [
        ("t + age", 50.0, "2 columns beside the intercept .t, age.: give a dict"),
        ("age", {"aeg": 50.0}, "names 'aeg', which is no column of the term. Did you mean 'age'"),
        ("age", {"Intercept": 1.0}, "names 'Intercept'"),
        ("0 + age", 50.0, "needs an intercept"),
        ("1", 50.0, "0 columns beside the intercept .none."),
    ],
)
def test_origins_that_a_term_cannot_have(visits, inside, origin, words):
    with pytest.raises(pmlmm.PriorError, match=words):
        pmlmm.Model(f"y ~ 1 + ({inside} | g)", visits, {"g": pmlmm.InverseWishart(origin=origin)})


def test_equality_of_priors():
    assert pmlmm.InverseWishart(origin=3) == pmlmm.InverseWishart(origin=3.0) != pmlmm.InverseWishart()


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.data())
@settings(max_examples=50, deadline=None)
def test_the_way_there_and_back(seed, q, data):
    """Covariances of ``Z gamma`` and densities are the same from either side."""
    intercept = data.draw(st.integers(0, q - 1))
    rng = np.random.default_rng(seed)
    shift = 3 * rng.normal(size=q)
    shift[intercept] = 0.0
    origin = Origin(shift, intercept)
    Z, gamma = rng.normal(size=(7, q)), rng.normal(size=(4, q))
    Z[:, intercept] = 1.0
    root, target = rng.normal(size=(2, 3, q, q))
    Sigma, A = root @ np.swapaxes(root, 1, 2) + np.eye(q), target[0] @ target[0].T + np.eye(q)
    used = origin.used(Sigma)
    np.testing.assert_allclose(origin.users(used), Sigma, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((Z - shift) @ used @ (Z - shift).T, Z @ Sigma @ Z.T, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(origin.users_effects(gamma) @ Z.T, gamma @ (Z - shift).T, rtol=1e-9, atol=1e-9)
    eta = q + 3.0
    here = InverseWishartDensity(eta, origin.used(A)).log_densities(np.linalg.inv(used), np.linalg.slogdet(used)[1])
    there = InverseWishartDensity(eta, A).log_densities(np.linalg.inv(Sigma), np.linalg.slogdet(Sigma)[1])
    full = [InverseWishartDensity(eta, M).log_constant for M in (origin.used(A), A)]
    np.testing.assert_allclose(here + full[0], there + full[1], rtol=1e-8)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
@settings(max_examples=50, deadline=None)
def test_distance_in_any_unit(mean, unit):
    visits = pd.DataFrame({"g": np.repeat(np.arange(10), 4), "y": np.random.default_rng(0).normal(size=40)})
    grouping = pmlmm.Model("y ~ (1 | g)", visits).design.groupings[0]
    z = np.random.default_rng(1).normal(size=40) + 3.0
    assert distance(unit * z, grouping) == pytest.approx(distance(z, grouping), rel=1e-8)
    within = pd.Series(z).groupby(visits.g).apply(lambda part: np.sum((part - part.mean()) ** 2)).sum() / 30
    assert distance(z + mean, grouping) == pytest.approx(abs(z.mean() + mean) / within**0.5, rel=1e-6, abs=1e-8)
