"""The same fit in other units, other row orders, other labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmlmm

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def small(sleepstudy):
    return sleepstudy[sleepstudy["Subject"] < 335].sample(frac=0.8, random_state=0)


@pytest.fixture(scope="module")
def base(small):
    return pmlmm.Model(FORMULA, small).fit()


def compare(fit, base, *, y_scale=1.0, t_scale=1.0, n=0):
    """Equal up to the stated units; the tolerance is that of the search (gradient below 1e-3 nats)."""
    left, right = fit.hyperparameters["value"], base.hyperparameters["value"]
    units = np.array([1, y_scale**2, (y_scale / t_scale) ** 2])
    np.testing.assert_allclose(left, right * units, rtol=1e-2)
    assert fit.log_evidence + n * np.log(y_scale) == pytest.approx(base.log_evidence, abs=5e-3)
    np.testing.assert_allclose(fit.mean["sigma"] / y_scale, base.mean["sigma"], rtol=1e-3)
    np.testing.assert_allclose(fit.mean["beta"] / y_scale * [1, t_scale], base.mean["beta"], rtol=2e-3)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.floats(-6, 6), st.floats(-4, 4))
def test_units_of_y_and_t(small, base, log_c, log_t):
    y_scale, t_scale = 10.0**log_c, 10.0**log_t
    table = small.assign(Reaction=small["Reaction"] * y_scale, Days=small["Days"] * t_scale)
    compare(pmlmm.Model(FORMULA, table).fit(), base, y_scale=y_scale, t_scale=t_scale, n=len(small))


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_row_order_and_labels(small, base, seed):
    rng = np.random.default_rng(seed)
    groups = small["Subject"].unique()
    names = dict(zip(groups, rng.permutation([f"s{k}" for k in range(len(groups))]), strict=True))
    table = small.sample(frac=1.0, random_state=seed % 1000).assign(Subject=lambda d: d["Subject"].map(names))
    fit = pmlmm.Model(FORMULA, table).fit()
    compare(fit, base)
    ours = fit.mean["gamma_Subject"].sel(Subject=[names[g] for g in groups])
    theirs = base.mean["gamma_Subject"].sel(Subject=list(groups))
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2)


def test_a_shift_of_y_moves_only_the_intercept(small, base):
    fit = pmlmm.Model(FORMULA, small.assign(Reaction=small["Reaction"] + 1e4)).fit()
    compare_beta = fit.mean["beta"].to_numpy() - [1e4, 0.0]
    np.testing.assert_allclose(compare_beta, base.mean["beta"], rtol=1e-3)
    assert fit.log_evidence == pytest.approx(base.log_evidence, abs=1e-3)


def test_the_same_seed_gives_the_same_fit(small, base):
    again = pmlmm.Model(FORMULA, small).fit()
    np.testing.assert_array_equal(again.hyperparameters["value"], base.hyperparameters["value"])
    other = pmlmm.Model(FORMULA, small).fit(random_seed=5)
    assert other.log_evidence_psis != base.log_evidence_psis
    assert other.log_evidence_psis == pytest.approx(base.log_evidence_psis, abs=0.1)
