"""Models side by side: the right one wins, differences are what they are, and what cannot be compared is refused."""

import warnings

import arviz as az
import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.errors import OptionError


@pytest.fixture(scope="module")
def three():
    """Models of data with slopes that differ, in large units."""
    rng = np.random.default_rng(2)
    g, t = np.repeat(np.arange(25), 6), np.tile(np.arange(6.0), 25)
    y = 1e6 * (3 + t + rng.normal(size=25)[g] + 0.5 * rng.normal(size=25)[g] * t + rng.normal(size=150))
    data = pd.DataFrame({"y": y, "t": t, "g": g, "s": g % 5}, index=[f"r{i}" for i in range(150)])
    slopes = pmlmm.Model("y ~ t + (t | g)", data).fit(integrate=True, draws=400)
    return {"intercepts": slopes.update("~ . - (t | g) + (1 | g)"), "slopes": slopes, "none": slopes.update("~ t")}


def test_the_right_model_wins_by_both_voices(three):
    found = pmlmm.compare_models(three)
    table = found.table
    assert list(table.index) == ["slopes", "intercepts", "none"]
    assert found.factor == "g"
    expected = three["intercepts"].log_evidence - three["slopes"].log_evidence
    assert table.loc["intercepts", "difference"] == pytest.approx(expected)
    errors = [three[name].log_evidence_psis_error for name in ("slopes", "intercepts")]
    assert table.loc["intercepts", "difference_error"] == pytest.approx(np.hypot(*errors))
    assert table.loc["slopes", ["difference", "difference_error", "elpd_difference"]].tolist() == [0.0, 0.0, 0.0]
    assert table.loc["none", "note"] == "no groups to leave out"
    text = str(found)
    assert "times more probable under 'slopes' than under 'intercepts'" in text
    assert "New groups of g are predicted better by 'slopes' than by 'intercepts'" in text


def test_left_out_groups_are_those_of_arviz(three):
    two = {name: three[name] for name in ("slopes", "intercepts")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = az.compare({name: fit.logo() for name, fit in two.items()}, method="pseudo-bma", round_to="none")
    row = pmlmm.compare_models(two).table.loc["intercepts"]
    assert row["elpd"] == pytest.approx(reference.loc["intercepts", "elpd"])
    assert row["elpd_difference"] == pytest.approx(reference.loc["intercepts", "elpd_diff"])
    assert row["elpd_difference_error"] == pytest.approx(reference.loc["intercepts", "dse"])


def test_evidence_alone(three):
    alone = pmlmm.compare_models(three, logo=False)
    assert alone.factor is None
    assert alone.table["elpd"].isna().all()
    assert "elpd" not in str(alone)


@pytest.mark.slow
def test_which_factor(three):
    crossed = {name: three[name].update("~ . + (1 | s)") for name in ("slopes", "intercepts")}
    assert pmlmm.compare_models(crossed).factor == "g"
    assert pmlmm.compare_models(crossed | {"slopes alone": three["slopes"]}, logo="g").factor == "g"
    with pytest.raises(OptionError, match=r"logo='s'\): no factor of all models. Valid choices: 'g'"):
        pmlmm.compare_models(three | {"s": crossed["slopes"]}, logo="s")


def test_other_fixed_effects_are_pointed_out(three):
    found = pmlmm.compare_models({"t": three["slopes"], "no t": three["slopes"].update("~ . - t")})
    assert "differ in fixed effects (t)" in found.words
    assert "differ in fixed effects" not in pmlmm.compare_models(three, logo=False).words


def test_flat_priors_make_evidence_arbitrary(three):
    fit = three["slopes"].update(priors={"t": pmlmm.Flat()})
    mixed = pmlmm.compare_models({"flat": fit, "normal": three["slopes"]})
    assert mixed.table["difference"].isna().all()
    assert "Evidence does not compare" in mixed.words
    assert "nats)" in mixed.words  # left-out groups do
    same = pmlmm.compare_models({"a": fit, "b": fit.update("~ . - (t | g) + (1 | g)")}, logo=False)
    assert same.table["difference"].notna().all()
    assert "the same in all models" in same.words


def test_plug_in_fits(three):
    plug_in = {name: three[name].update(integrate=False) for name in ("slopes", "intercepts")}
    assert "given the learned hyperparameters" in pmlmm.compare_models(plug_in, logo=False).words
    with pytest.raises(OptionError, match=r"'intercepts' with .integrate\(\)"):
        pmlmm.compare_models({"slopes": three["slopes"], "intercepts": plug_in["intercepts"]})


def test_what_cannot_be_compared_is_said(three):
    fit = three["slopes"]
    data = fit.model.arguments["data"]
    others = {
        "other responses, y and log\\(y\\)": lambda: fit.update("log(.) ~ .", data=data.assign(y=data["y"].abs())),
        "150 and 149 rows": lambda: fit.update(data=data.iloc[1:]),
        "in another order": lambda: fit.update(data=data.iloc[::-1]),
        "left out r3, r7, where 'x' is missing.*dropna\\(subset=\\['x'\\]\\)": lambda: fit.update(
            "~ . + x", data=data.assign(x=np.where(np.isin(data.index, ["r3", "r7"]), np.nan, 1.0 * (data["t"] > 3)))
        ),
    }
    for message, other in others.items():
        with pytest.raises(OptionError, match=message):
            pmlmm.compare_models({"a": fit, "b": other()})
    with pytest.raises(OptionError, match="at least two fits"):
        pmlmm.compare_models({"a": fit})
    for arguments in ((fit, three["none"]), (three, None)):
        with pytest.raises(OptionError, match="compare_models"):
            pmlmm.compare(*arguments)


def test_no_difference_is_said_to_be_none(three):
    found = pmlmm.compare_models({"a": three["slopes"], "b": three["slopes"]})
    assert "hardly tells 'a' from 'b'" in found.words
    assert "does not differ clearly" in found.words
