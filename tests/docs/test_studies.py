"""The studies run, at small size, and the full graph agrees with the collapsed one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.processes import run_here

STUDIES = Path(__file__).parents[2] / "docs" / "studies"


@pytest.fixture
def run(monkeypatch):
    """What a study prints; one process, as starting more takes longer than the work here."""
    monkeypatch.setenv("SAVED", "off")
    monkeypatch.setenv("WORKERS", "1")
    return lambda name, *options: run_here(STUDIES / f"{name}.py", *options)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("many_covariates", ["--seeds", "2", "--p", "60", "--signal", "1"], "learned"),
        ("rank_calibration", ["--replicates", "3", "--first", "4"], "b and A drawn         integrated"),
        ("evidence_error", ["--shapes", "1"], "PSIS within 3 errors of bridge: 3 of 3"),
    ],
)
@pytest.mark.slow
def test_studies_run_at_small_size(run, name, options, expected):
    assert expected in run(name, *options)


def table(path):
    """Rows of a Markdown table as dicts."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


METHODS = ["ML", "talk, A identity", "plain EB", "default", "oracle"]


@pytest.mark.parametrize(
    ("name", "replicates", "small", "number", "column", "labels"),
    [
        ("singular_fit", 2, False, "KL", "method", METHODS),
        ("refused_fit", 1, False, "KL", "method", METHODS),
        ("overfitting", 1, False, "KL", "method", METHODS),
        ("hero", 1, False, "median", "curves of", ["each alone", "maximum likelihood", "pmlmm"]),
        ("b_against_repeats", 1, False, "default", "rows", ["2", "5", "10"]),
        ("talk_table_1_gaussian", 1, False, "b: default", "repeats", ["2", "3", "5", "8"]),
        ("talk_table_2", 1, True, "lambda", "p", ["2", "300"]),
        ("structure_of_a", 1, True, "total", "A", ["identity", "pooled, sd 0.5", "default"]),
        ("talk_choices", 1, True, "KL, 5", "KL of", ["true, est.", "est., true"]),
        ("hyperprior_on_data", 1, True, "log p(y), sd 0.5", "model", ["ergoStool", "all together"]),
        ("treatment_contrasts", 1, True, "mean", "prior", ["default", "flat", "ridge"]),
        ("origin_of_a", 2, False, "k", "uncorrelated", ["at zero", "at the mean", ".3 at the mean"]),
    ],
)
@pytest.mark.slow
def test_the_talk_at_small_size(run, name, replicates, small, number, column, labels, tmp_path):
    script = name.removesuffix("_gaussian")
    run(script, "--replicates", str(replicates), "--to", str(tmp_path), *(["--small"] if small else []))
    rows = table(tmp_path / f"{name}.md")
    assert {row[column] for row in rows} >= set(labels)
    assert all(0 < abs(float(row[number])) < np.inf for row in rows)
    assert all(row.get("refused", "0") == "0" for row in rows)
    for file in (STUDIES / "results").glob(f"{name}*"):
        text = (tmp_path / file.name).read_text()
        assert len(text) > (10_000 if file.suffix == ".svg" else 200)
        assert "nan" not in text
        assert "talk" in text or not name.startswith("talk")


@pytest.mark.slow
def test_hyperprior_risk_at_small_size(run, tmp_path):
    few = ["--settings", "8 x 3, sd 0;18 x 10, correlation .8", "--candidates", "1.5,2,1.5;1,7,1,level=1"]
    run("hyperprior_risk", "--replicates", "2", *few, "--to", str(tmp_path))
    rows = table(tmp_path / "hyperprior_risk.md")
    assert [row["setting"] for row in rows] == ["8 x 3, sd 0", "18 x 10, correlation .8", "largest"]
    assert all(min(float(row["1.5,2,1.5"]), float(row["1,7,1,level=1"])) == 0.0 for row in rows[:2])
    held = table(tmp_path / "hyperprior_risk_coverage.md")
    assert {row["of"] for row in held} == {"sds", "correlations", "zeros"}


