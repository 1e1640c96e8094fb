import subprocess
import sys

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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "sleepstudi", "y ~ x"], "Did you mean 'sleepstudy'"),
        (["fit", "missing.csv", "y ~ x"], "no file 'missing.csv'"),
        (["fit", "data.xlsx", "y ~ x"], ".parquet"),
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
