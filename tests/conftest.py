import json
import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # a process on every core: threads of BLAS would wait for one another
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest

import pmlmm
from tests.problems import CROSSED, DATA, crossed_data, read


def pytest_xdist_auto_num_workers(config):
    """Every core for whole folders; this process alone where files or single tests are named, and for a debugger."""
    named = [Path(argument.split("::")[0]) for argument in config.args]
    if config.getoption("usepdb") or all(path.suffix == ".py" for path in named):
        return 0
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@pytest.fixture(scope="session")
def load():
    """Data set by name: the bundled one and those kept for the tests."""
    return read


@pytest.fixture
def table():
    """Twenty rows of noise in four groups."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({"y": rng.normal(size=20), "x": rng.normal(size=20), "g": np.arange(20) % 4})


@pytest.fixture
def block():
    """More columns than rows for it."""
    return pd.DataFrame(np.random.default_rng(1).normal(size=(20, 30)), columns=[f"g{j}" for j in range(30)])


@pytest.fixture(scope="session")
def sleepstudy():
    return pmlmm.datasets.load("sleepstudy")


@pytest.fixture(scope="session")
def reference():
    """Fits of lme4 and blme by the name of the package."""
    return {name: json.loads((DATA / f"{name}.json").read_text())["fits"] for name in ("lme4", "blme")}


@pytest.fixture(scope="session")
def sleep_fit(sleepstudy):
    """Given the learned hyperparameters."""
    return pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy).fit(integrate=False)


@pytest.fixture(scope="session")
def mcmc(sleep_fit):
    """NUTS on it."""
    return sleep_fit.sample(progress=False)


@pytest.fixture(scope="session")
def integrated(sleep_fit):
    """The same, its hyperparameters integrated out."""
    return sleep_fit.integrate()


@pytest.fixture(scope="session")
def crossed():
    """A table with crossed and nested factors."""
    return crossed_data()


@pytest.fixture(scope="session")
def crossed_fit(crossed):
    """The default fit to it."""
    return pmlmm.Model(CROSSED, crossed).fit()


@pytest.fixture(scope="session")
def differences():
    """Central differences of a function along every coordinate, scaled to its size."""

    def gradient(function, x, step=1e-5):
        steps = step * np.maximum(1.0, np.abs(x))
        return np.stack(
            [(function(x + h * e) - function(x - h * e)) / (2 * h) for h, e in zip(steps, np.eye(len(x)), strict=True)],
            axis=-1,
        )

    return gradient