@pytest.mark.slow
def test_the_tutorials_summary_is_what_a_fit_prints(tmp_path):
    """But for digits, which other versions of the dependencies may change."""
    command = [sys.executable, str(STUDIES / "first_summary.py"), "--to", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"SAVED": "off"})
    assert done.returncode == 0, done.stderr
    skeletons = []
    for folder in (tmp_path, STUDIES / "results"):
        text = (folder / "first_summary.txt").read_text()
        skeletons.append(re.sub(r"[-\d.e+]*\d[-\d.e+]*", "#", re.sub(r" +", " ", text)))
    assert skeletons[0] == skeletons[1]
    assert "Standard deviations" in skeletons[0]


@pytest.fixture
def studies(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDIES))


@pytest.mark.usefixtures("studies")
def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
    import parallel

    sources, saved, log = tmp_path / "sources", tmp_path / "saved", tmp_path / "log"
    sources.mkdir()
    (sources / "work.py").write_text(
        "from pathlib import Path\n\n\n"
        "def one(x, log):\n"
        "    with Path(log).open('a') as file:\n        file.write(f'{x} ')\n"
        "    if x == 3 and not Path(log + '.mended').exists():\n        raise KeyboardInterrupt\n"
        "    return x * x\n"
    )
    monkeypatch.syspath_prepend(str(sources))
    monkeypatch.setattr(parallel, "HERE", sources)
    monkeypatch.setenv("WORKERS", "1")
    monkeypatch.setenv("SAVED", str(saved))
    import work

    def run_again(**options):
        log.write_text("")
        result = parallel.replicate(work.one, [(x, str(log)) for x in (1, 2, 3, 4)], **options)
        return result, log.read_text().split()

    with pytest.raises(KeyboardInterrupt):
        run_again()
    assert log.read_text().split() == ["1", "2", "3"]
    (tmp_path / "log.mended").touch()
    assert run_again() == ([1, 4, 9, 16], ["3", "4"])
    assert run_again() == ([1, 4, 9, 16], [])
    assert run_again(fresh=True) == ([1, 4, 9, 16], ["1", "2", "3", "4"])
    (sources / "other.py").write_text("# a change of what the study uses\n")
    assert run_again() == ([1, 4, 9, 16], ["1", "2", "3", "4"])
    monkeypatch.setenv("SAVED", "off")
    assert run_again() == ([1, 4, 9, 16], ["1", "2", "3", "4"])


@pytest.mark.usefixtures("studies")
def test_scores_are_zero_at_the_truth():
    import methods

    for case in (methods.Case(3), methods.Case(3, "polynomial"), methods.Curves((3,) * 10)):
        data, truth = case.simulate(1)
        estimate = methods.Estimate(truth.beta, truth.sigma, truth.Sigma, truth.gamma)
        score = methods.score(data, truth, estimate)
        assert not score.pop("singular")
        assert not score.pop("degenerate")
        assert max(np.abs(list(score.values()))) < 1e-9
        worse = methods.Estimate(truth.beta + 1.0, truth.sigma, truth.Sigma, truth.gamma)
        assert methods.score(data, truth, worse)["RMSE"] == pytest.approx(1.0)


@pytest.mark.usefixtures("studies")
def test_divergence_and_its_direction():
    import methods

    near, far = (np.zeros(1), np.eye(1)), (np.ones(1), 4.0 * np.eye(1))
    assert methods.divergence(near, far) == pytest.approx(np.log(2) + (1 + 1) / 8 - 0.5)
    assert methods.divergence(far, near) == pytest.approx(-np.log(2) + (4 + 1) / 2 - 0.5)


