"""Wide blocks and nested factors: what is accepted, what is refused, in words."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

import pmlmm
from pmlmm.crossproducts.wide_basis import standardize
from pmlmm.design.design import build_design


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"y": rng.normal(size=20), "x": rng.normal(size=20), "g": np.arange(20) % 4})


@pytest.fixture
def block():
    return pd.DataFrame(np.random.default_rng(1).normal(size=(20, 30)), columns=[f"g{j}" for j in range(30)])


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


def test_duplicated_columns_are_fine_under_a_ridge(table, block):
    twice = np.hstack([block.to_numpy()[:, :3], block.to_numpy()[:, :3]])
    fit = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": twice}).fit()
    mean = fit.mean["beta_genes"].to_numpy()
    np.testing.assert_allclose(mean[:3], mean[3:], atol=1e-10)


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


def test_rotation_keeps_the_kernel_and_leads_back(table, block):
    found = standardize(build_design("y ~ x", table, penalized={"genes": block}).wide[0], True, True)
    X = ((block - block.mean()) / block.std(ddof=0)).to_numpy()
    assert found.rank == 19  # centring costs one direction
    np.testing.assert_allclose(found.columns @ found.columns.T, X @ X.T, atol=1e-9)
    alpha = np.random.default_rng(2).normal(size=(1, 19))
    beta = found.coefficients(alpha)
    np.testing.assert_allclose(X @ (beta[0] * found.scale), found.columns @ alpha[0], atol=1e-9)
    V = X.T @ found.basis
    np.testing.assert_allclose(V.T @ V, np.eye(19), atol=1e-9)
    root = np.random.default_rng(3).normal(size=(19, 19))
    direct = np.diag(V @ root @ root.T @ V.T + 0.7 * (np.eye(30) - V @ V.T)) / found.scale**2
    np.testing.assert_allclose(found.variances(root @ root.T, 0.7), direct, rtol=1e-9)


def test_predictions_need_the_same_columns(table, block):
    fit = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": block}).fit()
    one = table.head(1)
    assert fit.predict(one, penalized={"genes": block.head(1)}) == pytest.approx(fit.predict()[:1])
    with pytest.raises(pmlmm.DataError, match=r"predict\(data, penalized=\{'genes': ...\}\)"):
        fit.predict(one)
    with pytest.raises(pmlmm.DataError, match="columns of the fit, in their order: column 1 is 'g0', not 'g29'"):
        fit.predict(one, penalized={"genes": block.head(1).iloc[:, ::-1]})
    with pytest.raises(pmlmm.DataError, match=r"no wide block 'gene'.*Did you mean 'genes'"):
        fit.predict(one, penalized={"genes": block.head(1), "gene": block.head(1)})
    with pytest.raises(pmlmm.OptionError, match="needs data"):
        fit.predict(penalized={"genes": block})


def test_combined_labels_must_be_told_apart(table):
    ambiguous = table.assign(a=np.where(table.index < 10, "u", "u:v"), b=np.where(table.index < 10, "v:w", "w"))
    with pytest.raises(pmlmm.DataError, match=r"ambiguous once joined.*both read 'u:v:w'"):
        build_design("y ~ x + (1 | a:b)", ambiguous)


def test_nested_labels_may_repeat(table):
    design = build_design("y ~ x + (1 | g/h)", table.assign(h=np.where(np.arange(20) % 8 < 4, "a", "b")))
    assert [term.name for term in design.terms] == ["g", "g:h"]
    assert design.terms[1].grouping.labels.tolist() == ["0:a", "0:b", "1:a", "1:b", "2:a", "2:b", "3:a", "3:b"]


def test_factors_that_are_one_partition(table):
    same = table.assign(h=table["g"].map("abcd".__getitem__))
    with pytest.raises(pmlmm.DataError, match="'g' and 'h' make the same 4 groups"):
        build_design("y ~ x + (1 | g) + (1 | h)", same)
    with pytest.raises(pmlmm.DataError, match="'g' and 'g:h' make the same 4 groups"):
        build_design("y ~ x + (1 | g/h)", same)


def test_priors_by_tuples(table):
    table = table.assign(z=np.arange(20.0) ** 2, h=np.arange(20) % 5)
    formula = "y ~ x + z + (1 | g) + (1 | h)"
    model = pmlmm.Model(formula, table, {("x", "z"): pmlmm.Ridge(), ("g", "h"): pmlmm.InverseWishart(b=0.5)})
    assert [group.name for group in model.priors.penalty_groups] == ["Intercept", "x, z"]
    assert model.priors.shared == (0, 0)
    for priors, words in [
        ({(): pmlmm.Ridge()}, "at least one fixed effect"),
        ({("x", "g"): pmlmm.Ridge()}, "mixes random-effect terms"),
        ({("x", "common"): pmlmm.Ridge()}, "'common' cannot share a lambda"),
        ({("x", "z"): pmlmm.Ridge(), "x": pmlmm.Ridge(1)}, "'x' in two keys"),
        ({("x", "w"): pmlmm.Ridge()}, "'w', which names nothing"),
        ({"x": pmlmm.Ridge(), "z": pmlmm.Ridge(), "common": pmlmm.Ridge()}, "no fixed effect is left"),
    ]:
        with pytest.raises(pmlmm.PriorError, match=words):
            pmlmm.Model(formula, table, priors)
    with pytest.raises(pmlmm.PriorError, match=r"same number of effects \(g: 1, h: 2\)"):
        pmlmm.Model("y ~ x + (1 | g) + (1 + x | h)", table, {("g", "h"): pmlmm.InverseWishart()})


def test_a_factor_that_is_a_fixed_effect_too(table):
    wishart, ridge = pmlmm.InverseWishart(b=0.5), pmlmm.Ridge(1.0)
    model = pmlmm.Model("y ~ g + (1 | g)", table, {"g": ridge, "| g": wishart})
    assert model.priors.covariances == (wishart,)
    assert model.priors.penalty_groups[1].prior == ridge
    assert pmlmm.Model("y ~ g + (1 | g)", table, {"g": wishart}).priors.covariances == (wishart,)
    with pytest.raises(pmlmm.PriorError, match=r"a fixed effect and a grouping factor\. Use '[|] g'"):
        pmlmm.Model("y ~ g + (1 | g)", table, {"g": pmlmm.Flat()})


def test_a_large_mean_that_stays_in_does_not_drown_the_block(table):
    """Without an intercept nothing is centred; compared with augmented least squares."""
    rng = np.random.default_rng(5)
    X = 1e4 + rng.normal(size=(20, 50))
    priors = {"genes": pmlmm.Ridge(3.0), "g": pmlmm.InverseWishart(0.5, [[0.5]])}
    model = pmlmm.Model("y ~ 0 + (1 | g)", table, priors, standardize=False, penalized={"genes": X})
    fit = model.fit(refine=False)
    mode, Z = fit.mode, np.eye(4)[table["g"]]
    ratio = float(mode["sigma"]) ** 2 / float(mode["Sigma_g"][0, 0])
    augmented = np.vstack([np.hstack([X, Z]), np.diag([*[np.sqrt(3.0)] * 50, *[np.sqrt(ratio)] * 4])])
    expected = np.linalg.lstsq(augmented, np.concatenate([table["y"], np.zeros(54)]), rcond=None)[0]
    fitted = X @ mode["beta_genes"].to_numpy() + Z @ mode["gamma_g"].to_numpy()[:, 0]
    np.testing.assert_allclose(fitted, np.hstack([X, Z]) @ expected, atol=1e-5)


@pytest.mark.parametrize("factor", [1e300, 1e-300])
def test_columns_without_a_computable_scale(table, block, factor):
    with pytest.raises(pmlmm.DataError, match=r"'g2'.*rescale it"):
        pmlmm.Model("y ~ x", table, penalized={"genes": block.assign(g2=factor * block["g2"])})


def test_a_block_keeps_a_penalty(table, block):
    with pytest.raises(pmlmm.PriorError, match="needs a penalty"):
        pmlmm.Model("y ~ x + (1 | g)", table, {"genes": pmlmm.Ridge(0)}, penalized={"genes": block})
    fixed = pmlmm.Model("y ~ x + (1 | g)", table, {"genes": pmlmm.Ridge(3.0)}, penalized={"genes": block}).fit()
    assert fixed.hyperparameters.loc["lambda[genes]", "state"] == "fixed"


def test_too_large_for_memory_says_how_large(table, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(pmlmm.DataError, match=r"one dense factorisation \(g: 4; only the largest factor.*this machine"):
        pmlmm.Model("y ~ x + (1 | g) + (1 | h)", table.assign(h=np.arange(20) % 7))
