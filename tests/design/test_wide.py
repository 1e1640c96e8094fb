"""Wide blocks and nested factors: what is accepted, what is refused, in words."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

import pmlmm
from pmlmm.design.design import build_design


def spoil(frame, row, column, value):
    frame = frame.copy()
    frame.iloc[row, column] = value
    return frame


BAD = [
    (lambda g: g.iloc[:19], "has 19 rows, the data have 20"),
    (lambda g: spoil(g, 3, 2, np.nan), "Column 'g2' of the penalised block 'genes' is missing or infinite in 1 of 20"),
    (lambda g: spoil(spoil(g, 3, 2, np.inf), 4, 7, np.nan), "'g2'.*and 1 other columns"),
    (lambda g: g.assign(g4=1.0, g9=0.0), r"2 constant columns \('g4', 'g9'\)"),
    (lambda g: g.assign(g5="high"), "Column 'g5' of the penalised block 'genes' is not numeric"),
    (lambda g: g.iloc[:, :0], "no columns"),
    (lambda g: g.iloc[::-1], "align it with genes.loc"),
    (lambda g: g.to_numpy()[:, 0], "has 1 dimensions"),
    (lambda g: g.set_axis(["a", "a", *g.columns[2:]], axis=1), "several columns called 'a'"),
    (lambda g: g.to_numpy().astype(str) + "!", "not numeric"),
    (lambda g: g.to_numpy() + 1j, "is complex"),
    (lambda g: sparse.csr_array(g.to_numpy() + 1j), "is complex"),
    (lambda g: (g + 1j).astype(pd.SparseDtype(complex, 0)), "is complex"),
    (lambda g: g + 1j, "is complex"),
    (lambda g: [[1.0], [1.0, 2.0]], "is not a matrix"),
    (lambda g: g.assign(g2=np.inf), "'g2'.*missing or infinite in 20 of 20"),
    (lambda g: np.ma.masked_greater(g.to_numpy(), 1.0), "masked array"),
    (lambda g: spoil(g.round().astype("Int64"), 3, 2, pd.NA), "Column 'g2'.*missing or infinite in 1 of 20"),
    (lambda g: g.set_axis([1, "1", *g.columns[2:]], axis=1), "several columns called '1'"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_blocks_are_named(table, block, change, words):
    with pytest.raises(pmlmm.DataError, match=words):
        pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": change(block)})


@pytest.mark.parametrize(
    ("penalized", "words"),
    [
        (np.eye(20), "must be a dict from names to matrices"),
        ({"x": np.random.default_rng(0).normal(size=(20, 3))}, "cannot be called 'x'"),
        ({"g": np.random.default_rng(0).normal(size=(20, 3))}, "cannot be called 'g'"),
        ({"sigma": np.random.default_rng(0).normal(size=(20, 3))}, "cannot be called 'sigma'"),
        ({"g_effect1": np.random.default_rng(0).normal(size=(20, 3))}, "cannot be called 'g_effect1'"),
        ({"g_effect": np.random.default_rng(0).normal(size=(20, 3))}, "cannot be called 'g_effect'"),
        (dict.fromkeys(("w", "beta_w"), np.random.default_rng(0).normal(size=(20, 3))), "cannot be called 'beta_w'"),
        ({"a/b": np.random.default_rng(0).normal(size=(20, 3))}, "without '/'"),
    ],
)
def test_names_of_blocks(table, penalized, words):
    with pytest.raises(pmlmm.DataError, match=words):
        pmlmm.Model("y ~ x + (1 | g)", table, penalized=penalized)


def test_column_names_of_every_kind_of_block(table, block):
    kinds = {
        "pandas": block,
        "polars": pl.from_pandas(block),
        "sparse frame": block.astype(pd.SparseDtype(float, 0.0)),
        "sparse around nan": block.astype(pd.SparseDtype(float)),
        "array": block.to_numpy(),
        "matrix": sparse.coo_array(block.to_numpy()),
    }
    for kind, given in kinds.items():
        found = build_design("y ~ x", table, penalized={"genes": given}).wide[0]
        assert found.p == 30
        assert list(found.labels[:2]) == ([0, 1] if kind in ("array", "matrix") else ["g0", "g1"])
        np.testing.assert_allclose(next(found.chunks())[1], block)


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_columns_without_a_computable_scale(table, block, factor):
    with pytest.raises(pmlmm.DataError, match=r"'g2'.*rescale it"):
        pmlmm.Model("y ~ x", table, penalized={"genes": block.assign(g2=factor * block["g2"])})
