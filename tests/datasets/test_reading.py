"""Reading: what a table says survives."""

import bz2
import gzip
import lzma
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.datasets import read
from pmlmm.datasets.reading import read_table
from pmlmm.errors import DataError
from tests.processes import finish, start


def table(tmp_path, text, missing=(), name="mine.csv"):
    """What is read from a file, and what is said of it."""
    (tmp_path / name).write_bytes(text.encode())
    notes = []
    frame = read_table(str(tmp_path / name), missing, lambda column, text: notes.append((column, text)))
    return frame, notes


def test_levels_called_none_na_and_null_are_levels(tmp_path):
    frame, notes = table(tmp_path, "y,g,x\n1,NA,1\n2,None,NA\n3,null,3\n4,b,\n5,NA,5\n6,,6\n")
    assert frame["g"].tolist()[:5] == ["NA", "None", "null", "b", "NA"]
    assert frame["g"].isna().tolist() == [False] * 5 + [True]
    assert frame["x"].isna().tolist() == [False, True, False, True, False, False]
    assert frame["x"].dtype == float
    assert [column for column, _ in notes] == ["g"] * 3
    assert notes[0][1].endswith("has 2 rows that read 'NA': taken as a level; --missing NA makes it missing")
    assert "1 row that reads 'None'" in notes[1][1] + notes[2][1]


def test_words_that_are_said_to_be_missing(tmp_path):
    frame, notes = table(tmp_path, "y,g,x\n1,NA,1\n2,b,-99\n3,-,3\n-99,None,.\n", ["NA", "-", "-99", "."])
    assert frame["g"].isna().tolist() == [True, False, True, False]
    assert frame["x"].isna().tolist() == [False, True, False, True]
    assert frame["y"].isna().tolist() == [False, False, False, True]
    assert [column for column, _ in notes] == ["g"]


@pytest.mark.parametrize("word", ["NA", "", "NaN", "null", "None", "N/A", "#N/A"])
def test_numbers_and_truth_values_have_missing_values_by_any_of_the_usual_words(tmp_path, word):
    frame, notes = table(tmp_path, f"x,b,n\n1,TRUE,2\n{word},{word},{word}\n2.5,FALSE,3\n")
    assert notes == []
    assert frame.isna().sum().tolist() == [1, 1, 1]
    assert frame["b"].tolist()[::2] == [True, False]
    assert frame["n"].dtype == float


def test_files_without_such_words_are_read_as_pandas_reads_them(tmp_path, sleepstudy):
    mixed = sleepstudy.assign(g=np.where(sleepstudy.Days < 5, "early", "late"), b=sleepstudy.Days > 2)
    frame, notes = table(tmp_path, mixed.to_csv(index=False))
    pd.testing.assert_frame_equal(frame, pd.read_csv(tmp_path / "mine.csv"))
    assert notes == []


def test_bundled_data_are_as_ever():
    for name in pmlmm.datasets.names():
        pd.testing.assert_frame_equal(read(name), pmlmm.datasets.load(name))


