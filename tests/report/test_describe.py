"""What is said of a model before and after it is fitted: responses that a Gaussian does not suit."""

import numpy as np
import pandas as pd
import pytest

import pmlmm


def visits(response):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 10), "x": rng.normal(size=200)})
    return data.assign(y=response(data.x + rng.normal(size=20)[data.g] + rng.normal(size=200)))


BINARY = "y has two values, 0 and 1: fitted as Gaussian (a linear probability model); use a logistic model"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (lambda y: y > 0, BINARY),
        (lambda y: 1 * (y > 0), BINARY),
        (lambda y: 1.0 * (y > 0), BINARY),
        (lambda y: 1 + (y > 0), "y has two values, 1 and 2: fitted as Gaussian; use a logistic"),
        (lambda y: np.clip(np.round(y + 4), 1, 7), "y has 7 values, whole numbers from 1 to 7: fitted as Gaussian"),
        (lambda y: np.random.default_rng(0).poisson(np.exp(y / 4)), "whole numbers from 0 to"),
    ],
)
def test_a_response_of_few_values_is_said_to_be_fitted_as_gaussian(response, words):
    model = pmlmm.Model("y ~ x + (1 | g)", visits(response))
    fit = model.fit(integrate=False, draws=200)
    for text in (repr(model), str(fit)):
        lines = text.splitlines()
        start = next(k for k, line in enumerate(lines) if line.startswith("y has"))
        assert start == 2  # behind formula and data
        assert words in " ".join(" ".join(lines[start : start + 3]).split())
    assert np.isfinite(fit.mean["beta"]).all()


@pytest.mark.parametrize("response", [lambda y: y, lambda y: np.round(10 * y), lambda y: np.round(y) / 3])
def test_nothing_is_said_of_others(response):
    assert "fitted as Gaussian" not in repr(pmlmm.Model("y ~ x + (1 | g)", visits(response)))


def test_flags_fit_as_numbers_do():
    data = visits(lambda y: y > 0)
    one, other = (
        pmlmm.Model("y ~ x + (1 | g)", table).fit(integrate=False, draws=200)
        for table in (data, data.assign(y=data.y.astype(int)))
    )
    np.testing.assert_array_equal(one.mean["beta"], other.mean["beta"])
