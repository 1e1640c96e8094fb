"""Predictions for rows of the data and for new ones: what a user does with them."""

import logging
import sys

import numpy as np
import pandas as pd
import pytest

import pmlmm

COLUMNS = ["mean", "sd", "lower", "upper"]


@pytest.fixture(scope="module")
def nested():
    """20 classes of 4 schools, a factor beside a number, raw years, a gap in three columns."""
    rng = np.random.default_rng(3)
    school, room = np.repeat(np.arange(4), 60), np.repeat(np.arange(20), 12)
    table = pd.DataFrame({"school": school, "room": room, "year": 2000.0 + np.tile(np.arange(12.0), 20)})
    table["arm"] = rng.choice(["a", "b"], len(table))
    y = 50.0 + 0.3 * (table["year"] - 2000.0) + rng.normal(size=4)[school] + 2.0 * rng.normal(size=20)[room]
    table["y"] = y + rng.normal(size=len(table))
    table.index = [f"row {i}" for i in range(len(table))]
    for row, column in ((3, "y"), (7, "year"), (9, "room")):
        table[column] = table[column].astype(float) if column != "arm" else table[column]
        table.iloc[row, table.columns.get_loc(column)] = np.nan
    return table


@pytest.fixture(scope="module")
def nested_fit(nested):
    return pmlmm.Model("y ~ year + arm + (1 | school/room)", nested).fit(integrate=False)


def test_the_rows_of_the_fit(nested, nested_fit, caplog):
    with caplog.at_level(logging.INFO, "pmlmm"):
        fitted = nested_fit.predict()
    assert "3 of 240 rows have missing values" in caplog.text
    assert list(fitted.columns) == COLUMNS
    assert list(fitted.index) == list(nested.index)
    assert list(np.flatnonzero(fitted["mean"].isna())) == [3, 7, 9]
    assert fitted.attrs["dropped"] == 3
    again = nested_fit.predict(nested)  # no response is needed
    assert list(np.flatnonzero(again["mean"].isna())) == [7, 9]
    np.testing.assert_allclose(again.drop(index="row 3").to_numpy(), fitted.drop(index="row 3").to_numpy(), rtol=1e-9)
    assert (fitted["lower"] < fitted["mean"]).sum() == (fitted["upper"] > fitted["mean"]).sum() == 237


def test_known_new_and_no_groups(nested, nested_fit):
    """Known levels keep theirs; the more is unknown, the wider: no effects, a known room, a new one, a new school."""
    rows = nested.iloc[[20, 20, 20, 20]].assign(school=[0, 0, 77, None], room=[1, 99, 99, None])
    with pytest.raises(pmlmm.DataError, match=r"'school' has 1 group that .*\(first: 77.*groups='new'.*groups='none'"):
        nested_fit.predict(rows.head(3))
    with pytest.raises(pmlmm.DataError, match=r"'school:room' has 1 group that .*\(first: 0"):
        nested_fit.predict(rows.head(2))
    new, none = nested_fit.predict(rows, groups="new"), nested_fit.predict(rows, groups="none")
    known = nested_fit.predict(rows.head(1))
    np.testing.assert_allclose(new["mean"].iloc[0], known["mean"].iloc[0])
    beta, gamma = nested_fit.mean["beta"].to_numpy(), nested_fit.mean["gamma_school"].to_numpy()[0, 0]
    common = beta @ nested_fit.model.design.X[17]  # three rows above are incomplete
    np.testing.assert_allclose(none["mean"], common)
    np.testing.assert_allclose(new["mean"].iloc[1:], [common + gamma, common, common])
    assert list(np.diff(new["sd"].iloc[:3]) > 0) == [True, True]
    assert new["sd"].iloc[3] == pytest.approx(new["sd"].iloc[2], rel=1e-6)
    np.testing.assert_allclose(nested_fit.predict(rows[["year", "arm"]], groups="none"), none)


