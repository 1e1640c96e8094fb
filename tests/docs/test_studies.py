"""The studies run, at small size, and the full graph agrees with the collapsed one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "docs" / "studies"


def run(name, *options):
    command = [sys.executable, str(STUDIES / f"{name}.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
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
