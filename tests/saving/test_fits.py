"""A saved fit is the same fit in another process, whatever table, priors and options it was made from."""

import json
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from scipy import sparse

import pmlmm
from pmlmm.errors import DataError, FormulaError, OptionError

FORMULA = "Reaction ~ Days + (Days | Subject)"


def everything(fit):
    """What a fit says, as text of exact numbers."""
    posterior = fit.posterior
    parts = [fit.summary(), fit.hyperparameters.to_csv(), repr(fit.options), str(fit.log_evidence.hex())]
    parts += [np.asarray(fit.predict()).tobytes().hex()]
    for name in sorted(posterior.children):
        group = posterior[name].to_dataset()
        parts += [
            f"{key} {group[key].dtype} {group[key].to_numpy().tobytes().hex()}" for key in sorted(group.data_vars)
        ]
    return parts


def table(rows=160, groups=20, seed=0):
    """Years, a wide range of units, every type of column."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(groups), rows // groups)
    data = pd.DataFrame(
        {
            "g": pd.Categorical([f"\u00e4 {k}/{k}" for k in g]),
            "number": g * 7,
            "year": 1990 + rng.integers(0, 20, rows),
            "dose": pd.Categorical(rng.choice(["low", "mid", "high"], rows), ["low", "mid", "high"], ordered=True),
            "flag": rng.random(rows) > 0.5,
            "text": rng.choice(["a", "it's", 'q"'], rows),
            "count": pd.array(rng.integers(0, 9, rows), dtype="Int64"),
            "date": pd.to_datetime("2020-03-01") + pd.to_timedelta(g, "D"),
            "cut": pd.cut(rng.normal(size=rows), [-9, -0.5, 0.5, 9]),
            "object": np.array([1.5 if k % 2 else 2 for k in g], dtype=object),
        }
    )
    effect = rng.normal(size=groups)[g]
    data["y"] = 1e-6 * (3 + effect + 0.1 * (data["year"] - 2000) + data["flag"] + rng.normal(size=rows))
    data["w"], data["y0"] = rng.uniform(0.5, 3.0, rows), 1e-6 * rng.normal(size=rows)
    data.loc[[3, 30], "count"] = pd.NA
    return data


MODELS = {
    "years": ("y ~ year + (year | g)", {}, {}),
    "types": ("y ~ dose + flag + text + count + cut + (1 | g)", {}, {"integrate": False}),
    "crossed": ("y ~ I(year - 2000) + (1 | date) + (1 | text) + (1 | object)", {}, {}),
    "nested": ("y ~ dose + (1 | text / number)", {}, {}),
    "plug-in": ("y ~ year + (1 | g)", {}, {"integrate": False}),
    "refined": ("y ~ flag + (flag | g)", {}, {"integrate": False, "refine": True, "random_seed": 5}),
    "no hyperprior": ("y ~ flag + (1 | g)", {}, {"hyperprior": None}),
    "joint": ("y ~ flag + (1 | g)", {}, {"approximation": "joint"}),
    "em": ("y ~ flag + (1 | g)", {}, {"approximation": "joint", "optimizer": "em"}),
    "hyperprior": ("y ~ flag + (1 | g)", {}, {"hyperprior": pmlmm.Hyperprior(eta_sd=1.0, pool_at="mean square")}),
    "weights": ("y ~ flag + offset(y0) + (1 | g)", {"weights": "w"}, {"integrate": False}),
    "no effects": ("y ~ year + flag", {"standardize": False}, {}),
    "priors": (
        "y ~ year + flag + text + (1 + flag | g)",
        {
            "priors": {
                "year": pmlmm.Normal(sd=1e-6),
                ("flag", "text"): pmlmm.Ridge(),
                "g": pmlmm.InverseWishart(b=0.3, A=np.array([[2e-12, 1e-13], [1e-13, 1e-12]])),
                "sigma": pmlmm.HalfStudentT(3, 1e-6),
            }
        },
        {"random_seed": 3},
    ),
}


@pytest.fixture(scope="module")
def fits():
    """Each is fitted when it is first asked for."""

    class Fits(dict):
        def __missing__(self, name):
            formula, given, options = MODELS[name]
            self[name] = pmlmm.Model(formula, table(), **given).fit(**options)
            return self[name]

    return Fits()


@pytest.mark.slow
def test_in_a_fresh_process(fits, tmp_path):
    """Everything that is said of each fit, to the last bit, by a process that knows only the file."""
    for name in MODELS:
        fits[name].save(tmp_path / f"{name}.nc")
    code = (
        "import sys, json, pathlib, pmlmm\n"
        "from tests.saving.test_fits import everything\n"
        "paths = pathlib.Path(sys.argv[1]).glob('*.nc')\n"
        "print(json.dumps({path.stem: everything(pmlmm.load(path)) for path in paths}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    there = json.loads(done.stdout)
    assert there == {name: everything(fit) for name, fit in fits.items()}


@pytest.mark.slow
def test_what_computes_anew(fits, tmp_path):
    """Integration, profile, leave-one-group-out, NUTS and replications after loading."""
    for name in ("plug-in", "years"):
        fit = fits[name]
        fit.save(tmp_path / "fit.nc")
        back = pmlmm.load(tmp_path / "fit.nc")
        assert type(back) is type(fit)
        xr.testing.assert_identical(back.mean, fit.mean)
        xr.testing.assert_identical(back.sd, fit.sd)
        xr.testing.assert_identical(back.mode, fit.mode)
        assert back.integrate().summary() == fit.integrate().summary()
        hyperparameter = fit.hyperparameters.index[0]
        pd.testing.assert_frame_equal(
            back.profile(hyperparameter, points=3), fit.profile(hyperparameter, points=3), check_exact=True
        )
        assert back.logo().elpd == fit.logo().elpd
        pd.testing.assert_frame_equal(back.check_residuals(), fit.check_residuals(), check_exact=True)
        assert back.optimizer_records[-1].path[-1][1] == fit.optimizer_records[-1].path[-1][1]
        ours, theirs = (
            f.sample(30, chains=1, tune=50, progress=False, sampler="pymc")["posterior"]["sigma"] for f in (back, fit)
        )
        np.testing.assert_array_equal(ours, theirs)
        ours, theirs = (
            f.sample_posterior_predictive(draws=5)["posterior_predictive"].to_dataset() for f in (back, fit)
        )
        xr.testing.assert_identical(ours, theirs)


def test_new_rows_of_a_loaded_fit(fits, tmp_path):
    data = table(seed=1)
    for name in ("types", "plug-in"):
        fits[name].save(tmp_path / "fit.nc")
        back = pmlmm.load(tmp_path / "fit.nc")
        pd.testing.assert_frame_equal(back.predict(data), fits[name].predict(data), check_exact=True)


@pytest.mark.parametrize("kind", ["frame", "array", "fortran", "integers", "sparse", "polars"])
def test_wide_blocks(tmp_path, kind):
    data, rng = table(40, 10), np.random.default_rng(4)
    matrix = rng.integers(0, 3, (40, 60)).astype(float)
    block = {
        "frame": pd.DataFrame(matrix, columns=[f"snp{j}" for j in range(60)]),
        "array": matrix,
        "fortran": np.asfortranarray(matrix),
        "integers": matrix.astype(np.int8),
        "sparse": sparse.csr_array(matrix),
        "polars": pl.DataFrame(matrix, schema=[f"snp{j}" for j in range(60)]),
    }[kind]
    fit = pmlmm.Model("y ~ flag + count + (1 | g)", data, penalized={"snps": block}).fit(integrate=False)
    fit.save(tmp_path / "fit.nc")
    back = pmlmm.load(tmp_path / "fit.nc")
    assert back.summary() == fit.summary()
    xr.testing.assert_identical(back.mean, fit.mean)
    np.testing.assert_array_equal(
        back.predict(data, penalized={"snps": block}), fit.predict(data, penalized={"snps": block})
    )


def test_a_polars_table_that_changes_afterwards(tmp_path):
    data = table(80, 10).drop(columns=["cut", "object"])
    given = {name: data[name].tolist() for name in ("y", "year")} | {"g": data["g"].astype(str).tolist()}
    fit = pmlmm.Model("y ~ year + (1 | g)", pl.DataFrame(given)).fit()
    changing = pd.DataFrame(given)
    other = pmlmm.Model("y ~ year + (1 | g)", changing).fit()
    changing["y"] = 0.0
    for saved in (fit, other):
        saved.save(tmp_path / "fit.nc")
        assert pmlmm.load(tmp_path / "fit.nc").summary() == saved.summary()


def test_weights_beside_the_table(tmp_path):
    data = table(80, 10)
    weights, offset = np.linspace(0.5, 3.0, 80), 1e-6 * pd.Series(np.arange(80.0))
    fit = pmlmm.Model("y ~ count + (1 | g)", data, weights=weights, offset=offset).fit(integrate=False)
    text, fitted = fit.summary(), fit.predict()
    weights[:] = 1.0
    fit.save(tmp_path / "fit.nc")
    back = pmlmm.load(tmp_path / "fit.nc")
    assert back.summary() == text
    pd.testing.assert_frame_equal(back.predict(), fitted, check_exact=True)


def test_functions_are_asked_for_by_name(tmp_path, sleepstudy):
    formula = "Reaction ~ bend(Days) + (1 | Subject)"
    fit = pmlmm.Model(formula, sleepstudy, context={"bend": np.sqrt}).fit(integrate=False)
    fit.save(tmp_path / "fit.nc")
    with pytest.raises(OptionError, match=r"was given bend, which a file cannot hold: .*context=\{'bend': \.\.\.\}"):
        pmlmm.load(tmp_path / "fit.nc")
    with pytest.raises(OptionError, match=r"was not given 'bond'\. Did you mean 'bend'"):
        pmlmm.load(tmp_path / "fit.nc", context={"bend": np.sqrt, "bond": np.sqrt})
    assert pmlmm.load(tmp_path / "fit.nc", context={"bend": np.sqrt}).summary() == fit.summary()


def test_a_file_runs_no_code_unless_it_is_trusted(tmp_path, sleepstudy):
    fit = pmlmm.Model("Reaction ~ I(Days.mul(2)) + (1 | Subject)", sleepstudy).fit(integrate=False)
    fit.save(tmp_path / "fit.nc")
    with pytest.raises(FormulaError, match=r"has a call of Days.*pmlmm\.load\(path, trusted=True\)"):
        pmlmm.load(tmp_path / "fit.nc")
    assert pmlmm.load(tmp_path / "fit.nc", trusted=True).summary() == fit.summary()


def test_saved_again_it_is_the_same_content(tmp_path, fits):
    fits["types"].save(tmp_path / "a.nc")
    pmlmm.load(tmp_path / "a.nc").save(tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        xr.testing.assert_identical(a.load(), b.load())


def test_names_and_places(tmp_path, fits):
    fit = fits["plug-in"]
    with pytest.raises(OptionError, match=r"'fit\.csv': what is written is netCDF; .* such as fit\.nc"):
        fit.save("fit.csv")
    fit.save(tmp_path / "fit.nc")
    fits["types"].save(tmp_path / "fit.nc")
    assert pmlmm.load(str(tmp_path / "fit.nc")).summary() == fits["types"].summary()
    assert [path.name for path in tmp_path.iterdir()] == ["fit.nc"]


def test_several_threads_save_and_load(tmp_path, fits):
    fit, found = fits["plug-in"], []

    def one(k):
        fit.save(tmp_path / f"{k}.nc")
        found.append(pmlmm.load(tmp_path / f"{k}.nc").log_evidence)

    threads = [threading.Thread(target=one, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [fit.log_evidence] * 4


def test_what_a_file_cannot_hold_is_said(tmp_path):
    data = table(80, 10).assign(g=[complex(k // 8, 1) for k in range(80)])
    data["g"] = data["g"].astype(object)
    fit = pmlmm.Model("y ~ year + (1 | g)", data).fit(integrate=False)
    with pytest.raises(OptionError, match=r"The column 'g' has the complex .*astype\(str\)"):
        fit.save(tmp_path / "fit.nc")
    assert not list(tmp_path.iterdir())


def test_what_is_no_saved_fit(tmp_path, fits, sleepstudy):
    sleepstudy.to_csv(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv' is not a saved fit"):
        pmlmm.load(tmp_path / "a.csv")
    fits["plug-in"].posterior.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"is netCDF, but not a whole fit: it holds something else \(draws"):
        pmlmm.load(tmp_path / "draws.nc")
    with pytest.raises(DataError, match="no such file"):
        pmlmm.load(tmp_path / "nothing.nc")
    with pytest.raises(DataError, match="is no file"):
        pmlmm.load(tmp_path)
