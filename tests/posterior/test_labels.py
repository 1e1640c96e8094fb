"""ArviZ must put every number under its own name: the whole summary, forest and trace, against our labelled means.

``Dataset.to_stacked_array`` stacks each variable in the Dataset's order of dimensions; arviz_base 1.1 to 1.3 zips that
with labels in the variable's own order (``arviz_base.dataset_to_dataarray``). With gamma (group, effect) and Sigma
(effect, effect2) in one Dataset, 33 of the 36 random effects of sleepstudy came out under other subjects' names. To
report upstream: ``stack = ds.map(lambda v: v.transpose(..., *[d for d in ds.dims if d in v.dims]))`` before taking the
labels mends it. Here no two variables share dimensions in an order that another listing of variables could turn round.
"""

import itertools

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pmlmm


@pytest.fixture(scope="module")
def fit():
    """Two terms on one factor, a crossed one, a nested one, a factor slope and a wide block; all sizes differ."""
    rng = np.random.default_rng(0)
    n = 240
    table = pd.DataFrame(
        {
            "s": np.repeat(np.arange(12) * 11, 20),
            "t": np.tile(np.arange(20.0), 12),
            "item": rng.choice(list("vwxyz"), n),
        }
    )
    table["part"] = np.where(table.t > 9, "late", "early")
    effects = rng.normal(size=(12, 2)) * [5.0, 1.0]
    table["y"] = 10 * effects[np.repeat(np.arange(12), 20), 0] + effects[np.repeat(np.arange(12), 20), 1] * table.t
    table["y"] += pd.Categorical(table.item).codes * 3 + rng.normal(size=n)
    genes = pd.DataFrame(rng.normal(size=(n, 7)), columns=[f"gene{j}" for j in range(7)])
    formula = "y ~ t + part + (1 + t || s) + (1 | s:part) + (1 + t | item)"
    return pmlmm.Model(formula, table, penalized={"genes": genes}).fit(draws=400)


def entries(dataset):
    """(label, DataArray) of every scalar, by xarray's own selection."""
    for name, variable in dataset.data_vars.items():
        dims = [dim for dim in variable.dims if dim not in ("chain", "draw")]
        for values in itertools.product(*(dataset[dim].values for dim in dims)):
            label = f"{name}[{', '.join(map(str, values))}]" if dims else str(name)
            yield label, variable.sel(dict(zip(dims, values, strict=True)))


def assert_labels(tree, **options):
    dataset = tree["posterior"].to_dataset()
    table = az.summary(tree, round_to="none", kind="stats", **options)
    expected = {label: float(value.mean()) for label, value in entries(dataset)}
    assert len(table) == len(expected) or "var_names" in options
    for label, mean in table["mean"].items():
        assert float(mean) == pytest.approx(expected[label], rel=1e-9), label


def test_every_number_of_the_summary(fit):
    assert_labels(fit.posterior)
    means = dict(entries(fit.mean))
    sds = dict(entries(fit.sd))
    table = az.summary(fit.posterior, round_to="none", kind="stats")
    hyperparameters = [label for label in table.index if label not in means]
    assert all(label.startswith(("lambda_", "b_", "A_")) for label in hyperparameters)
    for label, mean in table["mean"].drop(hyperparameters).items():
        sd = float(sds[label]) if label in sds else float(table.loc[label, "sd"])
        assert abs(float(mean) - float(means[label])) < 0.5 * sd, label


@pytest.mark.parametrize("backwards", [False, True])
def test_every_order_of_variables(fit, backwards):
    names = sorted(map(str, fit.posterior["posterior"].data_vars), reverse=backwards)
    assert_labels(fit.posterior, var_names=names)
    for pair in itertools.permutations([name for name in names if name.endswith(("_item", "_s_2"))], 2):
        assert_labels(fit.posterior, var_names=list(pair))


def test_after_a_file(fit, tmp_path):
    fit.posterior.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as tree:
        assert_labels(tree.load())


