"""The command on saved fits."""

import io

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.cli import main

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "fit.nc"
    assert main(["fit", "sleepstudy", FORMULA, "--save", str(path)]) == 0
    return path


def test_a_fit_that_the_command_saved_is_that_of_the_library(saved, sleepstudy):
    assert pmlmm.load(saved).summary() == pmlmm.Model(FORMULA, sleepstudy).fit().summary()


def test_predictions(saved, tmp_path, capsys):
    new = pd.DataFrame({"Subject": [308, 309, 999], "Days": [10, 11, 12], "other": ["a", "b", "c"]})
    new.to_csv(tmp_path / "new.csv", index=False)
    arguments = ["predict", str(saved), str(tmp_path / "new.csv"), "--kind", "response", "--groups", "new"]
    assert main([*arguments, "--interval", "0.5"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    table = pmlmm.load(saved).predict(new, kind="response", groups="new", interval=0.5)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(printed.out)), table, rtol=1e-12)
    assert main([*arguments, "--interval", "0.5", "--out", str(tmp_path / "out.csv")]) == 0
    assert (tmp_path / "out.csv").read_text() == printed.out


def test_a_report(saved, tmp_path, capsys):
    assert main(["report", str(saved), str(tmp_path / "fit.html")]) == 0
    assert capsys.readouterr() == ("", "")
    assert FORMULA in (tmp_path / "fit.html").read_text(encoding="utf-8")


def test_models_side_by_side(saved, tmp_path, capsys, sleepstudy):
    other = str(tmp_path / "other.nc")
    pmlmm.Model("Reaction ~ Days + (1 | Subject)", sleepstudy).fit().save(other)
    assert main(["compare", str(saved), other]) == 0
    fits = {path: pmlmm.load(path) for path in (str(saved), other)}
    assert capsys.readouterr().out == f"{pmlmm.compare_models(fits)!r}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "FIT"], "two or more different files"),
        (["compare", "FIT", "FIT"], "two or more different files"),
        (["predict", "nothing.nc", "sleepstudy"], "no such file"),
        (["predict", "FIT", "nothing.csv"], "no file 'nothing.csv'"),
        (["predict", "FIT", "pastes"], "no column"),
        (["predict", "FIT", "sleepstudy", "--interval", "95"], "a probability between 0 and 1"),
        (["predict", "FIT", "sleepstudy", "--out", "fit.xlsx"], "such as fit.csv"),
        (["report", "FIT", "fit.pdf"], "such as fit.html"),
        (["fit", "sleepstudy", FORMULA, "--save", "fit.csv"], "such as fit.nc"),
        (["fit", "sleepstudy", FORMULA, "--save", "a.nc", "--out", "a.nc"], "choose two names"),
    ],
)
def test_errors_are_one_line(saved, arguments, words, capsys):
    assert main([str(saved) if word == "FIT" else word for word in arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pmlmm: ")
    assert words in error
    assert error.count("\n") == 1


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"pmlmm {pmlmm.__version__}\n"


def test_missing_words_of_new_rows(saved, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("Subject,Days\n308,none\n309,3\n")
    assert main(["predict", str(saved), str(tmp_path / "new.csv"), "--missing", "none"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    np.testing.assert_array_equal(table["mean"].isna(), [True, False])


def test_a_file_without_rows(saved, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("Subject,Days\n")
    assert main(["predict", str(saved), str(tmp_path / "new.csv")]) == 0
    assert capsys.readouterr() == ("mean,sd,lower,upper\n", "")


@pytest.fixture(scope="module")
def by_patient(tmp_path_factory):
    """A fit whose patients are "000" to "010" and "A04", of arms "1", "2" and "c"."""
    folder, rng = tmp_path_factory.mktemp("types"), np.random.default_rng(5)
    ids, arm = np.array([*(f"{i:03d}" for i in range(11)), "A04"]), rng.choice(["1", "2", "c"], 72)
    table = pd.DataFrame({"id": np.repeat(ids, 6), "arm": arm, "x": rng.normal(size=72), "y": rng.normal(size=72)})
    table.to_csv(folder / "data.csv", index=False)
    assert main(["fit", str(folder / "data.csv"), "y ~ x + arm + (1 | id)", "--save", str(folder / "fit.nc")]) == 0
    return folder / "fit.nc", table


@pytest.mark.parametrize("groups", ["known", "new"])
def test_new_rows_are_read_in_the_types_of_the_fit(by_patient, tmp_path, capsys, groups):
    """Columns that would be numbers by themselves; gaps stay gaps."""
    path, table = by_patient
    rows = table[table["id"].isin(["001", "002"]) & (table["arm"] != "c")]
    text = rows.to_csv(index=False) + ("007,,0.5,\n" if groups == "known" else "017,1,0.5,\n")
    (tmp_path / "new.csv").write_text(text)
    assert main(["predict", str(path), str(tmp_path / "new.csv"), "--groups", groups]) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    expected = pmlmm.load(path).predict(rows)
    np.testing.assert_allclose(found["mean"].iloc[:-1], expected["mean"])
    assert found["mean"].isna().sum() == (groups == "known")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "9,1,0.5",
            "'id' has 1 group that the fit has not seen (first: '9'). --groups new draws their random effects, ",
        ),
        ("9,1,0.5", "--groups none predicts without any"),
        ("001,3,0.5", "not seen: '3'. Valid choices: '1', '2', 'c'."),
        ("001,1,n.d.", "'x' is text in the new data (such as 'n.d.' in row 0), but held numbers in the fit"),
    ],
)
def test_errors_of_new_rows_are_in_words_of_the_command(by_patient, tmp_path, capsys, line, words):
    (tmp_path / "new.csv").write_text(f"id,arm,x\n{line}\n")
    assert main(["predict", str(by_patient[0]), str(tmp_path / "new.csv")]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "predict(" not in error
