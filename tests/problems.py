"""Simulated tables and models that several tests use, and the benchmarks too."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import strategies as st

import pmlmm
from pmlmm.crossproducts.statistics import build_statistics
from pmlmm.kernels import coordinates

DATA = Path(__file__).parent / "data"


def read(name):
    """A data set by name: a bundled one, or one that is kept for the tests."""
    if name.lower() in pmlmm.datasets.names():
        return pmlmm.datasets.load(name.lower())
    path = next(path for path in DATA.glob(f"{name}.*") if path.suffix in (".csv", ".parquet"))
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


# A density with a known mean, covariance and integral.

COVARIANCE = np.array([[2.0, 0.9], [0.9, 1.0]])
MEAN = np.array([3.0, -1.0])


def gaussian(x):
    """Log and slope of a normal density times e^5."""
    precision = np.linalg.inv(COVARIANCE)
    constant = -np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(COVARIANCE)[1] + 5.0
    return constant - 0.5 * (x - MEAN) @ precision @ (x - MEAN), -precision @ (x - MEAN)


# Random models of every structure.

TERM_SETS = (
    (),
    ("(1 + t | a)",),
    ("(1 + t | a)", "(1 | b)"),
    ("(1 | a/c)",),
    ("(1 | a/c)", "(0 + t | a)", "(1 + t | b)"),
    ("(1 | b)", "(1 | a:b)"),
    ("(1 + t || b)", "(1 + t | a)", "(1 | c)"),
)
#: Arguments of :func:`random_case`.
RANDOM_CASES = st.tuples(
    st.integers(0, 2**32 - 1),
    st.sampled_from(TERM_SETS),
    st.sampled_from([(), (5,), (40,), (7, 30), (40, 30)]),
    st.booleans(),
)


@dataclass(frozen=True)
class Case:
    """A model and a point u = (sigma, vech Sigma_1, ..., log lambda_1, ...)."""

    model: pmlmm.Model
    u: np.ndarray


def random_case(seed, terms, sizes, flat=False, n=24):
    """A model of noise from a seed, its random terms and the sizes of its wide blocks."""
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
    priors = {"x": pmlmm.Flat(), "t": pmlmm.Ridge()} if flat else None
    model = pmlmm.Model(formula, table, priors, penalized=penalized)
    d = 1 + sum(coordinates.vech_size(q) for q in model.design.sizes)
    natural = coordinates.to_natural(0.4 * rng.normal(size=d), model.design.sizes)
    return Case(model, np.concatenate([natural, rng.normal(size=len(model.priors.penalty_groups))]))


# Every kind of model, with effects in the data: formula, sizes of wide blocks, priors.

ROWS = 72
KINDS = {
    "no random effects": ("y ~ x + t", (), {}),
    "only random effects": ("y ~ 0 + (1 | a)", (), {}),
    "crossed": ("y ~ x + (1 + t | a) + (1 | b)", (), {}),
    "nested, several terms": ("y ~ x + (1 | a/c) + (0 + t | a)", (), {}),
    "p < n": ("y ~ x + (1 + t | a)", (5,), {}),
    "p > n, crossed": ("y ~ x + (1 + t | a) + (1 | b)", (100,), {}),
    "two wide blocks": ("y ~ x + (1 + t | a)", (7, 90), {}),
    "AR(1) target": ("y ~ x + (0 + t + x | a)", (), {"a": pmlmm.InverseWishart(A="ar1")}),
    "shared A": ("y ~ x + (1 | a) + (1 | b)", (), {("a", "b"): pmlmm.InverseWishart(A="identity")}),
}


def table_of(seed):
    """The table of :data:`KINDS`, and the generator for their wide blocks."""
    rng = np.random.default_rng(seed)
    data = {
        "a": np.arange(ROWS) % 8,
        "b": rng.permutation(np.arange(ROWS) % 9),
        "c": rng.permutation(np.arange(ROWS) % 4),
        "t": rng.normal(size=ROWS),
        "x": rng.normal(size=ROWS),
    }
    levels = rng.normal(size=(3, 9))
    y = levels[0, data["a"]] + levels[1, data["a"]] * data["t"] + levels[2, data["b"]] + rng.normal(size=ROWS)
    return pd.DataFrame(data | {"y": y}), rng


#: One learned lambda for the columns of the formula, and the intercept in units of sigma.
RIDGE = {"common": pmlmm.Ridge(), "Intercept": pmlmm.Ridge(1e-4, "response")}

# One wide block beside random intercepts and slopes.

WIDE = "y ~ t + (1 + t | ind)"
#: Nothing is learned, so that two computations of one model differ by rounding alone.
FIXED = RIDGE | {"common": pmlmm.Ridge(0.5), "ind": pmlmm.InverseWishart(0.6, [[0.5, 0.1], [0.1, 0.4]])}


def wide_data(seed=0, m=8, rows=6, p=70):
    """The table of :data:`WIDE`, and a block of genes."""
    rng = np.random.default_rng(seed)
    n = m * rows
    genes = pd.DataFrame(rng.normal(size=(n, p)) + 3.0, columns=[f"g{j}" for j in range(p)])
    table = pd.DataFrame({"ind": np.repeat(np.arange(m), rows), "t": rng.normal(size=n)})
    gamma = rng.normal(size=(m, 2))
    signal = genes.to_numpy() @ (0.15 * rng.normal(size=p))
    table["y"] = signal + gamma[table["ind"], 0] + gamma[table["ind"], 1] * table["t"] + 0.5 * rng.normal(size=n)
    return table, genes


def three_ways(table, genes, genes_prior):
    """The same model eliminated in the space of the rows, rotated, and with all p columns as they are."""
    models = {}
    for method in ("wide", "groups"):
        model = pmlmm.Model(WIDE, table, FIXED | {"genes": genes_prior}, penalized={"genes": genes})
        standard = model.statistics.standardization
        statistics = build_statistics(model.design, model.priors, standard, method=method)
        model._problem = replace(model._problem, statistics=statistics)
        models[method] = model
    columns = tuple(genes.columns)
    formula = WIDE.replace("t +", " + ".join(["t", *columns]) + " +")
    models["direct"] = pmlmm.Model(formula, pd.concat([table, genes], axis=1), FIXED | {columns: genes_prior})
    return models


# Four groups of six rows.


def six_rows_each():
    """Noise, with one column of every kind."""
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


def visits():
    """Visits 0 to 7 of 20 patients, whole numbers as they come."""
    rng = np.random.default_rng(1)
    g, t = np.repeat(np.arange(20), 8), np.tile(np.arange(8), 20)
    base = rng.normal(50, 10, 160)
    table = pd.DataFrame({"g": g, "t": t, "base": base, "f": np.tile(list("abcd"), 40)})
    table["y"] = base + 3 + 1.5 * rng.normal(size=20)[g] + rng.normal(size=160)
    table["curve"] = 3 + 2 * t + 0.5 * t**2 + rng.normal(size=20)[g] + 0.3 * rng.normal(size=160)
    return table


# Crossed and nested factors.

CROSSED = "y ~ t + (1 + t | a) + (1 | b/c)"


def crossed_data():
    """The table of :data:`CROSSED`."""
    rng = np.random.default_rng(6)
    n = 240
    table = pd.DataFrame({"a": rng.integers(0, 12, n), "b": np.arange(n) % 6, "c": rng.integers(0, 3, n)})
    table["t"] = rng.normal(size=n)
    effects = rng.normal(size=(12, 2)), rng.normal(size=6), 0.7 * rng.normal(size=(6, 3))
    table["y"] = effects[0][table["a"], 0] + effects[0][table["a"], 1] * table["t"] + effects[1][table["b"]]
    table["y"] += effects[2][table["b"], table["c"]] + 0.5 * rng.normal(size=n) + table["t"]
    return table


def grouped(noise, shift=0.0):
    """12 groups of 6 rows with intercepts and slopes of their own around 2 + 3 t."""
    rng = np.random.default_rng(0)
    b, g, t = rng.normal(size=(12, 2)), np.repeat(np.arange(12), 6), np.tile(np.arange(6.0), 12)
    y = 2 + 3 * t + b[g, 0] + b[g, 1] * t + noise * rng.normal(size=72)
    return {"y": y, "t": t + shift, "g": g}


def bad_model():
    """Four groups, three effects, b at its lower bound: hardly a prior, hardly data."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(4), 4)
    z = rng.normal(size=(16, 3))
    table = pd.DataFrame({"g": group, "z0": z[:, 0], "z1": z[:, 1], "z2": z[:, 2], "y": rng.normal(size=16)})
    prior = {"g": pmlmm.InverseWishart(b=6 / 10 + 0.003, A=0.5 * np.eye(3))}
    return pmlmm.Model("y ~ 1 + (0 + z0 + z1 + z2 | g)", table, prior)


