"""What cannot be held is refused before it is asked for, in words."""

import time

import numpy as np
import pandas as pd
import pytest

import pmlmm
from pmlmm import memory
from pmlmm.errors import DataError, OptionError


def test_what_is_free_is_known():
    free = memory.available()
    assert 1e7 < free < 1e15
    with pytest.raises(DataError, match=r"Numbers would take about 1e\+11 GB, .* has .* free\. Use fewer\."):
        memory.refuse_beyond(1e20, "Numbers", "Use fewer.")


def test_a_container_has_less_than_its_machine(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("12345678\n")
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path / "memory.max")
    assert memory.available() == 12345678
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() > 1e7


def test_draws_beyond_memory(sleepstudy, sleep_fit):
    model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy)
    begin = time.perf_counter()
    for call in (
        lambda: model.fit(draws=10**10),
        lambda: sleep_fit.draw_posterior(10**10),
        lambda: sleep_fit.draw_posterior(10**8, gamma=True),
        lambda: sleep_fit.sample_posterior_predictive(draws=10**10),
        lambda: sleep_fit.sample_prior_predictive(10**10),
        lambda: sleep_fit.logo(draws=10**10),
        lambda: sleep_fit.integrate(nodes=10**6, draws=10**6),
        lambda: sleep_fit.sample(draws=10**10, progress=False),
    ):
        with pytest.raises(OptionError, match=r"draws.*(GB|memory)"):
            call()
    assert time.perf_counter() - begin < 5


def test_a_covariance_of_very_many_effects():
    rng = np.random.default_rng(0)
    n = 3000
    table = pd.DataFrame({"y": rng.normal(size=n), "f": np.arange(n) % 600, "g": rng.integers(0, 5, n)})
    begin = time.perf_counter()
    with pytest.raises(DataError, match=r"600 effects of 'g' has 180300 entries.*GB.*\(1 \| g:\.\.\.\)"):
        pmlmm.Model("y ~ 1 + (0 + C(f) | g)", table)
    assert time.perf_counter() - begin < 20


def test_the_structure_names_the_memory():
    rng = np.random.default_rng(0)
    n = 9000
    table = pd.DataFrame(
        {"y": rng.normal(size=n), "a": np.arange(n) // 3, "b": rng.integers(0, 1000, n), "f": np.arange(n) % 60}
    )
    assert "MB" in pmlmm.Model("y ~ 1 + (1 | a) + (1 | b)", table).structure
    assert (
        "Hessians in 1830 entries of covariances, about 322 MB"
        in pmlmm.Model("y ~ 1 + (0 + C(f) | a)", table).structure
    )
