import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pmlmm.design.design import build_design
from pmlmm.errors import DataError, FormulaError, PmlmmError


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "y": rng.normal(size=24),
            "x": rng.normal(size=24),
            "t": np.tile(np.arange(6.0), 4),
            "w": np.tile(["u", "v"], 12),
            "g": np.repeat(["a", "b", "c", "d"], 6),
        }
    )


def test_arrays_and_names(table):
    design = build_design("log(y + 10) ~ x * w + (1 + t | g)", table)
    assert design.coefficients == ("Intercept", "x", "w[T.v]", "x:w[T.v]")
    assert design.coefficient_terms == ("1", "x", "w", "x:w")
    np.testing.assert_allclose(design.y, np.log(table["y"] + 10))
    np.testing.assert_allclose(design.X[:, 3], table["x"] * (table["w"] == "v"))
    assert design.terms[0].coefficients == ("Intercept", "t")
    assert design.terms[0].grouping.labels.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(design.terms[0].grouping.codes, np.repeat(np.arange(4), 6))


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas, lambda d: d.to_dict("list")])
def test_every_kind_of_table_gives_the_same_design(table, convert):
    formula = "y ~ poly(x, 2) + C(w) + (bs(t, df=3) || g)"
    left, right = build_design(formula, table), build_design(formula, convert(table))
    np.testing.assert_allclose(left.X, right.X)
    for one, other in zip(left.terms, right.terms, strict=True):
        np.testing.assert_allclose(one.Z, other.Z)
    assert left.sizes == right.sizes == (1, 3)
    assert list(left.terms[0].grouping.labels) == list(right.terms[0].grouping.labels)


def test_rows_with_missing_values_are_counted(table):
    table.loc[[1, 5], "x"] = np.nan
    table.loc[5, "g"] = None
    table["unused"] = np.nan
    design = build_design("y ~ x + (1 | g)", table)
    assert design.table.rows_dropped == 2
    assert design.table.missing == {"x": 2, "g": 1}
    assert 1 not in design.table.rows
    assert design.n_rows == 22


@pytest.mark.parametrize(
    "labels",
    [
        np.array([2**63 + 5, 3], dtype=np.uint64),
        [10**30, 7],
        [1, "1"],
        [0.5, -0.5],
        [True, False],
        pd.to_datetime(["2020-01-01", "2021-01-01"]),
        pd.Categorical(["q", "p"], categories=["q", "p", "unused"]),
    ],
)
def test_group_labels_of_any_type(table, labels):
    table["g"] = [labels[i] for i in np.repeat([0, 1], 12)]
    design = build_design("y ~ 1 + (1 | g)", table)
    assert design.terms[0].n_groups == 2
    assert len(set(map(str, design.terms[0].grouping.labels))) == 2
    assert len(np.unique(design.terms[0].grouping.codes[:12])) == 1


def test_functions_from_the_context(table):
    design = build_design("y ~ half(x) + (1 | g)", table, {"half": lambda x: x / 2})
    np.testing.assert_allclose(design.X[:, 1], table["x"] / 2)


BAD_INPUT = [
    ("y ~ X + (1 | g)", {}, FormulaError, "'X' in 'X' is not a column.*Did you mean"),
    ("y ~ x + (1 | G)", {}, FormulaError, "grouping factor 'G' is not a column"),
    ("y ~ half(x) + (1 | g)", {}, FormulaError, "'half'"),
    ("y ~ x + (1 | g) + (1 | h)", {}, FormulaError, "'h' is not a column"),
    ("w ~ x + (1 | g)", {}, DataError, "'w' is not numeric"),
    ("y ~ x + (1 | g)", {"y": 1.0}, DataError, "no variation"),
    ("y ~ x + (1 | g)", {"y": np.inf}, DataError, "'y' is infinite"),
    ("y ~ log(t) + (1 | g)", {}, DataError, r"'log\(t\)' is infinite or undefined in 4 of 24 rows"),
    ("y ~ x + (1 | g)", {"g": None}, DataError, "'g' has no value"),
    ("y ~ x + (1 | g)", {"x": np.nan}, DataError, "'x' has no value"),
    ("y ~ x + (1 + t | g)", {"t": 3.0}, DataError, "'Intercept', 't' are collinear"),
    ("y ~ x + (t + I(2 * t) | g)", {}, DataError, "collinear"),
    ("y ~ x + (0 + t | g)", {"t": 0.0}, DataError, "'t' is zero in every row"),
    ("y ~ x + (1 | g) + (1 + t | g)", {}, DataError, "collinear"),
    ("y ~ x + (1 | g) + (1 | g)", {}, FormulaError, "given twice"),
    ("y ~ x + (1 + t || g) + (1 | g_1)", {"g_1": list("ab") * 12}, FormulaError, "would be called 'g_1'"),
    ("y ~ x + (0 || g)", {}, FormulaError, "no columns"),
    ("y ~ x + (1 | chain)", {"chain": 1}, FormulaError, "cannot be called 'chain'"),
    ("y ~ Intercept + (1 | g)", {"Intercept": 1}, FormulaError, "rename it"),
    ("y ~ x + (1 | g)", {"y": 1j}, DataError, "complex"),
    ("y ~ str(x) + (1 | g)", {}, DataError, "str"),
]


@pytest.mark.parametrize(("formula", "columns", "kind", "words"), BAD_INPUT)
def test_bad_input_is_named(table, formula, columns, kind, words):
    with pytest.raises(kind, match=words) as caught:
        build_design(formula, table.assign(**columns))
    assert isinstance(caught.value, PmlmmError)


def test_no_complete_row(table):
    table.loc[:11, "x"] = np.nan
    table.loc[12:, "y"] = np.nan
    with pytest.raises(DataError, match="None of the 24 rows is complete"):
        build_design("y ~ x + (1 | g)", table)


def test_duplicate_columns(table):
    twice = pd.concat([table, table[["x"]]], axis=1)
    with pytest.raises(DataError, match="several columns named 'x'"):
        build_design("y ~ x + (1 | g)", twice)


def test_not_a_table():
    with pytest.raises(DataError, match="pandas, polars or Arrow"):
        build_design("y ~ x + (1 | g)", 3)


def test_unused_levels_and_original_row_numbers(table):
    table["w"] = pd.Categorical(table["w"], categories=["u", "v", "never"])
    table.loc[0, "x"] = np.nan
    assert build_design("y ~ w + x + (1 | g)", table).coefficients == ("Intercept", "w[T.v]", "x")
    table.loc[7, "x"] = np.inf
    with pytest.raises(DataError, match="first: row 7"):
        build_design("y ~ w + x + (1 | g)", table)


def test_duplicate_columns_of_an_arrow_table(table):
    arrow = pa.Table.from_pandas(table)
    with pytest.raises(DataError, match="several columns of one name"):
        build_design("y ~ x + (1 | g)", arrow.append_column("x", arrow["x"]))


def test_no_rows(table):
    with pytest.raises(DataError, match="no rows"):
        build_design("y ~ x + (1 | g)", table.head(0))