def test_integrated_and_predictive(fit):
    integrated = fit.integrate(nodes=64, draws=100)
    assert_labels(integrated.posterior)
    assert_labels(integrated.posterior, var_names=["A_item", "gamma_item", "Sigma_item"])
    assert_labels(fit.sample_posterior_predictive(draws=50))
    prior = fit.sample_prior_predictive(draws=50)
    expected = {label: float(value.mean()) for label, value in entries(prior["prior"].to_dataset())}
    table = az.summary(prior, group="prior", round_to="none", kind="stats")
    assert {label: pytest.approx(float(mean), rel=1e-9) for label, mean in table["mean"].items()} == expected


@pytest.mark.slow
@pytest.mark.parametrize("collapsed", [True, False])
def test_nuts(sleepstudy, collapsed):
    fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy).fit()
    tree = fit.sample(draws=50, tune=100, chains=2, progress=False, collapsed=collapsed)
    assert_labels(tree)
    assert_labels(tree, var_names=["Sigma_Subject", "gamma_Subject"])


def test_the_effects_of_a_subject_by_name(sleep_fit):
    """The number that a reader of the README looks for."""
    table = az.summary(sleep_fit.posterior, round_to="none", kind="stats")
    for subject in sleep_fit.mean["Subject"].values:
        for effect in ("Intercept", "Days"):
            mine = float(sleep_fit.mean["gamma_Subject"].sel(Subject=subject, Subject_effect=effect))
            theirs = float(table.loc[f"gamma_Subject[{subject}, {effect}]", "mean"])
            assert theirs == pytest.approx(mine, abs=2.5)


def text(artist):
    """What ArviZ's plain backend says it would have drawn."""
    return artist.item()["string"]


def test_the_forest_puts_every_point_beside_its_label(fit):
    names = ["Sigma_item", "gamma_item"]
    forest = az.plot_forest(fit.posterior, var_names=names, combined=True, backend="none")
    draws = fit.posterior["posterior"]["gamma_item"]
    points, labels = forest.viz["point_estimate"]["gamma_item"], forest.viz["item_effect_label"]["gamma_item"]
    for item, effect in itertools.product(draws["item"].values, draws["item_effect"].values):
        at = {"item": item, "item_effect": effect}
        point, label = points.sel(at).item(), labels.sel(at).item()
        assert label["string"] == effect
        assert float(point["y"][0]) == float(label["y"][0])
        assert float(point["x"][0]) == pytest.approx(float(draws.sel(at).mean()), rel=1e-6)
    groups = forest.viz["item_label"]["gamma_item"]
    assert [text(label) for label in groups] == list(draws["item"].values)


def test_the_trace_draws_every_chain_under_its_own_title(fit):
    trace = az.plot_trace(fit.posterior, var_names=["Sigma_item", "gamma_item"], backend="none")
    draws = fit.posterior["posterior"]["gamma_item"]
    for item, effect in itertools.product(draws["item"].values, draws["item_effect"].values):
        at = {"item": item, "item_effect": effect}
        assert text(trace.viz["title"]["gamma_item"].sel(at)).split("\n")[1] == f"{item}, {effect}"
        line = trace.viz["trace"]["gamma_item"].sel(at).isel(chain=1).item()
        np.testing.assert_array_equal(line["y"], draws.sel(at).isel(chain=1))


def test_mode_and_mean_are_labelled(sleep_fit):
    for estimate in (sleep_fit.mode, sleep_fit.mean):
        assert estimate["beta"].sel(coefficient="Days") == pytest.approx(10.2, abs=0.3)
        assert estimate["Sigma_Subject"].dims == ("Subject_effect1", "Subject_effect2")
        assert estimate["gamma_Subject"].dims == ("Subject", "Subject_effect")
        assert estimate["gamma_Subject"].sel(Subject=308, Subject_effect="Days") > 5
    assert sleep_fit.mode.attrs["coordinates"] == "unconstrained"
