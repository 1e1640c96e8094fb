import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pmlmm.cli import main


def test_fit_prints_a_summary_and_writes_draws(tmp_path, capsys):
    out = tmp_path / "fit.nc"
    assert main(["fit", "sleepstudy", "Reaction ~ Days + (Days | Subject)", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "b[Subject]" in printed.out
    assert printed.err == ""  # no progress where nobody watches
    with xr.open_datatree(out, engine="h5netcdf") as tree:
        assert "Sigma_Subject" in tree["posterior"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files(tmp_path, capsys, sleepstudy, suffix):
    path = tmp_path / f"data{suffix}"
    sleepstudy.to_csv(path, index=False) if suffix == ".csv" else sleepstudy.to_parquet(path)
    assert main(["fit", str(path), "Reaction ~ Days + (1 | Subject)"]) == 0
    assert "180 rows" in capsys.readouterr().out


def test_verbose_says_what_is_eliminated_how(capsys):
    assert main(["fit", "sleepstudy", "Reaction ~ Days + (Days | Subject)", "--verbose"]) == 0
    error = capsys.readouterr().err
    assert "elimination: Subject group by group (18 groups of 2 effects); then fixed effects (2)" in error
    assert "evaluations" in error


def test_penalised_block_from_a_file(tmp_path, capsys, sleepstudy):
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(180, 200)), columns=[f"n{j}" for j in range(200)])
    noise.to_parquet(tmp_path / "noise.parquet")
    formula = "Reaction ~ Days + (Days | Subject)"
    assert main(["fit", "sleepstudy", formula, "--penalized", f"noise={tmp_path / 'noise.parquet'}"]) == 0
    printed = capsys.readouterr().out
    assert "noise (200 columns) first, in the space of the 180 rows" in printed
    assert "fit.sd['beta_noise']" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "sleepstudi", "y ~ x"], "Did you mean 'sleepstudy'"),
        (["fit", "missing.csv", "y ~ x"], "no file 'missing.csv'"),
        (["fit", "data.xlsx", "y ~ x"], ".parquet"),
        (["fit", "sleepstudy", "Reaction ~ Days", "--penalized", "genes"], "a name and a file"),
        (["fit", "sleepstudy", "Reaction ~ Dayz"], "Did you mean 'Days'"),
        (["fit", "sleepstudy", "Reaction ~ Days", "--out", "/no/such/folder/x.nc"], "does not exist"),
    ],
)
def test_errors_are_one_line(arguments, words, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_help_does_not_load_anything_heavy():
    code = (
        "import sys, pmlmm.cli\n"
        "try: pmlmm.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pymc', 'pytensor', 'numpy', 'pandas', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fit" in done.stdout
