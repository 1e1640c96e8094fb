"""Damaged files: our error or the very same fit, never a crash."""

import json
import signal

import numpy as np
import pytest
import xarray as xr

import pmlmm
from pmlmm.errors import DataError
from pmlmm.files import netcdf
from pmlmm.saving.sealed import sealed, unsealed
from tests.processes import finish, start


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    fit = pmlmm.Model("Reaction ~ Days + (1 | Subject)", pmlmm.datasets.load("sleepstudy")).fit(integrate=False)
    path = tmp_path_factory.mktemp("saved") / "fit.nc"
    fit.save(path)
    return fit, path


def test_200_truncations_and_bit_flips(saved, tmp_path):
    path = saved[1]
    whole, rng, damaged = path.read_bytes(), np.random.default_rng(1), tmp_path / "damaged.nc"
    for k in range(200):
        content = bytearray(whole)
        if k % 2:
            del content[int(rng.integers(len(content))) :]
        else:
            for _ in range(int(rng.integers(1, 4))):
                # half of them in the seal, which is short
                first = len(content) - 110 if k % 4 else 0
                content[int(rng.integers(first, len(content)))] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(content)
        with pytest.raises(DataError, match=r"damaged\.nc"):
            pmlmm.load(damaged)


def test_bytes_after_the_end_or_in_the_middle(saved, tmp_path):
    whole, damaged = saved[1].read_bytes(), tmp_path / "damaged.nc"
    for content in (whole + b"\n", whole[:1000] + b"x" + whole[1000:], b"", b"\x89HDF\r\n\x1a\n", whole[100:]):
        damaged.write_bytes(content)
        with pytest.raises(DataError):
            pmlmm.load(damaged)


@pytest.mark.parametrize(("version", "words"), [(2, "update pmlmm"), (0, "older pmlmm")])
def test_another_version(saved, tmp_path, version, words):
    (tmp_path / "fit.nc").write_bytes(sealed(unsealed(saved[1]), version))
    with pytest.raises(DataError, match=rf"has format {version} of saved fits, .*{words}"):
        pmlmm.load(tmp_path / "fit.nc")


@pytest.mark.parametrize(
    "text",
    [
        {},
        {"formula": "y ~ x"},
        {"formula": {"!object": ["Popen", {}]}},
        {"formula": {"!object": ["Flat", {"a": 1}]}},
        {"formula": {"!array": {"dtype": "O", "shape": [1], "scalar": False, "order": "C", "name": None}}},
        {"formula": {"!pickle": "x"}},
        [],
    ],
)
def test_a_sealed_file_with_something_else_in_it(tmp_path, text):
    values = np.frombuffer(json.dumps(text).encode(), dtype=np.uint8)
    tree = xr.DataTree(xr.Dataset({"description": ("entry", values)}))
    (tmp_path / "fit.nc").write_bytes(sealed(netcdf(tree)))
    with pytest.raises(DataError, match="is intact but does not hold what a saved fit does"):
        pmlmm.load(tmp_path / "fit.nc")


def test_other_programs_read_it(saved):
    with xr.open_dataset(saved[1]) as dataset:
        assert dataset.attrs["formula"] == "Reaction ~ Days + (1 | Subject)"
        assert dataset.attrs["pmlmm_version"] == pmlmm.__version__


SAVE = """
import os, sys, time, pmlmm
fit = pmlmm.load(sys.argv[1])
os.{step} = lambda *given: (print("now", flush=True), time.sleep(100))
fit.save(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_killed_while_it_saves(saved, tmp_path, step):
    fit, path = saved
    (tmp_path / "fit.nc").write_bytes(path.read_bytes())
    process = start(SAVE.replace("{step}", step), tmp_path / "fit.nc")
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] != 0
    assert pmlmm.load(tmp_path / "fit.nc").summary() == fit.summary()
