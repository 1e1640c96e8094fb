import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pmlmm.cli import main
from tests.processes import start


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


def test_a_ridge_by_name(capsys):
    assert main(["fit", "sleepstudy", "Reaction ~ Days + (Days | Subject)", "--ridge"]) == 0
    assert "common (Days) ~ N(0, sigma^2 / lambda), lambda learned" in capsys.readouterr().out


def test_weights_and_offset_by_name(capsys):
    arguments = ["fit", "sleepstudy", "Reaction ~ 1 + (1 | Subject)", "--weights", "Subject", "--offset", "Days"]
    assert main(arguments) == 0
    assert "precision weights Subject (308 to 372)" in (printed := " ".join(capsys.readouterr().out.split()))
    assert "offset Days" in printed
    assert main([*arguments[:-1], "days"]) != 0
    assert "Did you mean 'Days'" in capsys.readouterr().err


def test_penalised_block_from_a_file(tmp_path, capsys, sleepstudy):
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(180, 200)), columns=[f"n{j}" for j in range(200)])
    noise.to_parquet(tmp_path / "noise.parquet")
    formula = "Reaction ~ Days + (Days | Subject)"
    assert main(["fit", "sleepstudy", formula, "--penalized", f"noise={tmp_path / 'noise.parquet'}"]) == 0
    printed = capsys.readouterr().out
    assert "noise (200 columns) ~ N(0, sigma^2 / lambda), lambda learned" in printed
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
        (["fit", "sleepstudy", "Reaction ~ Days", "--out", "fit.csv"], "such as fit.nc"),
        (["fit", "sleepstudy", "Reaction ~ Days", "--out", "/dev/full"], "a device"),
        (["fit", "sleepstudy", "Reaction ~ Days", "--out", "/proc/x.nc"], "no such file or directory"),
        (["fit", "http://host/mine.csv", "y ~ x"], "'http://host/mine.csv': pmlmm reads local files only"),
        (["fit", "/tmp", "y ~ x"], "is a folder"),
        (["fit", "sleepstudy", "y ~ x", "--penalized", "w=http://host/w.csv"], "'http://host/w.csv'"),
        (["fit", "sleepstudy", "y ~ x", "--penalized", "w=a.csv", "--penalized", "w=b.csv"], "(a.csv and b.csv)"),
        (["fit", "sleepstudy", "y ~ x", "--missing", "NA"], "--missing is for CSV files"),
        (["fit", "sleepstudy", "Reaction ~ I(__import__('os').system('true'))", "--untrusted"], "__import__"),
        (["fit", "sleepstudy", "Reaction ~ I(Days.__class__)", "--untrusted"], "__class__"),
    ],
)
def test_errors_are_one_line(arguments, words, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("pmlmm: ")
    assert error.count("\n") == 1


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


def test_a_formula_of_a_stranger_runs_nothing(tmp_path, capsys):
    formula = f"Reaction ~ Days + I(__import__('pathlib').Path('{tmp_path}/seen').touch() or Days**2) + (1 | Subject)"
    assert main(["fit", "sleepstudy", formula, "--untrusted"]) == 1
    assert "__import__" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []
    assert main(["fit", "sleepstudy", "Reaction ~ poly(Days, 2) + (1 | Subject)", "--untrusted"]) == 0


NA_LEVELS = "y ~ x + (1 | g)"


@pytest.fixture
def with_na_levels(tmp_path):
    """Groups called NA, None and null, and two missing values of x as R writes them."""
    rng = np.random.default_rng(0)
    groups = np.repeat(["NA", "None", "null", "a", "b", "c"], 10)
    data = pd.DataFrame({"y": rng.normal(size=60), "x": rng.normal(size=60), "g": groups, "h": "NA"})
    data.loc[[3, 30], "x"] = np.nan
    data.loc[[5, 6], "h"] = "p"
    data.to_csv(tmp_path / "mine.csv", index=False, na_rep="NA")
    return tmp_path / "mine.csv"


def test_groups_called_na_are_kept_and_named(with_na_levels, capsys):
    assert main(["fit", str(with_na_levels), NA_LEVELS]) == 0
    printed = capsys.readouterr()
    assert "58 rows, 6 groups of g" in printed.out
    assert "2 of 60 rows dropped for missing values (x: 2)" in " ".join(printed.out.split())
    said = printed.err.splitlines()
    assert len(said) == 3  # nothing of h, which the formula does not use
    assert f"pmlmm: column 'g' of '{with_na_levels}' has 10 rows that read 'NA': taken as a level" in printed.err


def test_groups_called_na_are_missing_where_that_is_said(with_na_levels, capsys):
    assert main(["fit", str(with_na_levels), NA_LEVELS, "--missing", "NA", "--missing", "null"]) == 0
    printed = capsys.readouterr()
    assert "4 groups of g" in printed.out
    said = " ".join(printed.out.split())
    assert "x: 2, g: 20" in said or "g: 20, x: 2" in said
    assert "'None'" in printed.err
    assert "'NA'" not in printed.err


def test_names_of_rows_are_no_covariate(tmp_path, capsys, sleepstudy):
    """`to_csv` of pandas and `write.csv` of R put them first, without a name."""
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.normal(size=(180, 3)), columns=list("abc"), index=np.arange(1, 181))
    noise.to_csv(tmp_path / "noise.csv")
    sleepstudy.set_axis([f"row{i}" for i in range(180)]).to_csv(tmp_path / "sleep.csv")
    for data in ("sleepstudy", str(tmp_path / "sleep.csv")):
        formula = "Reaction ~ Days + (1 | Subject)"
        assert main(["fit", data, formula, "--penalized", f"noise={tmp_path / 'noise.csv'}"]) == 0
        assert "noise (3 columns)" in capsys.readouterr().out


