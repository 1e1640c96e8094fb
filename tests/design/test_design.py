import numpy as np
import pandas as pd
import pytest

from pmlmm.design.design import build_design
from pmlmm.errors import DataError, FormulaError, PmlmmError
from tests.problems import six_rows_each


@pytest.fixture
def table():
    return six_rows_each()


def test_arrays_and_names(table):
    design = build_design("log(y + 10) ~ x * w + (1 + t | g)", table)
    assert design.coefficients == ("Intercept", "x", "w[T.v]", "x:w[T.v]")
    assert design.coefficient_terms == ("1", "x", "w", "x:w")
    np.testing.assert_allclose(design.y, np.log(table["y"] + 10))
    np.testing.assert_allclose(design.X[:, 3], table["x"] * (table["w"] == "v"))
    assert design.terms[0].coefficients == ("Intercept", "t")
    assert design.terms[0].grouping.labels.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(design.terms[0].grouping.codes, np.repeat(np.arange(4), 6))


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