@pytest.mark.parametrize("pack", [gzip, bz2, lzma])
def test_packed_files(tmp_path, sleepstudy, pack):
    path = tmp_path / f"mine.csv.{ {gzip: 'gz', bz2: 'bz2', lzma: 'xz'}[pack] }"
    content = pack.compress(sleepstudy.to_csv(index=False).encode())
    path.write_bytes(content)
    pd.testing.assert_frame_equal(read(str(path)), sleepstudy)
    for broken in (content[: len(content) // 2], b"Reaction,Days\n1,2\n"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"Cannot unpack .* broken or of another kind"):
            read(str(path))


def test_names_of_rows_are_no_column(tmp_path):
    """As `write.csv` of R and `to_csv` of pandas write them: they would be a covariate of a penalised block."""
    for text in (',a,b\n"1",1,2\n"2",3,4\n', ",a,b\n0,1,2\n1,3,4\n"):
        frame, notes = table(tmp_path, text)
        assert (list(frame), frame.index.tolist(), notes) == (["a", "b"], [0, 1], [])
    frame, notes = table(tmp_path, ',a,b\n"s1",1,2\n"s2",3,4\n')
    assert (list(frame), frame.index.tolist()) == (["a", "b"], ["s1", "s2"])
    assert "first column" in notes[0][1]
    frame, notes = table(tmp_path, '"a","b"\n"s1",1,NA\n"s2",3,4\n')  # write.table(sep=",")
    assert (list(frame), frame.index.tolist()) == (["a", "b"], ["s1", "s2"])
    assert "one value more than its header" in notes[0][1]


def test_levels_are_kept_beside_names_of_rows(tmp_path):
    frame, _ = table(tmp_path, '"g","x"\n"s1","NA",NA\n"s2","b",4\n')
    assert frame["g"].tolist() == ["NA", "b"]
    assert frame["x"].isna().tolist() == [True, False]


def test_a_name_that_two_columns_have(tmp_path):
    frame, notes = table(tmp_path, "y,x,x\n1,2,3\n4,5,6\n")
    assert frame["x"].tolist() == [2, 5]
    assert notes[0][0] == "x"
    assert "2 columns" in notes[0][1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"y,x\n1,2\n1,2,3\n", "expected 2 fields in line 3, saw 3"),
        (b'y,x\n1,"2\n3,4\n', "quotation mark is not closed"),
        ("y,x\n1,2\né,3\n".encode("latin1"), r"not text in UTF-8 \(line 3\)"),
        ("y,x\n1,2\n".encode("utf-16"), "not text in UTF-8"),
        (b"PK\x03\x04\x00\x00", "not text in UTF-8"),
        (b"y;x\n1;2\n", "commas between its columns"),
        (b"y;x\n1,5;2,5\n3,5;4,5\n", "commas between its columns"),
        (b"y\tx\n1\t2\n", "commas between its columns"),
        (b"y,x\n1,2,\n3,4,\n", "commas at the ends"),
        (b"y,x\n0,2,\n1,4,\n", "commas at the ends"),
        (b"y,x\n1,2,3,4\n", "4 values, its header has 2 names"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_csv_files_that_cannot_be_read(tmp_path, text, words, pack):
    path = tmp_path / ("mine.csv" if pack is bytes else "mine.csv.gz")
    path.write_bytes(pack(text))
    with pytest.raises(DataError, match=words) as caught:
        read(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b"y,x\n1,2\n", lambda b: b[:-9], lambda b: b[len(b) // 2 :]]
)
def test_parquet_files_that_are_broken(tmp_path, sleepstudy, damage):
    path = tmp_path / "mine.parquet"
    sleepstudy.to_parquet(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"Cannot read .*mine\.parquet") as caught:
        read(str(path))
    assert "\n" not in str(caught.value)


def test_a_parquet_data_set_in_parts(tmp_path, sleepstudy):
    (tmp_path / "mine.parquet").mkdir()
    sleepstudy[:100].to_parquet(tmp_path / "mine.parquet" / "0.parquet")
    sleepstudy[100:].to_parquet(tmp_path / "mine.parquet" / "1.parquet")
    assert read(str(tmp_path / "mine.parquet"))["Reaction"].tolist() == sleepstudy["Reaction"].tolist()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mime.csv", "There is no file .*Did you mean 'mine.csv'"),
        ("no/mine.csv", "Nor is there a folder"),
        ("folder", "is a folder"),
        ("folder.csv", "is a folder"),
        ("mine.xlsx", r"pmlmm reads \.csv, .*\.csv\.gz.*\.parquet"),
        ("mine.parquet.gz", r"pmlmm reads \.csv"),
        ("mine.csv.zip", r"pmlmm reads \.csv"),
        ("loop.csv", "too many levels of symbolic links"),
    ],
)
def test_files_that_are_not_there(tmp_path, name, words):
    for folder in ("folder", "folder.csv"):
        (tmp_path / folder).mkdir()
    (tmp_path / "mine.csv").write_text("y\n1\n")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(DataError, match=words):
        read(str(tmp_path / name))


@pytest.mark.parametrize(
    "address", ["http://host/mine.csv", "https://host/mine", "s3://bucket/mine.parquet", "file:///a.csv"]
)
def test_addresses_are_no_files(address):
    with pytest.raises(DataError, match=f"'{address}': pmlmm reads local files only. Download it first"):
        read(address)


def test_a_file_that_may_not_be_read():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name in ("mine.csv", "mine.parquet"):
            Path(folder, name).write_text("y\n1\n")
            os.chmod(Path(folder, name), 0)
            code = "import os, sys; from pmlmm.datasets.reading import read_table; import pyarrow.parquet\n"
            code += "os.setuid(65534) if os.getuid() == 0 else None\nread_table(sys.argv[1])"
            status, _, error = finish(start(code, Path(folder, name)))
            assert status == 1
            assert error.endswith(f"DataError: Cannot read '{folder}/{name}': permission denied.\n")


def test_a_folder_of_the_name_of_a_bundled_data_set(tmp_path, monkeypatch):
    (tmp_path / "sleepstudy").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(read("sleepstudy")) == 180