@pytest.mark.usefixtures("studies")
def test_ratios_and_what_is_left_out():
    import methods
    import talk_table_1

    shared = {"repeats": 2, "b": np.nan, "singular": False, "degenerate": False, "seconds": 1.0}
    rows = [
        shared | {"seed": seed, "method": method, "kind": "mean", "RMSE": rmse, "KL": kl}
        for seed in (1, 2, 3)
        for method, rmse, kl in (("ML", 1.0, 6.0), ("default", 0.5, 3.0), ("oracle", 0.4, 2.0))
    ]
    rows[-2] = {"repeats": 2, "seed": 3, "method": "default", "kind": "refused"}
    fitted, left_out = methods.fitted_by_all(pd.DataFrame(rows), ["repeats", "seed"])
    assert left_out == 1
    assert set(fitted["seed"]) == {1, 2}
    found = talk_table_1.side_by_side(talk_table_1.with_ratios(fitted), pd.Series({"default": 1})).set_index("method")
    assert found.loc["default", "KL, 2"] == pytest.approx(2.0)  # maximum likelihood over the method
    assert found.loc["default", "KL / oracle"] == pytest.approx(1.5)
    assert found.loc["default", "RMSE / ML"] == pytest.approx(0.5)  # the method over maximum likelihood
    assert list(found["refused"]) == [0, 1, 0]


@pytest.mark.usefixtures("studies")
def test_maximum_likelihood_is_lmers():
    """lmer's maximum on sleepstudy, from the reference file."""
    import maximum_likelihood

    import pmlmm

    data = pmlmm.datasets.load("sleepstudy")
    X = np.column_stack([np.ones(len(data)), data["Days"]])
    group = data["Subject"].astype("category").cat.codes.to_numpy()
    found = maximum_likelihood.maximum_likelihood(X, X, data["Reaction"].to_numpy(), group)
    assert found.log_likelihood == pytest.approx(-875.96967, abs=1e-4)
    np.testing.assert_allclose(found.beta, [251.4051, 10.46729], rtol=1e-5)
    assert not found.singular


@pytest.mark.usefixtures("studies")
def test_nothing_near_a_singular_maximum_is_likelier():
    import maximum_likelihood
    import methods
    from scipy.stats import multivariate_normal

    data, _ = methods.Curves((10,) * 10).simulate(1)
    found = maximum_likelihood.of(data)
    assert found.singular
    X, Z = maximum_likelihood.matrices(data)
    y, group = data["y"].to_numpy(), data["ind"].to_numpy()

    def log_likelihood(beta, sigma, Sigma):
        mean, V = methods.law(X, Z, group, methods.Estimate(beta, sigma, Sigma, np.zeros((10, 4))))
        return multivariate_normal(mean, V).logpdf(y)

    top = log_likelihood(found.beta, found.sigma, found.Sigma)
    assert top == pytest.approx(found.log_likelihood, abs=1e-6)
    values, vectors = np.linalg.eigh(found.Sigma)
    root, rng = vectors * np.sqrt(np.maximum(values, 0.0)), np.random.default_rng(0)
    for _ in range(200):
        step = rng.choice([1e-3, 1e-2, 1e-1])
        near = root + step * rng.normal(size=(4, 4))
        beta, sigma = found.beta + step * rng.normal(size=4), found.sigma * np.exp(step * rng.normal())
        assert log_likelihood(beta, sigma, near @ near.T) < top + 1e-6


@pytest.mark.slow
def test_ranks_are_uniform_at_small_size(run):
    lines = run("rank_calibration", "--replicates", "25", "--settings", "1").splitlines()
    verdicts = {line.split()[2]: line.split()[-1] for line in lines if line.startswith("one factor")}
    assert verdicts["PSIS"] == verdicts["NUTS"] == "yes"


@pytest.mark.slow
def test_full_graph_nuts_agrees_with_the_rest(run):
    """The full graph shares no algebra with the fit; nutpie's compilation of it takes most of the time."""
    pytest.importorskip("nutpie")
    line = run("nuts_agreement", "--cases", "sleepstudy", "--draws", "500")
    numbers = {name: float(value) for name, value in re.findall(r"([A-Za-z][A-Za-z -]*?) (-?\d+\.\d+)", line)}
    assert numbers["full R-hat"] < 1.02
    assert numbers["full z"] < 4.0
    assert numbers["PSIS z"] < 4.0
    assert abs(numbers["evidence z"]) < 4.0
