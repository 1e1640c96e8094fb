"""Random models of every structure, and the same densities by n x n matrices and textbook formulas."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm.kernels import coordinates

TERM_SETS = (
    (),
    ("(1 + t | a)",),
    ("(1 + t | a)", "(1 | b)"),
    ("(1 | a/c)",),
    ("(1 | a/c)", "(0 + t | a)", "(1 + t | b)"),
    ("(1 | b)", "(1 | a:b)"),
    ("(1 + t || b)", "(1 + t | a)", "(1 | c)"),
)


@dataclass(frozen=True)
class Case:
    """A model and a point u = (sigma, vech Sigma_1, ..., log lambda_1, ...)."""

    model: pmlmm.Model
    u: np.ndarray


def wide_columns(block):
    """Standardised columns of a block, computed anew from what was given."""
    values = np.asarray(block.block.matrix)[block.block.rows].astype(float)
    return (values - values.mean(axis=0)) / values.std(axis=0)


def dense_value(case, profile):
    """log p(y | u), or its profile over beta, with every matrix written out."""
    model, u = case.model, case.u
    design, priors, standard = model.design, model.priors, model.statistics.standardization
    y, n, sigma = design.y - standard.offset, design.n_rows, u[0]
    V, position = sigma**2 * np.eye(n), 1
    for term in design.terms:
        size = coordinates.vech_size(term.q)
        Sigma = coordinates.unvech(u[position : position + size], term.q)
        same = term.grouping.codes[:, None] == term.grouping.codes
        V = V + (term.Z @ Sigma @ term.Z.T) * same
        position += size
    X = (design.X - standard.center) / standard.scale
    columns, lam = [X[:, list(priors.flat_columns)]], [0.0] * len(priors.flat_columns)
    for group, log_lambda in zip(priors.penalty_groups, u[position:], strict=True):
        own = X[:, list(group.columns)] if group.block is None else wide_columns(model.statistics.wide[group.block])
        columns.append(own)
        lam += [np.exp(log_lambda)] * own.shape[1]
    X, lam = np.hstack(columns), np.array(lam)
    information = X.T @ np.linalg.solve(V, X) + np.diag(lam) / sigma**2
    beta = np.linalg.solve(information, X.T @ np.linalg.solve(V, y))
    e = y - X @ beta
    value = -0.5 * (n * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + e @ np.linalg.solve(V, e))
    ridged = lam > 0
    value += 0.5 * np.sum(np.log(lam[ridged] / (2 * np.pi * sigma**2)) - lam[ridged] * beta[ridged] ** 2 / sigma**2)
    if not profile:
        value += 0.5 * len(lam) * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(information)[1]
    return value


@pytest.fixture(scope="session")
def draw_case():
    """A model from a seed, its random terms and the sizes of its wide blocks."""

    def make(seed, terms, sizes, flat=False, n=24):
        rng = np.random.default_rng(seed)
        table = pd.DataFrame(
            {
                "a": np.arange(n) % 4,
                "b": rng.permutation(np.arange(n) % 5),
                "c": rng.permutation(np.arange(n) % 2),
                "t": rng.normal(size=n),
                "x": rng.normal(size=n),
                "y": rng.normal(size=n),
            }
        )
        formula = " + ".join(["y ~ x + t", *terms])
        penalized = {f"w{k}": rng.normal(size=(n, p)) for k, p in enumerate(sizes)}
        model = pmlmm.Model(formula, table, {"x": pmlmm.Flat()} if flat else None, penalized=penalized)
        d = model.statistics.crossproducts().parameters
        natural = coordinates.to_natural(0.4 * rng.normal(size=d), model.design.sizes)
        return Case(model, np.concatenate([natural, rng.normal(size=len(model.priors.penalty_groups))]))

    return make