def test_row_names_of_two_files_that_differ(tmp_path, capsys, sleepstudy):
    names = [f"row{i}" for i in range(180)]
    sleepstudy.set_axis(names).to_csv(tmp_path / "sleep.csv")
    pd.DataFrame({"a": np.arange(180.0) ** 2}, index=names[::-1]).to_csv(tmp_path / "noise.csv")
    formula, noise = "Reaction ~ Days + (1 | Subject)", f"noise={tmp_path / 'noise.csv'}"
    assert main(["fit", str(tmp_path / "sleep.csv"), formula, "--penalized", noise]) == 1
    assert "other labels than those of the data" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["same", "relative", "symlink", "hard link", "home"])
@pytest.mark.parametrize("role", ["data", "penalized"])
def test_what_is_read_is_not_written(tmp_path, capsys, sleepstudy, monkeypatch, how, role):
    mine = tmp_path / "mine.csv"
    sleepstudy.to_csv(mine, index=False)
    content = mine.read_bytes()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    out = {"same": str(mine), "relative": "../" + tmp_path.name + "/mine.csv", "home": "~/mine.csv"}.get(how, "out.nc")
    if out == "out.nc":
        {"symlink": os.symlink, "hard link": os.link}[how](mine, "out.nc")
    data = [str(mine)] if role == "data" else ["sleepstudy"]
    wide = ["--penalized", f"w={mine}"] if role == "penalized" else []
    assert main(["fit", *data, "Reaction ~ Days", *wide, "--out", out]) == 1
    assert f"--out {out} is the file {mine} that is read" in capsys.readouterr().err
    assert mine.read_bytes() == content


# The command with the fit itself taken for done: a process of its own, without the seconds that PyMC needs to load.
COMMAND = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a test run under nohup would hand it on as ignored
import pmlmm.cli as cli
class Fit:
    def summary(self):
        return "the summary\\n" * 10_000
    @property
    def posterior(self):
        import numpy as np, xarray as xr
        return xr.DataTree.from_dict({"/posterior": xr.Dataset({"x": ("draw", np.arange(1e6))})})
