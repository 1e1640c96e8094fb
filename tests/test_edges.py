"""Data at the edge of what can be computed: an answer that holds, or a refusal in words, for every seed and order."""

import contextlib

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.errors import ConvergenceError

FEW_ROWS = pd.DataFrame(
    {
        "y": [1.0712, 0.8157, -3.6857, 1.3854, 1.091],
        "x": [0.0, 1, 2, 3, 0],
        "t": [0.6635, -0.154, 0.668, -0.7754, 1.9153],
        "z": [0.1556, -0.3456, 1.4168, 0.5585, 0.1596],
        "h": list("CEADC"),
    }
)
NESTED = pd.DataFrame(
    {
        "y": [0.6236, -5.0653, -6.8607, -0.5541, 1.5693, -4.5724, 0.893, -2.8313, -7.5661, 0.0022, 1.8191, -2.5304],
        "f": list("uurrpqstpstt"),
        "g": [2, 0, 0, 2, 2, 1, 2, 0, 0, 2, 2, 0],
        "h": list("ADADCBDAACDE"),
        "k": list("acbbbbbacacb"),
    }
)
CASES = [
    ("y ~ (x + t + z)**2 + scale(z) + (x + t || h)", FEW_ROWS),
    ("y ~ k + (C(f, contr.sum) | g/h)", NESTED),
]


@pytest.mark.slow
@pytest.mark.parametrize(("formula", "table"), CASES, ids=["five rows", "nested"])
def test_a_fit_answers_everything_or_is_refused_for_every_seed(formula, table):
    ends = []
    for seed in (0, 1, 2):
        try:
            fit = pmlmm.Model(formula, table).fit(random_seed=seed, draws=300)
        except ConvergenceError:
            ends.append("refused")
            continue
        assert np.isfinite(fit.predict()["mean"]).all()
        assert all(np.isfinite(variable).all() for variable in fit.mean.data_vars.values())
        assert "Log evidence" in str(fit)
        ends.append("fit")
    assert len(set(ends)) == 1


def orders(table):
    rng = np.random.default_rng(0)
    return [table, table.iloc[::-1], *(table.sample(frac=1.0, random_state=rng.integers(1000)) for _ in range(3))]


def test_every_row_twice_is_refused_or_does_not_depend_on_row_order():
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"y": rng.normal(size=12), "x": rng.normal(size=12), "g": np.arange(12)})
    twice = pd.concat([table, table])
    found = []
    for rows in orders(twice):
        try:
            found.append(round(pmlmm.Model("y ~ x + (1 | g)", rows).fit(draws=300).log_evidence, 4))
        except ConvergenceError as error:
            found.append(f"refused: {'sigma' in str(error)}")
    assert len(set(found)) == 1, found
    assert found[0] != "refused: False"


def test_a_response_constant_within_groups_says_so():
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"g": np.repeat(np.arange(10), 4), "x": rng.normal(size=40)}).assign(y=lambda d: d.g**1.5)
    with pytest.raises(ConvergenceError, match=r"does not vary within the groups of 'g'.*one row a group"):
        pmlmm.Model("y ~ x + (1 | g)", table).fit()


@pytest.mark.parametrize("unit", [1e-50, 1e-20, 1e-10, 1e10, 1e50])
def test_tiny_and_huge_units(sleepstudy, unit):
    formula, n = "Reaction ~ Days + (Days | Subject)", len(sleepstudy)
    plain = pmlmm.Model(formula, sleepstudy).fit(draws=500)
    scaled = pmlmm.Model(formula, sleepstudy.assign(Reaction=sleepstudy.Reaction * unit)).fit(draws=500)
    assert scaled.log_evidence + n * np.log(unit) == pytest.approx(plain.log_evidence, abs=2e-3)
    np.testing.assert_allclose(scaled.mean["beta"] / unit, plain.mean["beta"], rtol=1e-3)
    days = pmlmm.Model(formula, sleepstudy.assign(Days=sleepstudy.Days * unit)).fit(draws=500)
    assert days.log_evidence == pytest.approx(plain.log_evidence, abs=2e-3)
    np.testing.assert_allclose(days.mean["beta"] * [1.0, unit], plain.mean["beta"], rtol=1e-3)


def gage(seed):
    """Ten parts, three operators, three repeats."""
    rng = np.random.default_rng(seed)
    part, operator = np.repeat(np.arange(10), 9), np.tile(np.repeat(np.arange(3), 3), 10)
    y = (
        10
        + rng.normal(size=10)[part]
        + 0.5 * rng.normal(size=3)[operator]
        + 0.3 * rng.normal(size=30)[3 * part + operator]
    )
    return pd.DataFrame({"part": part, "operator": operator, "y": y + 0.2 * rng.normal(size=90)})


def test_flat_priors_give_the_maximum_of_the_restricted_likelihood():
    """Three operators do not make the posterior of their variance proper under a flat prior; REML's maximum exists."""
    table, factors = gage(1), ("part", "operator", "part:operator")
    flat = dict.fromkeys([*factors, "sigma", "Intercept"], pmlmm.Flat())
    model = pmlmm.Model("y ~ 1 + (1 | part) + (1 | operator) + (1 | part:operator)", table, flat)
    with pytest.raises(ConvergenceError, match=r"posterior of the covariance of 'operator' is improper.*natural"):
        model.fit()
    fit = model.fit(coordinates="natural")
    sums = table.groupby(["part", "operator"]).y.agg(["mean", "var"])
    cells, error = sums["mean"].unstack(), float(sums["var"].mean())
    square = (
        3
        * ((cells.sub(cells.mean(axis=1), axis=0) - cells.mean() + cells.to_numpy().mean()) ** 2).to_numpy().sum()
        / 18
    )
    parts = 9 * cells.mean(axis=1).var()
    operators = 30 * cells.mean().var()
    moments = [(parts - square) / 9, (operators - square) / 30, (square - error) / 3]
    assert min(moments) > 0  # balanced and positive: REML is the analysis of variance
    estimates = [float(fit.mode[f"Sigma_{name}"][0, 0]) for name in factors]
    np.testing.assert_allclose([*estimates, float(fit.mode["sigma"]) ** 2], [*moments, error], rtol=1e-4)


def test_natural_coordinates_end_in_time():
    rng = np.random.default_rng(17)
    table = pd.DataFrame(
        {"g": np.repeat(np.arange(4), 6), "h": np.tile(np.repeat(np.arange(3), 2), 4), "t": rng.normal(size=24)}
    )
    table["y"] = rng.normal(size=24)
    with contextlib.suppress(ConvergenceError):
        fit = pmlmm.Model("y ~ t + (t | g/h)", table).fit(coordinates="natural", draws=200)
        assert np.isfinite(fit.log_evidence)
        assert sum(record.evaluations for record in fit.optimizer_records) < 400