def test_new_groups_and_residuals_add_their_variances(sleep_fit, sleepstudy):
    """By the law of total variance, the expectations from the posterior's own draws."""
    rows = sleepstudy.iloc[[0, 5, 9]].assign(Subject=1)
    drawn = sleep_fit.draw_posterior(5000, random_seed=1)["posterior"].to_dataset()
    draws = drawn.stack(s=("chain", "draw")).transpose("s", ...)
    X = np.column_stack([np.ones(3), rows["Days"]])
    fixed = np.var(draws["beta"].to_numpy() @ X.T, axis=0)
    own = np.einsum("na,sab,nb->n", X, draws["Sigma_Subject"].to_numpy(), X) / draws.sizes["s"]
    residual = np.mean(draws["sigma"].to_numpy() ** 2)
    for kind, more in (("mean", 0.0), ("response", residual)):
        for groups, effects in (("none", 0.0), ("new", own)):
            found = sleep_fit.predict(rows, kind=kind, groups=groups, draws=5000)["sd"] ** 2
            np.testing.assert_allclose(found, fixed + effects + more, rtol=0.06)  # 20,000 draws: 4 errors
    assert np.allclose(sleep_fit.predict(rows, groups="new")["mean"], X @ sleep_fit.mean["beta"].to_numpy())


def test_draws(nested, nested_fit):
    """Rows of one new group share its effects, rows without a label do not; the table is made of such draws."""
    rows = nested.iloc[20:25].assign(room=[50, 50, 51, None, None])
    tree = nested_fit.predict(rows, kind="draws", groups="new", draws=1000)
    drawn = tree["predictions"].to_dataset()
    assert dict(drawn.sizes) == {"chain": 4, "draw": 1000, "row": 5}
    assert list(drawn["row"].to_numpy()) == list(rows.index)
    correlation = np.corrcoef(drawn["mean"].to_numpy().reshape(4000, 5).T)
    assert correlation[0, 1] > 0.95 > 0.5 > np.abs(correlation[np.triu_indices(5, 1)][1:]).max()
    for kind, name in (("mean", "mean"), ("response", "y")):
        table = nested_fit.predict(rows, kind=kind, groups="new")
        each = drawn[name].to_numpy().reshape(4000, 5)
        np.testing.assert_allclose(each.mean(axis=0), table["mean"], atol=0.2)
        np.testing.assert_allclose(each.std(axis=0), table["sd"], rtol=0.08)
        np.testing.assert_allclose(np.quantile(each, [0.025, 0.975], axis=0).T, table[["lower", "upper"]], atol=0.6)
    residual = drawn["y"] - drawn["mean"]
    assert np.abs(np.corrcoef(residual.to_numpy().reshape(4000, 5).T)[np.triu_indices(5, 1)]).max() < 0.07
    incomplete = nested_fit.predict(nested.head(9), kind="draws", draws=5)["predictions"]
    assert list(np.flatnonzero(incomplete["mean"].isnull().all(("chain", "draw")))) == [7]


def test_seeds_intervals_and_options(sleep_fit, sleepstudy):
    rows = sleepstudy.head(4)
    pd.testing.assert_frame_equal(sleep_fit.predict(rows), sleep_fit.predict(rows))
    assert not sleep_fit.predict(rows).equals(sleep_fit.predict(rows, random_seed=9))
    narrow, wide = sleep_fit.predict(rows, interval=0.5), sleep_fit.predict(rows)
    normal = 0.6745 / 1.96
    ratio = (narrow["upper"] - narrow["lower"]) / (wide["upper"] - wide["lower"])
    np.testing.assert_allclose(ratio, normal, rtol=0.1)
    for options in ({"kind": "median"}, {"groups": "all"}, {"interval": 95}, {"draws": 0}, {"random_seed": -1}):
        with pytest.raises(pmlmm.OptionError, match=next(iter(options))):
            sleep_fit.predict(rows, **options)