# Of the benchmarks.

CURVES = "y ~ t + t2 + t3 + (1 + t + t2 + t3 | ind)"
COVARIATES = "y ~ 1 + (1 + t | ind)"


def cubic_curves(groups, seed=0):
    """Groups of ten rows with cubic random effects, for :data:`CURVES`."""
    Sigma = [[1, 0.3, 0.2, 0], [0.3, 0.8, 0.1, 0.1], [0.2, 0.1, 0.6, 0.2], [0, 0.1, 0.2, 0.5]]
    beta = [1, 0.5, -0.5, 0.2]
    return pmlmm.simulate.polynomial_curves([10] * groups, Sigma=Sigma, beta=beta, sigma=0.8, seed=seed)[0]


def many_covariates(p, seed=0):
    """40 individuals x 7, for :data:`COVARIATES`: ten common factors carry as much as a random effect."""
    rng = np.random.default_rng(seed)
    n = 280
    scores = rng.normal(size=(n, 10))
    X = scores @ rng.normal(size=(10, p)) / np.sqrt(10) + rng.normal(size=(n, p))
    signal = X @ rng.normal(size=p)
    individual, t = np.repeat(np.arange(40), 7), rng.normal(size=n)
    gamma = rng.normal(size=(40, 2))
    y = signal / signal.std() + gamma[individual, 0] + gamma[individual, 1] * t + 0.5 * rng.normal(size=n)
    return pd.DataFrame({"y": y, "t": t, "ind": individual}), X


def nested_factors(outer, inner, rows, seed=0):
    """Intercepts of ``outer`` groups with ``inner`` groups in each and ``rows`` rows in these, and a covariate."""
    rng = np.random.default_rng(seed)
    a, b = np.repeat(np.arange(outer), inner * rows), np.repeat(np.arange(outer * inner), rows)
    x = rng.normal(size=len(a))
    y = rng.normal(size=outer)[a] + 0.7 * rng.normal(size=outer * inner)[b] + x + rng.normal(size=len(a))
    return pd.DataFrame({"a": a, "b": b, "x": x, "y": y})


def two_factors(levels, rows, seed=0):
    """Two crossed factors a and b of as many levels."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, levels, rows), rng.integers(0, levels, rows)
    y = 1 + 0.5 * rng.normal(size=levels)[a] + 0.3 * rng.normal(size=levels)[b] + rng.normal(size=rows)
    return pd.DataFrame({"y": y, "a": a, "b": b})
