"""The studies run, at small size, and the full graph agrees with the collapsed one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STUDIES = Path(__file__).parents[2] / "docs" / "studies"


def run(name, *options):
    env = os.environ | {"SAVED": "off"}
    command = [sys.executable, str(STUDIES / f"{name}.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("many_covariates", ["--seeds", "2", "--p", "60", "--signal", "1"], "learned"),
        ("interval_coverage", ["--replicates", "3", "--settings", "1", "--nuts", "1"], "integrated"),
        ("evidence_error", ["--shapes", "1"], "PSIS within 3 errors of bridge: 3 of 3"),
    ],
)
def test_studies_run_at_small_size(name, options, expected):
    assert expected in run(name, *options)


@pytest.mark.parametrize(
    ("name", "replicates", "written"),
    [
        ("singular_fit", 2, ["singular_fit.md", "singular_fit_example.md"]),
        ("refused_fit", 1, ["refused_fit.md"]),
        ("overfitting", 1, ["overfitting.md", "overfitting.svg"]),
        ("b_against_repeats", 1, ["b_against_repeats.md", "b_against_repeats.svg"]),
        ("talk_table_1", 1, ["talk_table_1_gaussian.md", "talk_table_1_gaussian_methods.md"]),
        ("talk_table_2", 1, ["talk_table_2.md"]),
        ("structure_of_a", 1, ["structure_of_a.md"]),
        ("talk_choices", 1, ["talk_choices.md"]),
    ],
)
def test_the_talk_at_small_size(name, replicates, written, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKERS", "1")  # starting a process takes longer than the work here
    small = ["--small"] if name in ("talk_table_2", "structure_of_a", "talk_choices") else []
    assert run(name, "--replicates", str(replicates), "--to", str(tmp_path), *small).count("|") > 20
    for file in written:
        text = (tmp_path / file).read_text()
        assert len(text) > 200
        assert "nan" not in text
        assert "talk" in text or not name.startswith("talk")


def test_scores_are_zero_at_the_truth(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))
    import methods

    for case in (methods.Case(3), methods.Case(3, "polynomial"), methods.Curves((3,) * 10)):
        data, truth = case.simulate(1)
        estimate = methods.Estimate(truth.beta, truth.sigma, truth.Sigma, truth.gamma)
        score = methods.score(data, truth, estimate)
        assert not score.pop("singular")
        assert max(np.abs(list(score.values()))) < 1e-9
        worse = methods.Estimate(truth.beta + 1.0, truth.sigma, truth.Sigma, truth.gamma)
        assert methods.score(data, truth, worse)["RMSE"] == pytest.approx(1.0)


def test_maximum_likelihood_is_lmers(monkeypatch):
    """lmer's maximum on sleepstudy, from the reference file; and nothing near it is better."""
    monkeypatch.syspath_prepend(str(STUDIES))
    import maximum_likelihood

    import pmlmm

    data = pmlmm.datasets.load("sleepstudy")
    X = np.column_stack([np.ones(len(data)), data["Days"]])
    group = data["Subject"].astype("category").cat.codes.to_numpy()
    found = maximum_likelihood.maximum_likelihood(X, X, data["Reaction"].to_numpy(), group)
    assert found.log_likelihood == pytest.approx(-875.96967, abs=1e-4)
    np.testing.assert_allclose(found.beta, [251.4051, 10.46729], rtol=1e-5)
    assert not found.singular


def test_ranks_are_uniform_at_small_size():
    lines = run("rank_calibration", "--replicates", "25", "--settings", "1").splitlines()
    verdicts = {line.split()[2]: line.split()[-1] for line in lines if line.startswith("one factor")}
    assert verdicts["PSIS"] == verdicts["NUTS"] == "yes"


def test_full_graph_nuts_agrees_with_the_rest():
    """The full graph shares no algebra with the fit; nutpie's compilation of it takes most of the time."""
    pytest.importorskip("nutpie")
    line = run("nuts_agreement", "--cases", "sleepstudy", "--draws", "500")
    numbers = {name: float(value) for name, value in re.findall(r"([A-Za-z][A-Za-z -]*?) (-?\d+\.\d+)", line)}
    assert numbers["full R-hat"] < 1.02
    assert numbers["full z"] < 4.0
    assert numbers["PSIS z"] < 4.0
    assert abs(numbers["evidence z"]) < 4.0
