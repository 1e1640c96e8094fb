"""The same numbers and the same labels are the same model, whatever type a table holds them in."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import pmlmm
from pmlmm.design.design import build_design

ROWS, GROUPS = 24, 6

# Largest value of x and t: products of two leave the type, all are exact in floating point.
WIDTHS = {
    "int8": 120,
    "int16": 30_000,
    "int32": 2_000_000_000,
    "int64": 4_000_000_000,
    "uint8": 250,
    "uint16": 60_000,
    "uint32": 4_000_000_000,
    "uint64": 8_000_000_000,
}
FLOATS = {"float16": 2000, "float32": 16_000_000, "float64": 1e12}
NULLABLE = {kind: kind.replace("uint", "UInt").replace("int", "Int") for kind in WIDTHS}


def in_pandas(make):
    """Columns of a pandas table, each made from float values."""
    return lambda frame, columns: frame.assign(**{name: make(frame[name]) for name in columns})


def of_dtype(dtype):
    return in_pandas(lambda values: values.astype(dtype))


def of_objects(make):
    return in_pandas(lambda values: pd.Series([make(value) for value in values], dtype=object))


def in_arrow_dtype(kind):
    def convert(values):
        python = [int(value) if pa.types.is_integer(kind) else float(value) for value in values]
        return pd.Series(pa.array(python).cast(kind), dtype=pd.ArrowDtype(kind))

    return in_pandas(convert)


def in_arrow_table(kind):
    def convert(frame, columns):
        table = pa.Table.from_pandas(frame)
        for name in columns:
            table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
        return table

    return convert


def in_polars(kind):
    return lambda frame, columns: pl.from_pandas(frame).with_columns(pl.col(*columns).cast(kind))


def in_dict(make):
    def convert(frame, columns):
        return frame.to_dict("list") | {name: [make(value) for value in frame[name]] for name in columns}

    return convert


DECIMAL = pa.decimal128(20, 2)
#: Types of numbers: the largest value of x and t, and how a table gets columns of that type.
NUMBERS = {
    **{kind: (largest, of_dtype(kind)) for kind, largest in (WIDTHS | FLOATS).items()},
    "longdouble": (1e12, of_dtype(np.longdouble)),
    **{NULLABLE[kind]: (largest, of_dtype(NULLABLE[kind])) for kind, largest in WIDTHS.items()},
    "Float32": (FLOATS["float32"], of_dtype("Float32")),
    "Float64": (FLOATS["float64"], of_dtype("Float64")),
    **{f"{kind}[pyarrow]": (largest, in_arrow_dtype(getattr(pa, kind)())) for kind, largest in WIDTHS.items()},
    "float[pyarrow]": (FLOATS["float32"], in_arrow_dtype(pa.float32())),
    "double[pyarrow]": (FLOATS["float64"], in_arrow_dtype(pa.float64())),
    "decimal[pyarrow]": (1e6, in_arrow_dtype(DECIMAL)),
    "arrow table of int8": (WIDTHS["int8"], in_arrow_table(pa.int8())),
    "arrow table of uint32": (WIDTHS["uint32"], in_arrow_table(pa.uint32())),
    "arrow table of decimals": (1e6, in_arrow_table(DECIMAL)),
    **{f"polars {kind}": (WIDTHS[kind.lower()], in_polars(getattr(pl, kind))) for kind in NULLABLE.values()},
    "polars Float32": (FLOATS["float32"], in_polars(pl.Float32)),
    "polars Float64": (FLOATS["float64"], in_polars(pl.Float64)),
    "polars Decimal": (1e6, in_polars(pl.Decimal(20, 2))),
    "sparse": (1e12, in_pandas(lambda values: pd.Series(pd.arrays.SparseArray(values)))),
    "Decimal objects": (1e6, of_objects(lambda value: Decimal(int(value)))),
    "Fraction objects": (1e6, of_objects(lambda value: Fraction(int(value)))),
    "objects of floats": (1e12, of_objects(float)),
    "objects of integers": (1e9, of_objects(int)),
    "objects of NumPy's int8": (WIDTHS["int8"], of_objects(np.int8)),
    "objects of integers and floats": (1e6, of_objects(lambda value: int(value) if value % 2 else float(value))),
    "lists of integers": (1e9, in_dict(int)),
    "lists of NumPy's int16": (WIDTHS["int16"], in_dict(np.int16)),
    "lists of Decimals": (1e6, in_dict(lambda value: Decimal(int(value)))),
}  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    """A table of float64 and text, whose x and t are whole numbers up to ``largest``."""

    def make(largest=100):
        rng = np.random.default_rng(0)
        codes = np.repeat(np.arange(GROUPS), ROWS // GROUPS)
        values = np.floor(np.linspace(0.2, 1.0, ROWS) * largest)
        x, t = rng.permutation(values), rng.permutation(values)
        effect = rng.normal(size=GROUPS)
        y = np.round(20 * (2 + effect[codes] + 2 * x / largest + 0.3 * rng.normal(size=ROWS)))
        text = np.array(list("abcdef"))
        return pd.DataFrame(
            {"y": y, "x": x, "t": t, "g": text[codes], "h": text[np.arange(ROWS) % 3], "f": text[np.arange(ROWS) % 3]}
        )

    return make


def assert_same(design, expected):
    """Two designs are equal: names, numbers, rows and groups."""
    assert design.coefficients == expected.coefficients
    np.testing.assert_allclose(design.X, expected.X, rtol=1e-10)
    np.testing.assert_allclose(design.y, expected.y, rtol=1e-10)
    np.testing.assert_array_equal(design.table.rows, expected.table.rows)
    assert len(design.terms) == len(expected.terms)
    for term, other in zip(design.terms, expected.terms, strict=True):
        assert term.coefficients == other.coefficients
        np.testing.assert_allclose(term.Z, other.Z, rtol=1e-10)
        np.testing.assert_array_equal(term.grouping.codes, other.grouping.codes)


# As many ways to leave a narrow type as fit into two models.
COVARIATE_FORMULAS = (
    "y ~ x*t + I(x**2) + I(-x) + I(t - x) + I(10*x) + I(x*t) + (x + I(x**2) | g)",
    "y ~ poly(x, 2, raw=True) + poly(t, 2) + bs(t, df=4) + scale(x) + log(t) + f:x + I(t^2) + (0 + x:t | g)",
)


@pytest.mark.parametrize("formula", COVARIATE_FORMULAS)
@pytest.mark.parametrize("kind", NUMBERS)
def test_a_covariate_of_any_numeric_type_is_the_one_of_floats(plain, kind, formula):
    largest, convert = NUMBERS[kind]
    frame = plain(largest)
    assert_same(build_design(formula, convert(frame, ["x", "t"])), build_design(formula, frame))


@pytest.mark.parametrize(
    "formula", ["y ~ x + (1 | g)", "I(10*y) ~ x + (1 | g)", "y - x ~ (1 | g)", "I(y**2) ~ (1 | g)"]
)
@pytest.mark.parametrize("kind", NUMBERS)
def test_a_response_of_any_numeric_type_is_the_one_of_floats(plain, kind, formula):
    frame = plain(100)
    assert_same(build_design(formula, NUMBERS[kind][1](frame, ["y", "x"])), build_design(formula, frame))


WITH_MISSING = {
    "Int8": lambda values: values.astype("Int8"),
    "UInt8": lambda values: values.astype("UInt8"),
    "Float32": lambda values: values.astype("Float32"),
    "int8[pyarrow]": lambda values: values.astype("Int8").astype(pd.ArrowDtype(pa.int8())),
    "double[pyarrow]": lambda values: values.astype("Float64").astype(pd.ArrowDtype(pa.float64())),
    "objects of integers": lambda values: pd.Series([None if np.isnan(v) else int(v) for v in values], dtype=object),
    "objects of floats": lambda values: values.astype(object),
    "Decimal objects": lambda values: pd.Series(
        [None if np.isnan(v) else Decimal(int(v)) for v in values], dtype=object
    ),
}


@pytest.mark.parametrize("table", ["pandas", "polars", "arrow", "dict"])
@pytest.mark.parametrize("kind", WITH_MISSING)
def test_missing_numbers_of_any_type_are_the_missing_floats(plain, kind, table):
    frame = plain(100)
    frame.loc[[2, 7], "x"] = np.nan
    frame.loc[[7, 11], "y"] = np.nan
    given = frame.assign(**{name: WITH_MISSING[kind](frame[name]) for name in ("x", "y")})
    tables = {"polars": pl.from_pandas, "arrow": pa.Table.from_pandas, "dict": lambda d: d.to_dict("list")}
    design = build_design("y ~ I(x**2) + (x | g)", tables.get(table, lambda d: d)(given))
    assert_same(design, build_design("y ~ I(x**2) + (x | g)", frame))
    assert design.table.rows_dropped == 3
    assert design.table.missing == {"y": 2, "x": 2}


FLAGS = {
    "boolean": of_dtype("boolean"),
    "bool[pyarrow]": of_dtype(pd.ArrowDtype(pa.bool_())),
    "objects": of_objects(bool),
    "polars": in_polars(pl.Boolean),
    "arrow table": in_arrow_table(pa.bool_()),
    "lists": in_dict(bool),
}


@pytest.mark.parametrize(
    "formula", ["y ~ x + (1 | g)", "y ~ x*t + (x | g)", "y ~ I(10*x) + (1 | g)", "y ~ t + (1 | x)"]
)
@pytest.mark.parametrize("kind", FLAGS)
def test_flags_of_any_type_are_plain_flags(plain, kind, formula):
    frame = plain(100)
    frame["x"] = frame["x"] > 50
    assert_same(build_design(formula, FLAGS[kind](frame, ["x"])), build_design(formula, frame))


def arrow_text(kind):
    return in_pandas(lambda values: pd.Series(pa.array(values.tolist()).cast(kind), dtype=pd.ArrowDtype(kind)))


def categories(levels, ordered=False):
    return of_dtype(pd.CategoricalDtype(levels, ordered))


DICTIONARY = pa.dictionary(pa.int32(), pa.string())
LETTERS = list("abcdef")
#: Text of every kind; levels in alphabetical order, as those of plain text.
TEXTS = {
    "objects": of_objects(str),
    "string": of_dtype("string"),
    "string[python]": of_dtype("string[python]"),
    "string[pyarrow]": of_dtype("string[pyarrow]"),
    "arrow string": arrow_text(pa.string()),
    "arrow large_string": arrow_text(pa.large_string()),
    "arrow dictionary": arrow_text(DICTIONARY),
    "category": of_dtype("category"),
    "category of string[pyarrow]": in_pandas(lambda values: values.astype("string[pyarrow]").astype("category")),
    "ordered category": categories(LETTERS, ordered=True),
    "category with unused levels": categories([*LETTERS, "z"]),
    "ordered category with unused levels": categories(["Z", *LETTERS], ordered=True),
    "convert_dtypes": in_pandas(lambda values: values.convert_dtypes()),
    "convert_dtypes to Arrow": in_pandas(lambda values: values.convert_dtypes(dtype_backend="pyarrow")),
    "polars String": in_polars(pl.String),
    "polars Categorical": in_polars(pl.Categorical),
    "polars Enum": in_polars(pl.Enum([*LETTERS, "z"])),
    "arrow table of strings": in_arrow_table(pa.string()),
    "arrow table of large strings": in_arrow_table(pa.large_string()),
    "arrow table of a dictionary": in_arrow_table(DICTIONARY),
    "lists": in_dict(str),
}
# A dictionary has an order of its own, here that of appearance.
ALPHABETICAL = {kind: convert for kind, convert in TEXTS.items() if kind != "arrow table of a dictionary"}
FACTOR_FORMULAS = (
    "y ~ x*f + (1 | f/g)",
    "y ~ C(f) + f:x + (f | g)",
    "y ~ 0 + f + (1 | g)",
    "y ~ C(f, contr.sum) + (1 | g)",
)


@pytest.mark.parametrize("formula", FACTOR_FORMULAS)
@pytest.mark.parametrize("kind", ALPHABETICAL)
def test_text_of_any_type_is_one_factor(plain, kind, formula):
    frame = plain(100).sample(frac=1.0, random_state=3).reset_index(drop=True)  # levels do not appear in order
    assert_same(build_design(formula, TEXTS[kind](frame, ["f"])), build_design(formula, frame))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    "kind",
    {
        "arrow dictionary": lambda d: pa.Table.from_pandas(d),
        "polars": lambda d: pl.from_pandas(d).with_columns(pl.col("f").cast(pl.Enum(list("cabz")))),
    }.items(),
    ids=lambda item: item[0],
)
def test_the_order_of_the_levels_is_kept(plain, kind, ordered):
    frame = plain(100)
    frame["f"] = frame["f"].astype(pd.CategoricalDtype(list("cabz"), ordered))
    expected = build_design("y ~ f + (f | g)", frame)
    assert expected.coefficients == ("Intercept", "f[T.a]", "f[T.b]")
    assert_same(build_design("y ~ f + (f | g)", kind[1](frame)), expected)


NUMBERED = {kind: NUMBERS[kind] for kind in NUMBERS if kind != "objects of integers and floats"}


@pytest.mark.parametrize("kind", NUMBERED)
def test_groups_numbered_in_any_type_are_the_same_groups(plain, kind):
    frame = plain(100)
    numbers = frame.assign(**{name: frame[name].map(LETTERS.index).astype(float) for name in "gh"})
    given = NUMBERED[kind][1](numbers, ["g", "h"])
    for formula in ("y ~ x + (x | g)", "y ~ x + (1 | g/h)"):
        assert_same(build_design(formula, given), build_design(formula, frame))


def days(values):
    return pd.to_datetime("2024-02-27") + pd.to_timedelta(values.map(LETTERS.index), "D")


DATES = {
    "datetime64": in_pandas(days),
    "datetime64[s]": in_pandas(lambda values: days(values).astype("datetime64[s]")),
    "with a zone": in_pandas(lambda values: days(values).dt.tz_localize("Europe/Amsterdam")),
    "date32[pyarrow]": in_pandas(lambda values: days(values).astype(pd.ArrowDtype(pa.date32()))),
    "timestamp[pyarrow]": in_pandas(lambda values: days(values).astype(pd.ArrowDtype(pa.timestamp("us")))),
    "date objects": in_pandas(lambda v: pd.Series([date(2024, 3, 1 + LETTERS.index(x)) for x in v], dtype=object)),
    "category of dates": in_pandas(lambda values: days(values).astype("category")),
    "polars Date": lambda frame, columns: pl.from_pandas(in_pandas(days)(frame, columns)).with_columns(
        pl.col(*columns).cast(pl.Date)
    ),
    "periods": in_pandas(lambda values: days(values).dt.to_period("D")),
}


@pytest.mark.parametrize("kind", TEXTS | DATES)
def test_groups_labelled_in_any_type_are_the_same_groups(plain, kind):
    frame = plain(100)
    for formula in ("y ~ x + (x | g)", "y ~ x + (1 | g/h)"):
        design = build_design(formula, (TEXTS | DATES)[kind](frame, ["g", "h"]))
        assert_same(design, build_design(formula, frame))


@pytest.mark.parametrize("kind", TEXTS)
def test_groups_of_text_keep_their_names(plain, kind):
    frame = plain(100)
    design = build_design("y ~ x + (1 | g) + (1 | h:f)", TEXTS[kind](frame, ["g", "h", "f"]))
    assert list(map(str, design.terms[0].grouping.labels)) == LETTERS
    assert list(map(str, design.terms[1].grouping.labels)) == ["a:a", "b:b", "c:c"]


@pytest.mark.parametrize("kind", [*WIDTHS, *NULLABLE.values(), "int8[pyarrow]", "uint64[pyarrow]", "polars UInt16"])
def test_groups_of_integers_keep_their_numbers(plain, kind):
    frame = plain(100)
    numbers = frame.assign(g=frame["g"].map(LETTERS.index).astype(float))
    labels = build_design("y ~ x + (1 | g)", NUMBERED[kind][1](numbers, ["g"])).terms[0].grouping.labels
    assert labels.dtype.kind in "iu"
    assert labels.tolist() == list(range(GROUPS))


FORMULA = "y ~ x + x:t + f + (x | g)"


@pytest.fixture(scope="module")
def fits(plain):
    """Fits to float64 and text, by the largest value of x and t."""
    kept = {}

    def fit(largest):
        if largest not in kept:
            kept[largest] = pmlmm.Model(FORMULA, plain(largest)).fit()
        return kept[largest]

    return fit


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int8", "string[pyarrow]"),
        ("uint8[pyarrow]", "arrow dictionary"),
        ("float16", "convert_dtypes"),
        ("Decimal objects", "objects"),
        ("objects of NumPy's int8", "ordered category with unused levels"),
    ],
)
def test_the_whole_fit_is_the_same(plain, fits, kind, text):
    largest, convert = NUMBERS[kind]
    given = TEXTS[text](convert(plain(largest), ["x", "t", "y"]), ["f", "g"])
    fit, expected = pmlmm.Model(FORMULA, given).fit(), fits(largest)
    assert fit.log_evidence == pytest.approx(expected.log_evidence, rel=1e-10)
    for name in expected.mean.data_vars:
        np.testing.assert_allclose(fit.mean[name], expected.mean[name], rtol=1e-10)
        assert fit.mean[name].dims == expected.mean[name].dims
    assert list(map(str, fit.mean["gamma_g"]["g"].values)) == LETTERS
    np.testing.assert_allclose(fit.predict(given)["mean"], expected.predict()["mean"], rtol=1e-8)


@pytest.mark.parametrize("kind", NUMBERS)
def test_predictions_from_numbers_of_any_type(plain, fits, kind):
    """Of a fit to float64."""
    convert, fit = NUMBERS[kind][1], fits(100)
    frame = plain(100).iloc[::-1].reset_index(drop=True)
    np.testing.assert_allclose(fit.predict(convert(frame, ["x", "t"]))["mean"], fit.predict(frame)["mean"], rtol=1e-10)


@pytest.mark.parametrize("kind", TEXTS)
def test_predictions_from_text_of_any_type(plain, fits, kind):
    fit = fits(100)
    frame = plain(100).iloc[::-1].reset_index(drop=True)
    np.testing.assert_allclose(
        fit.predict(TEXTS[kind](frame, ["f", "g"]))["mean"], fit.predict(frame)["mean"], rtol=1e-10
    )


@pytest.fixture(scope="module")
def numbered_fit(plain):
    frame = plain(100)
    frame["g"] = frame["g"].map(LETTERS.index).astype(float)
    return frame, pmlmm.Model("y ~ x + (1 | g)", frame).fit()


@pytest.mark.parametrize("kind", NUMBERED)
def test_predictions_for_groups_numbered_in_any_type(numbered_fit, kind):
    """Of a fit with groups in float64."""
    frame, fit = numbered_fit
    np.testing.assert_allclose(fit.predict(NUMBERED[kind][1](frame, ["g"]))["mean"], fit.predict()["mean"], rtol=1e-8)


@pytest.mark.parametrize(
    "kind", ["int8", "float16", "longdouble", "UInt8", "decimal[pyarrow]", "polars Int64", "sparse"]
)
def test_predictions_of_a_fit_with_groups_in_another_type(numbered_fit, kind):
    frame, expected = numbered_fit
    given = NUMBERED[kind][1](frame, ["g"])
    fit = pmlmm.Model("y ~ x + (1 | g)", given).fit()
    np.testing.assert_allclose(fit.predict(given)["mean"], expected.predict()["mean"], rtol=1e-8)
    np.testing.assert_allclose(fit.predict(frame)["mean"], expected.predict()["mean"], rtol=1e-8)