def test_new_levels_and_context_in_predictions(sleepstudy):
    table = sleepstudy.assign(c=np.where(sleepstudy["Days"] > 4, "late", "early"))
    fit = pmlmm.Model("Reaction ~ c + f(Days) + (1 | Subject)", table, context={"f": np.sqrt}).fit(draws=200)
    np.testing.assert_allclose(fit.predict(table), fit.predict())
    with pytest.raises(pmlmm.errors.DataError, match="'c' has levels there that the fit has not seen: 'never'"):
        fit.predict(table.assign(c="never"))
    assert np.isnan(fit.predict(table.head(1).assign(Days=np.nan))).all(axis=None)


def test_predictions_for_new_combinations(crossed, crossed_fit):
    fit = crossed_fit
    np.testing.assert_allclose(fit.predict(crossed)["mean"], fit.predict()["mean"])
    new = crossed.head(3).assign(c=[0, 7, 1])
    with pytest.raises(pmlmm.DataError, match=r"'b:c' has 1 group that.*first: 1:7"):
        fit.predict(new)
    found = fit.predict(new, groups="new")["mean"]
    known = new.assign(c=crossed["c"].head(3))
    gamma = fit.mean["gamma_b:c"].sel({"b:c": f"{known['b'][1]}:{known['c'][1]}"})
    assert found[1] == pytest.approx(fit.predict(known)["mean"][1] - float(gamma[0]))


def test_tables_without_an_index(sleep_fit, sleepstudy):
    polars = pytest.importorskip("polars")
    expected = sleep_fit.predict(sleepstudy.iloc[5:8])
    found = sleep_fit.predict(polars.DataFrame(sleepstudy.iloc[5:8].to_dict("list")))
    assert isinstance(found.index, pd.RangeIndex)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(("shift", "unit"), [(0.0, 1e-9), (2e3, 1.0), (1.7e9, 1e9)])
def test_units_and_far_origins_change_nothing(sleepstudy, shift, unit):
    """Seconds since 1970 among them, on both ways of counting: all draws of a row, and moments of many rows."""
    table = sleepstudy.assign(Days=sleepstudy["Days"] + shift, Reaction=sleepstudy["Reaction"] * unit)
    formula, rows = "Reaction ~ Days + (Days | Subject)", pd.concat([sleepstudy.head(30).assign(Subject=308)] * 100)
    plain = pmlmm.Model(formula, sleepstudy).fit(integrate=False).predict(rows, kind="mean")
    moved = pmlmm.Model(formula, table).fit(integrate=False).predict(rows.assign(Days=rows["Days"] + shift))
    np.testing.assert_allclose(moved["mean"] / unit, plain["mean"], rtol=0.01)
    np.testing.assert_allclose(moved["sd"] / unit, plain["sd"], rtol=0.2)


def test_predictions_need_the_same_columns(table, block):
    fit = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": block}).fit()
    one = table.head(1)
    assert fit.predict(one, penalized={"genes": block.head(1)})["mean"][0] == pytest.approx(fit.predict()["mean"][0])
    with pytest.raises(pmlmm.DataError, match=r"predict\(data, penalized=\{'genes': ...\}\)"):
        fit.predict(one)
    with pytest.raises(pmlmm.DataError, match="columns of the fit, in their order: column 1 is 'g0', not 'g29'"):
        fit.predict(one, penalized={"genes": block.head(1).iloc[:, ::-1]})
    with pytest.raises(pmlmm.DataError, match=r"no wide block 'gene'.*Did you mean 'genes'"):
        fit.predict(one, penalized={"genes": block.head(1), "gene": block.head(1)})
    with pytest.raises(pmlmm.OptionError, match="needs data"):
        fit.predict(penalized={"genes": block})


def test_uncertainty_of_a_wide_block(table, block):
    """In new rows, with more columns than rows, as draws of all coefficients say."""
    fit = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": block}).fit(integrate=False)
    new, rng = table.head(6), np.random.default_rng(8)
    genes = block.head(6) + 2.0 * rng.normal(size=(6, 30))
    found = fit.predict(new, penalized={"genes": genes}, groups="none", draws=1000)
    draws = fit.draw_posterior(1000, wide=True)["posterior"].to_dataset().stack(s=("chain", "draw")).transpose("s", ...)
    eta = draws["beta"].to_numpy() @ np.column_stack([np.ones(6), new["x"]]).T
    eta += draws["beta_genes"].to_numpy() @ genes.to_numpy().T
    np.testing.assert_allclose(found["sd"], eta.std(axis=0), rtol=0.12)
    np.testing.assert_allclose(found["mean"], eta.mean(axis=0), atol=5 * eta.std(axis=0).max() / 60)


