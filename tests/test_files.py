"""Files of the user: what was written before survives writing."""

import os
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pmlmm.datasets import read
from pmlmm.errors import OptionError
from pmlmm.files import netcdf_target, write_netcdf
from tests.processes import finish, start

EARLIER = b"a fit that took a night"


# A process that writes a posterior of 8 MB to the path it is given.
WRITE = """
import os, resource, sys, time
import numpy as np, xarray as xr
from pmlmm.errors import OptionError
from pmlmm.files import write_netcdf
tree = xr.DataTree.from_dict({"/posterior": xr.Dataset({"x": ("draw", np.arange(1e6))})})
def write():
    try:
        write_netcdf(tree, sys.argv[1])
    except OptionError as error:
        sys.exit(f"said: {error}")
"""


@pytest.fixture
def tree():
    posterior = xr.Dataset({"x": ("draw", np.arange(5.0))}, {"draw": list("abcde")})
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs={"a": "b"}), "/posterior": posterior, "/prior": xr.Dataset()})


@pytest.fixture
def full_disk(tmp_path):
    """A disk of 100 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", place]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_written_tree_is_the_one_that_was_given(tmp_path, tree):
    write_netcdf(tree, tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as written:
        xr.testing.assert_identical(written.load(), tree)
    assert os.listdir(tmp_path) == ["fit.nc"]


def test_levels_that_netcdf_has_no_kind_for(tmp_path):
    odd = xr.Dataset(coords={"g": np.array([pd.Interval(0, 1), pd.Interval(1, 2)], dtype=object)})
    with pytest.raises(OptionError, match=r"Cannot write .*fit\.nc"):
        write_netcdf(xr.DataTree(odd), tmp_path / "fit.nc")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGKILL, "fsync"), (signal.SIGKILL, "replace"), (signal.SIGINT, "fsync")]
)
def test_stopped_while_it_writes(tmp_path, number, step):
    path = tmp_path / "fit.nc"
    path.write_bytes(EARLIER)
    wait = f"os.{step} = lambda *given: (print('now', flush=True), time.sleep(100))\n"
    process = start(WRITE + wait + "write()", path)
    assert process.stdout.readline() == "now\n"
    process.send_signal(number)
    assert finish(process)[0] != 0
    assert path.read_bytes() == EARLIER
    if number == signal.SIGINT:  # the other leaves no time to put things in order
        assert os.listdir(tmp_path) == ["fit.nc"]


def test_a_limit_on_the_size_of_files(tmp_path):
    path = tmp_path / "fit.nc"
    path.write_bytes(EARLIER)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
    status, _, error = finish(start(WRITE + limit + "write()", path))
    assert (status, error) == (1, f"said: Cannot write '{path}': file too large. The file of that name is as it was.\n")
    assert path.read_bytes() == EARLIER
    assert os.listdir(tmp_path) == ["fit.nc"]


def test_a_full_disk(full_disk):
    path = full_disk / "fit.nc"
    path.write_bytes(EARLIER)
    status, _, error = finish(start(WRITE + "write()", path))
    assert status == 1
    assert error.startswith(f"said: Cannot write '{path}': no space left on device.")
    assert path.read_bytes() == EARLIER
    assert os.listdir(full_disk) == ["fit.nc"]


def test_a_disk_with_no_room_for_a_name(full_disk):
    for count in range(10_000):
        try:
            (full_disk / f"{count}").write_bytes(b"x")
        except OSError:
            break
    status, _, error = finish(start(WRITE + "write()", full_disk / "fit.nc"))
    assert status == 1
    assert "no space left on device" in error
    assert not (full_disk / "fit.nc").exists()


def test_a_folder_that_may_not_be_written():
    """As a user without rights, which root becomes."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        drop = "os.setuid(65534) if os.getuid() == 0 else None\n"
        status, _, error = finish(start(WRITE + drop + "write()", Path(folder, "fit.nc")))
        os.chmod(folder, 0o755)
        assert (status, error) == (1, f"said: Cannot write '{folder}/fit.nc': permission denied.\n")


def test_a_file_that_is_write_protected():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fit.nc")
        path.write_bytes(EARLIER)
        os.chmod(path, 0o444)
        os.chmod(folder, 0o777)
        drop = "os.setuid(65534) if os.getuid() == 0 else None\n"
        assert finish(start(WRITE + drop + "write()", path))[::2] == (1, f"said: '{path}' is write-protected.\n")
        assert path.read_bytes() == EARLIER


def test_mode_of_a_new_file_and_of_one_that_is_replaced(tmp_path, tree):
    mask = os.umask(0o027)
    try:
        write_netcdf(tree, tmp_path / "new.nc")
        (tmp_path / "old.nc").write_bytes(EARLIER)
        os.chmod(tmp_path / "old.nc", 0o604)
        write_netcdf(tree, tmp_path / "old.nc")
    finally:
        os.umask(mask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"new.nc": 0o640, "old.nc": 0o604}


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path, tree, exists):
    (tmp_path / "store").mkdir()
    kept, link = tmp_path / "store" / "fit.nc", tmp_path / "latest.nc"
    if exists:
        kept.write_bytes(EARLIER)
    link.symlink_to("store/fit.nc")
    write_netcdf(tree, link)
    assert link.is_symlink()
    assert kept.read_bytes()[:4] == b"\x89HDF"
    assert os.listdir(tmp_path / "store") == ["fit.nc"]


@pytest.mark.parametrize("name", ["a" * 252, "é" * 126])
def test_a_name_as_long_as_names_can_be(tmp_path, tree, name):
    write_netcdf(tree, tmp_path / f"{name}.nc")
    assert os.listdir(tmp_path) == [f"{name}.nc"]
    with pytest.raises(OptionError, match="name too long"):
        write_netcdf(tree, tmp_path / f"{name}b.nc")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fit.csv", r"give it a name that says so, such as fit\.nc"),
        ("fit", r"such as fit\.nc"),
        ("", "is a folder"),
        ("no/fit.nc", "folder '.*no' does not exist"),
        ("loop.nc", "circle of links"),
        ("fifo.nc", "a device, a pipe"),
        ("/dev/full", "a device, a pipe"),
        ("/proc/fit.nc", "Cannot write '/proc/fit.nc'"),
        ("s3://bucket/fit.nc", "local files only"),
    ],
)
def test_places_where_no_file_can_be(tmp_path, tree, name, words):
    os.mkfifo(tmp_path / "fifo.nc")
    (tmp_path / "loop.nc").symlink_to("loop.nc")
    path = name if "://" in name else os.path.join(tmp_path, name)
    for refused in (netcdf_target, lambda path: write_netcdf(tree, path)):
        with pytest.raises(OptionError, match=words):
            refused(path)
    assert sorted(os.listdir(tmp_path)) == ["fifo.nc", "loop.nc"]


def test_a_path_in_the_home_folder(tmp_path, tree, sleepstudy, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_netcdf(tree, "~/fit.nc")
    sleepstudy.to_csv(tmp_path / "mine.csv", index=False)
    assert sorted(os.listdir(tmp_path)) == ["fit.nc", "mine.csv"]
    assert len(read("~/mine.csv")) == 180