cli._fit = lambda options, progress: Fit()
"""
RUN = "sys.exit(cli.main(['fit', 'sleepstudy', 'y ~ x', *sys.argv[1:]]))"
EARLIER = b"a fit that took a night"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_stopped_while_it_writes(tmp_path, number, status):
    out = tmp_path / "fit.nc"
    out.write_bytes(EARLIER)
    wait = "os.fsync = lambda file: (print('now', flush=True), time.sleep(100))\n"
    process = start(COMMAND + wait + RUN, "--out", out)
    assert process.stdout.readline() == "now\n"
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert out.read_bytes() == EARLIER
    assert error == ("pmlmm: interrupted.\n" if number == signal.SIGINT else "")
    assert number == signal.SIGKILL or os.listdir(tmp_path) == ["fit.nc"]


def test_ctrl_c_while_it_fits():
    fit = "cli._fit = lambda options, progress: (print('now', flush=True), time.sleep(100))\n"
    process = start(COMMAND + fit + RUN)
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "pmlmm: interrupted.\n")
    assert process.returncode == 130


def test_the_summary_is_printed_where_the_posterior_cannot_be_written(tmp_path):
    out = tmp_path / "fit.nc"
    out.write_bytes(EARLIER)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
    process = start(COMMAND + limit + RUN, "--out", out)
    printed, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert printed.startswith("the summary")
    assert "Posterior written" not in printed
    assert error == f"pmlmm: Cannot write '{out}': file too large. The file of that name is as it was.\n"
    assert out.read_bytes() == EARLIER


def test_the_posterior_is_written_where_nobody_reads_the_summary(tmp_path):
    """`pmlmm fit ... --out fit.nc | head`"""
    process = start(COMMAND + RUN, "--out", tmp_path / "fit.nc")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    assert os.listdir(tmp_path) == ["fit.nc"]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_head_and_a_full_disk_for_what_is_printed(arguments):
    process = start(COMMAND + RUN, *arguments)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141
    with open("/dev/full", "w") as full:
        process = start(COMMAND + RUN, *arguments, stdout=full)
        assert process.communicate(timeout=60)[1] == "pmlmm: Cannot print: No space left on device.\n"
    assert process.returncode == 1


def test_nowhere_to_complain():
    with open("/dev/full", "w") as full:
        process = start(COMMAND + RUN, "--verbose", stderr=full)
        assert process.communicate(timeout=60)[0].startswith("the summary")
    assert process.returncode == 0
    closed = "os.close(1); os.close(2); sys.stdout = sys.stderr = None\n"  # as Python starts after >&- 2>&-
    process = start(COMMAND + closed + RUN, stdout=None, stderr=None)
    assert process.wait(timeout=60) == 1


def test_a_terminal_that_knows_ascii_only():
    process = start(
        COMMAND + "Fit.summary = lambda fit: 'x\xb2'\n" + RUN, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert process.communicate(timeout=60) == ("x\\xb2\n", "")


def test_no_memory():
    process = start(COMMAND + "def f(*_): raise MemoryError\ncli._fit = f\n" + RUN)
    assert process.communicate(timeout=60) == ("", "pmlmm: the memory of this machine is not enough.\n")
    assert process.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", ["100k", "200k", "600k"])
def test_a_full_disk(tmp_path, size):
    """The whole command on a disk that is too small: HDF5 ended it with a segmentation fault."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        (disk / "fit.nc").write_bytes(EARLIER)
        command = [sys.executable, "-m", "pmlmm.cli", "fit", "sleepstudy", "Reaction ~ Days + (Days | Subject)"]
        done = subprocess.run([*command, "--out", disk / "fit.nc"], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Log evidence" in done.stdout
        assert done.stderr.startswith(f"pmlmm: Cannot write '{disk}/fit.nc': no space left on device.")
        assert (disk / "fit.nc").read_bytes() == EARLIER
        assert os.listdir(disk) == ["fit.nc"]
    finally:
        subprocess.run(["umount", disk], check=True)
