"""Tables of every kind, and what no model can use."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pmlmm.design.design import build_design
from pmlmm.errors import DataError
from tests.problems import six_rows_each


@pytest.fixture
def table():
    return six_rows_each()


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
