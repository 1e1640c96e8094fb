"""Compiled functions are kept on disk; broken files are healed, and where nothing can be written that is said once."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pmlmm

CODE = """
import numpy as np
from pmlmm.kernels import small_matrices as small
P = np.array([[4.0, 2.0], [2.0, 5.0]])
assert small.factor(P), P
assert np.allclose(P, [[2.0, 0.0], [1.0, 2.0]]), P
assert np.allclose(small.inverse_factor(P) @ P, np.eye(2))
print("right")
"""
PACKAGE = Path(pmlmm.__file__).parent


def run(folder=None, package=None, **variables):
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"} | variables
    if folder is not None:
        environment["NUMBA_CACHE_DIR"] = str(folder)
    place = str((package or PACKAGE).parent)
    environment["PYTHONPATH"] = place
    command = [sys.executable, "-B", "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=place, timeout=300)
    assert (done.returncode, done.stdout.strip()) == (0, "right"), done.stderr
    return done.stderr


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with the compiled functions of one process."""
    folder = tmp_path_factory.mktemp("cache")
    assert run(folder) == ""
    assert contents(folder)
    return folder


@pytest.mark.slow
def test_the_next_process_compiles_nothing(kept):
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*") if path.is_file()}
    assert run(kept) == ""
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: data[:-1] + b"!", marks=pytest.mark.slow),
        pytest.param(lambda data: b"", marks=pytest.mark.slow),
        pytest.param(lambda data: data[: len(data) // 2], marks=pytest.mark.slow),
        pytest.param(lambda data: b"\xff\x00garbage" * 50, marks=pytest.mark.slow),
    ],
    ids=["one byte", "empty", "truncated", "garbage"],
)
def test_broken_files_are_healed(kept, tmp_path, spoil):
    folder = tmp_path / "cache"
    shutil.copytree(kept, folder)
    files = list(contents(folder))
    for name in files:
        (folder / name).write_bytes(spoil((folder / name).read_bytes()))
    broken = contents(folder)
    assert run(folder) == ""
    healed = contents(folder)
    assert all(healed[name] != broken[name] for name in files)
    before = {name: (folder / name).stat().st_mtime_ns for name in files}
    assert run(folder) == ""
    assert {name: (folder / name).stat().st_mtime_ns for name in files} == before


@pytest.mark.slow
def test_where_nothing_can_be_written_it_goes_on_and_says_so_once(tmp_path):
    """An installation that is only read, and a home folder that is none: a container."""
    package = tmp_path / "site" / "pmlmm"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "kernels" / "__pycache__").write_text("a file where the folder would be")
    said = run(package=package, HOME="/dev/null", XDG_CACHE_HOME="/dev/null")
    assert said.count("cannot keep its compiled functions") == 1
    assert "NUMBA_CACHE_DIR" in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_written(tmp_path):
    """numba takes the next one on its list."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert "Traceback" not in run(blocked / "cache")
