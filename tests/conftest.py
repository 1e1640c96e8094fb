import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pmlmm
from tests.bench import bench  # noqa: F401
from tests.problems import draw_case  # noqa: F401

DATA = Path(__file__).parent / "data"


def read(name):
    if name.lower() in pmlmm.datasets.names():
        return pmlmm.datasets.load(name.lower())
    path = next(DATA.glob(f"{name}.*"))
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


@pytest.fixture(scope="session")
def load():
    """Data set by name: the bundled one and those kept for the tests."""
    return read


@pytest.fixture(scope="session")
def sleepstudy():
    return pmlmm.datasets.load("sleepstudy")


@pytest.fixture(scope="session")
def reference():
    """Fits of lme4 and blme by the name of the package."""
    return {name: json.loads((DATA / f"{name}.json").read_text())["fits"] for name in ("lme4", "blme")}


@pytest.fixture(scope="session")
def sleep_fit(sleepstudy):
    """The default fit of the default model."""
    return pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy).fit()


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
