"""What six default fits give, to notice any change: ``uv run python -m tests.golden.records`` writes them anew.

A record is no truth (oracles are elsewhere). Where one changes on purpose, the changelog says so.
"""

import json
from importlib.metadata import version
from pathlib import Path
from platform import machine

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_info

import pmlmm

FILE = Path(__file__).with_name("records.json")
_DATA = FILE.parents[1] / "data"


def crossed_and_nested():
    """Pupils in classes in schools, crossed with the interviewers, a slope within schools."""
    rng = np.random.default_rng(20)
    n = 300
    table = pd.DataFrame({"school": rng.integers(0, 10, n), "seen": rng.integers(0, 7, n), "t": rng.uniform(0, 3, n)})
    table["room"] = rng.integers(0, 3, n)
    cell = 3 * table.school + table.room
    table["y"] = (
        5
        + 1.5 * table.t
        + (2 * rng.normal(size=10))[table.school]
        + (0.7 * rng.normal(size=10))[table.school] * table.t
    )
    table["y"] += rng.normal(size=30)[cell] + (0.5 * rng.normal(size=7))[table.seen] + rng.normal(size=n)
    return table


def wide():
    """Sleepstudy with 250 standard normal covariates, of which five matter."""
    table = pmlmm.datasets.load("sleepstudy")
    block = np.random.default_rng(21).normal(size=(len(table), 250))
    return table.assign(Reaction=table.Reaction + block[:, :5] @ np.full(5, 8.0)), {"genes": block}


def models():
    """Name and model of every record."""
    load = pmlmm.datasets.load
    table, blocks = wide()
    ergo = pd.read_csv(_DATA / "ergoStool.csv")
    return {
        "sleepstudy": pmlmm.Model("Reaction ~ Days + (Days | Subject)", load("sleepstudy")),
        "penicillin": pmlmm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)", load("penicillin")),
        "pastes": pmlmm.Model("strength ~ 1 + (1 | batch/cask)", load("pastes")),
        "ergoStool": pmlmm.Model("effort ~ Type + (1 | Subject)", ergo),
        "wide": pmlmm.Model("Reaction ~ Days + (Days | Subject)", table, penalized=blocks),
        "crossed and nested": pmlmm.Model("y ~ t + (t | school/room) + (1 | seen)", crossed_and_nested()),
    }


def record(model):
    """The numbers of one default fit."""
    fit = model.fit()
    numbers = {
        "log_evidence": fit.log_evidence,
        "log_evidence_psis": fit.log_evidence_psis,
        "k_hat": fit.k_hat,
        "log_posterior": fit.log_posterior,
        "hyperparameters": fit.hyperparameters["value"].tolist(),
        "states": fit.hyperparameters["state"].tolist(),
    }
    for kind, values in (("mode", fit.mode), ("mean", fit.mean), ("sd", fit.sd)):
        for name, variable in values.data_vars.items():
            numbers[f"{kind} {name}"] = variable.to_numpy().ravel()[:40].tolist()
    draws = fit.posterior["posterior"]
    numbers["draws"] = {str(name): float(variable.mean()) for name, variable in draws.data_vars.items()}
    return numbers


def environment():
    """What decides how numbers are rounded, and which path a search takes."""
    blas = sorted(
        {f"{info['internal_api']} {info['version']} {info.get('architecture')}" for info in threadpool_info()}
    )
    return {module: version(module) for module in ("numpy", "scipy", "numba")} | {"blas": blas, "cpu": machine()}


if __name__ == "__main__":
    everything = {"environment": environment(), "fits": {name: record(model) for name, model in models().items()}}
    FILE.write_text(json.dumps(everything, indent=1) + "\n")
