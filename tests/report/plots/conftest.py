import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import pmlmm

mpl.use("agg")


@pytest.fixture(autouse=True)
def _figures_end():
    """Figures are closed; Matplotlib's settings are as they were."""
    from matplotlib import pyplot as plt

    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.fixture(scope="session")
def trial():
    """Ten sites of 24 rows: a factor, a raw year with its square beside it, a covariate; a tiny response."""
    rng = np.random.default_rng(4)
    site = np.repeat(pd.to_datetime("2024-03-01") + pd.to_timedelta(np.arange(10), "D"), 24)
    year = np.tile(np.arange(2000, 2024), 10)
    table = pd.DataFrame({"site": site, "year": year, "year2": (year - 2012.0) ** 2})
    table["arm"] = np.where(np.arange(240) % 3 == 0, "drug", "placebo")
    table["x"] = rng.normal(size=240)
    effects = rng.normal(size=(10, 2)).repeat(24, axis=0)
    signal = effects[:, 0] + (1 + 0.3 * effects[:, 1]) * (year - 2012) + 0.05 * table["year2"]
    table["y"] = 1e-9 * (signal + 2.0 * (table["arm"] == "drug") + rng.normal(size=240))
    return table


@pytest.fixture(scope="session")
def trial_fit(trial):
    """A ``||``."""
    return pmlmm.Model("y ~ year + year2 + arm + x + (1 + year || site)", trial).fit(integrate=False)


@pytest.fixture(scope="session")
def wide_fit():
    from tests.problems import WIDE, wide_data

    table, genes = wide_data()
    return pmlmm.Model(WIDE, table, penalized={"genes": genes}).fit(integrate=False)


@pytest.fixture(scope="session")
def many_fit():
    """600 groups of two rows, integers as labels."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(600), 2)
    table = pd.DataFrame({"g": group, "t": np.tile([0.0, 1.0], 600)})
    table["y"] = rng.normal(size=600)[group] + table["t"] + rng.normal(size=1200)
    return pmlmm.Model("y ~ t + (1 + t | g)", table).fit(integrate=False, draws=400)


@pytest.fixture(scope="session")
def six_fit():
    """q = 6 effects of 5 groups, plug-in."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame(rng.normal(size=(60, 5)), columns=list("abcde")).assign(g=list("vwxyz") * 12)
    table["response_of_a_long_name"] = table["a"] + rng.normal(size=60)
    formula = "response_of_a_long_name ~ a + (a + b + c + d + e | g)"
    return pmlmm.Model(formula, table).fit(integrate=False, draws=400)


@pytest.fixture(scope="session")
def line():
    """Data of the line or collection with this label."""

    def find(ax, label):
        return next(found for found in [*ax.lines, *ax.collections, *ax.containers] if found.get_label() == label)

    return find


@pytest.fixture(scope="session")
def texts():
    """All that a figure's titles and legends say."""

    def read(ax):
        figure = ax.figure
        found = [text.get_text() for each in figure.legends for text in (*each.get_texts(), each.get_title())]
        found += [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")]
        for axes in figure.axes:
            if axes.get_legend() is not None:
                found += [text.get_text() for text in axes.get_legend().get_texts()]
        return " | ".join(found)

    return read