def test_awkward_names_and_rows(sleepstudy):
    """A response called mean, an index of pairs, no complete row."""
    table = sleepstudy.rename(columns={"Reaction": "mean"}).set_index(["Subject", "Days"], drop=False)
    table.index.names = [None, None]
    fit = pmlmm.Model("mean ~ Days + (1 | Subject)", table).fit(integrate=False)
    assert fit.predict().index.equals(table.index)
    drawn = fit.predict(kind="draws", draws=10)["predictions"].to_dataset()
    assert set(drawn.data_vars) == {"mean", "y"}
    assert list(drawn["row"].to_numpy()) == list(range(180))
    nothing = table.head(2).assign(Days=np.nan)
    for groups in ("known", "new", "none"):
        assert fit.predict(nothing, kind="response", groups=groups).isna().all(axis=None)
        assert fit.predict(nothing, kind="draws", groups=groups, draws=3)["predictions"]["y"].isnull().all()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_a_million_rows():
    """In 2 s of CPU and 1 GB beside the data, 10^5 as draws in 5 s; twice the time here, for busy machines."""
    import resource
    import time

    rng, m, n = np.random.default_rng(0), 1000, 10**6
    g, t = np.repeat(np.arange(m), 5), np.tile(np.arange(5.0), m)
    gamma = rng.normal(size=(m, 2)) * [1.0, 0.3]
    table = pd.DataFrame({"g": g, "t": t, "x": rng.normal(size=5 * m), "f": rng.choice(["a", "b"], 5 * m)})
    table["y"] = table["x"] + gamma[g, 0] + gamma[g, 1] * t + rng.normal(size=5 * m)
    fit = pmlmm.Model("y ~ t + x + f + (t | g)", table).fit(integrate=False)
    new = pd.DataFrame({"g": rng.integers(0, m, n), "t": rng.uniform(0, 5, n), "x": rng.normal(size=n)})
    new["f"] = rng.choice(["a", "b"], n)
    fit.predict(new.head(10))  # what is imported and compiled once
    for kind in ("mean", "response"):
        memory, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        many = fit.predict(new, kind=kind)
        assert time.process_time() - started < 4.0
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 1e6
        few = fit.predict(new.iloc[::1000], kind=kind)
        ours = many.iloc[::1000]
        np.testing.assert_allclose(ours["mean"], few["mean"], rtol=1e-10)
        np.testing.assert_allclose(ours["sd"], few["sd"], rtol=1e-6)
        for end in ("lower", "upper"):  # of which .05 are the draws' own error
            off = (ours[end] - few[end]) / few["sd"]
            assert abs(off.mean()) < 0.02
            assert off.std() < 0.08
    started = time.process_time()
    fit.predict(new.head(10**5), kind="draws")
    assert time.process_time() - started < 10.0


def test_a_table_without_rows_gives_one(sleep_fit, sleepstudy):
    """As a filter leaves it; its columns must be there all the same."""
    none = sleepstudy.iloc[:0]
    for groups in ("known", "new", "none"):
        table = sleep_fit.predict(none, groups=groups)
        assert list(table.columns) == COLUMNS
        assert len(table) == 0
    drawn = sleep_fit.predict(none, kind="draws", draws=5)["predictions"]
    assert dict(drawn.sizes) == {"chain": 4, "draw": 5, "row": 0}
    with pytest.raises(pmlmm.DataError, match="no column 'Days'"):
        sleep_fit.predict(none[["Subject"]])


