"""NUTS on a plain density, and bridge sampling, where the answer is known."""

import numpy as np
import pytest

from pmlmm.errors import OptionError, SamplingError, SamplingInterrupted
from pmlmm.graph.build import density_graph
from pmlmm.inference import nuts
from pmlmm.kernels.log_posterior import Whitened
from tests.problems import COVARIANCE, MEAN, gaussian


def schedule(sampler, draws=1000, **options):
    return nuts.Schedule(draws, 300, 2, 1, False, sampler, **options)


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_moments_of_a_gaussian(sampler):
    if sampler == "nutpie":
        pytest.importorskip("nutpie")
    chains = nuts.sample(Whitened(gaussian, np.zeros(2), 2.0 * np.eye(2)), schedule(sampler), density_graph)
    x = chains.x.reshape(-1, 2)
    np.testing.assert_allclose(x.mean(axis=0), MEAN, atol=0.2)
    np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=0.35)
    assert chains.x.shape == (2, 1000, 2)
    assert int(chains.statistics["diverging"].sum()) == 0
    assert chains.sampler == sampler


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_a_failed_chain_keeps_what_was_drawn(sampler):
    if sampler == "nutpie":
        pytest.importorskip("nutpie")
    calls = 0

    def failing(x):
        nonlocal calls
        calls += 1
        if calls > 8000:
            raise ZeroDivisionError("the disk is full")
        return gaussian(x)

    with pytest.raises(SamplingError, match="failed: the disk is full") as caught:
        nuts.sample(Whitened(failing, np.zeros(2), np.eye(2)), schedule(sampler), density_graph)
    drawn = np.concatenate(caught.value.draws)
    assert 50 < len(drawn) < 2000
    np.testing.assert_allclose(drawn.mean(axis=0), MEAN, atol=0.5)


def test_a_density_that_vanishes_is_left_not_an_error():
    pytest.importorskip("nutpie")

    def half(x):
        return gaussian(x) if x[0] < 4.0 else (-np.inf, np.full(2, np.nan))

    chains = nuts.sample(Whitened(half, MEAN, np.eye(2)), schedule("nutpie"), density_graph)
    assert chains.x[..., 0].max() < 4.0


def test_samplers_are_named():
    with pytest.raises(OptionError, match="choose one of 'auto', 'nutpie', 'pymc'"):
        nuts.choose_sampler("emcee")


def test_without_nutpie_pymc_samples(monkeypatch):
    monkeypatch.setattr("pmlmm.inference.nuts.find_spec", lambda name: None)
    assert nuts.choose_sampler("auto") == "pymc"
    with pytest.raises(OptionError, match="pip install nutpie"):
        nuts.choose_sampler("nutpie")


def test_an_interrupt_keeps_what_was_drawn(monkeypatch):
    """nutpie keeps Ctrl-C to itself and returns chains of different lengths, padded with nan."""
    nutpie = pytest.importorskip("nutpie")
    original = nutpie.sample

    def interrupted(*args, **options):
        tree = original(*args, **options)
        tree["posterior"]["z"][1, 400:] = np.nan
        return tree

    monkeypatch.setattr(nutpie, "sample", interrupted)
    with pytest.raises(SamplingInterrupted, match="was interrupted") as caught:
        nuts.sample(Whitened(gaussian, MEAN, np.eye(2)), schedule("nutpie"), density_graph)
    assert len(caught.value.draws) == 2


def test_an_interrupt_inside_the_density():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(SamplingInterrupted, match="was interrupted"):
        nuts.sample(Whitened(interrupted, MEAN, np.eye(2)), schedule("pymc"), density_graph)
