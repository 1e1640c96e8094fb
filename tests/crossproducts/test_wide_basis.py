"""Wide blocks in the basis of their rows."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pmlmm
from pmlmm.crossproducts.wide_basis import standardize
from pmlmm.design.design import build_design
from tests.problems import FIXED, WIDE, wide_data


@pytest.mark.parametrize("convert", [sparse.csr_array, lambda g: pd.DataFrame(g), lambda g: g.astype(np.int8)])
def test_blocks_of_any_kind(convert):
    rng = np.random.default_rng(2)
    genotypes = rng.binomial(2, 0.3, size=(40, 60)).astype(float)
    table = pd.DataFrame({"y": genotypes @ (0.3 * rng.normal(size=60)) + rng.normal(size=40), "g": np.arange(40) % 5})
    priors = {"snp": pmlmm.Ridge(20.0), "g": pmlmm.InverseWishart(0.5, [[0.2]])}
    given = pmlmm.Model("y ~ 1 + (1 | g)", table, priors, penalized={"snp": convert(genotypes)}).fit()
    expected = pmlmm.Model("y ~ 1 + (1 | g)", table, priors, penalized={"snp": genotypes}).fit()
    np.testing.assert_allclose(given.mean["beta_snp"], expected.mean["beta_snp"], rtol=1e-8)


def test_dropped_rows_are_dropped_from_blocks():
    table, genes = wide_data(3)
    priors = FIXED | {"genes": pmlmm.Ridge(2.0)}
    shorter = pmlmm.Model(WIDE, table.iloc[4:], priors, penalized={"genes": genes.iloc[4:]}).fit()
    table.loc[:3, "t"] = np.nan
    missing = pmlmm.Model(WIDE, table, priors, penalized={"genes": genes}).fit()
    np.testing.assert_allclose(missing.mean["beta_genes"], shorter.mean["beta_genes"], rtol=1e-8)


def test_units_of_a_block_do_not_matter_without_standardisation():
    table, genes = wide_data(4)
    X = genes - genes.mean()
    fits = [
        pmlmm.Model(WIDE, table, {"t": pmlmm.Ridge(1)}, penalized={"genes": c * X}, standardize=False).fit()
        for c in (1.0, 100.0)
    ]
    one, hundred = (fit.hyperparameters.loc["lambda[genes]"] for fit in fits)
    assert hundred["value"] == pytest.approx(1e4 * one["value"], rel=0.02)
    assert one["state"] == hundred["state"]
    assert fits[0].log_evidence == pytest.approx(fits[1].log_evidence, abs=1e-3)


def test_duplicated_columns_are_fine_under_a_ridge(table, block):
    twice = np.hstack([block.to_numpy()[:, :3], block.to_numpy()[:, :3]])
    fit = pmlmm.Model("y ~ x + (1 | g)", table, penalized={"genes": twice}).fit()
    mean = fit.mean["beta_genes"].to_numpy()
    np.testing.assert_allclose(mean[:3], mean[3:], atol=1e-10)


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