@pytest.fixture(scope="module")
def by_patient():
    """12 patients, "000" to "010" and "A04" in text, twice as numbers in other columns; two arms and a flag."""
    rng = np.random.default_rng(5)
    ids = np.array([*(f"{i:03d}" for i in range(11)), "A04"])
    table = pd.DataFrame({"id": np.repeat(ids, 6), "ward": np.repeat(["0", "1", "2"], 24), "x": rng.normal(size=72)})
    table["number"], table["arm"] = np.repeat(np.arange(12), 6), rng.choice(["a", "b"], 72)
    table["y"] = table["x"] + rng.normal(size=12)[table["number"]] + rng.normal(size=72)
    return table


@pytest.fixture(scope="module")
def by_patient_fit(by_patient):
    return pmlmm.Model("y ~ x + arm + (1 | id)", by_patient).fit(integrate=False)


@pytest.mark.parametrize("groups", ["known", "new"])
@pytest.mark.parametrize(
    ("formula", "new", "words"),
    [
        ("(1 | id)", {"id": [1, 2]}, r"'id' has 1 \(int\) in the new data and '001' \(text\) in .*dtype={'id': str}"),
        ("(1 | ward)", {"ward": [0, 7]}, r"'ward' has 0 \(int\).*'0' \(text\).*new\['ward'\].astype\(str\)"),
        ("(1 | ward)", {"ward": [1.0, np.nan]}, r"1.0 \(float\).*'1' \(text\).*astype\('Int64'\)"),
        ("(1 | number)", {"number": ["3", "x"]}, r"'3' \(text\) in the new.* 3 \(int\) in the fit.*to_numeric"),
        ("(1 | ward/number)", {"ward": [1, 1]}, r"'ward' has 1 \(int\)"),
        ("(1 | ward:number)", {"number": pd.Categorical(["4", "4"])}, r"'number' has '4' \(text\)"),
    ],
)
def test_known_groups_in_another_type_are_no_new_ones(by_patient, formula, new, words, groups):
    fit = pmlmm.Model(f"y ~ x + {formula}", by_patient).fit(integrate=False)
    with pytest.raises(pmlmm.DataError, match=words):
        fit.predict(by_patient.head(2).assign(**new), groups=groups)
    assert len(fit.predict(by_patient.head(2).assign(**new), groups="none")) == 2


def test_labels_of_one_kind_are_compared_as_they_are(by_patient, by_patient_fit):
    """Floats are the integers they equal, "1" is not "001", and numbers that no label reads as are new."""
    fit = pmlmm.Model("y ~ x + (1 | number)", by_patient).fit(integrate=False)
    rows = by_patient.iloc[:8]
    np.testing.assert_array_equal(fit.predict(rows.assign(number=rows["number"].astype(float))), fit.predict(rows))
    for labels in (["1", "1"], [17, 18]):
        new = by_patient_fit.predict(rows.head(2).assign(id=labels), groups="new")
        assert (new["sd"] > by_patient_fit.predict(rows.head(2))["sd"]).all()
    with pytest.raises(pmlmm.DataError, match=r"'id' has 1 group that .*first: '1'\)"):
        by_patient_fit.predict(rows.head(2).assign(id="1"))
    with pytest.raises(pmlmm.DataError, match=r"'id' has 2 groups that .*first: 'B'\)"):
        by_patient_fit.predict(rows.head(2).assign(id=["B", "C"]))


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ({"x": ["1", "n/a"]}, r"'x' is text in the new data \(such as 'n/a' in row 1\), but held numbers .*to_numeric"),
        ({"x": ["1", "2"]}, r"'x' is text in the new data \(such as '1' in row 0\)"),
        ({"arm": [1, 2]}, r"'arm' holds numbers in the new data \(such as 1\), but text in the .*choices: 'a', 'b'"),
        ({"arm": [True, False]}, r"'arm' holds flags in the new data \(such as True\), but text"),
        ({"arm": ["a", "B"]}, r"'arm' has levels there that the fit has not seen: 'B'.*mean 'b'.*choices: 'a', 'b'"),
    ],
)
def test_columns_of_another_kind_are_named(by_patient, by_patient_fit, new, words):
    with pytest.raises(pmlmm.DataError, match=words):
        by_patient_fit.predict(by_patient.head(2).assign(**new))
