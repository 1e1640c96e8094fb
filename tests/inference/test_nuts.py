"""NUTS on a plain density, and bridge sampling, where the answer is known."""

import numpy as np
import pytest

from pmlmm.errors import OptionError, SamplingError, SamplingInterrupted
from pmlmm.inference import nuts
from pmlmm.inference.bridge import bridge
from pmlmm.kernels.log_posterior import Whitened

COVARIANCE = np.array([[2.0, 0.9], [0.9, 1.0]])
MEAN = np.array([3.0, -1.0])


def gaussian(x):
    """Density that integrates to e^5."""
    precision = np.linalg.inv(COVARIANCE)
    constant = -np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(COVARIANCE)[1] + 5.0
    return constant - 0.5 * (x - MEAN) @ precision @ (x - MEAN), -precision @ (x - MEAN)


def schedule(sampler, draws=1000, **options):
    return nuts.Schedule(draws, 300, 2, 1, False, sampler, **options)


@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
def test_moments_of_a_gaussian(sampler):
    if sampler == "nutpie":
        pytest.importorskip("nutpie")
    chains = nuts.sample(Whitened(gaussian, np.zeros(2), 2.0 * np.eye(2)), schedule(sampler))
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
        nuts.sample(Whitened(failing, np.zeros(2), np.eye(2)), schedule(sampler))
    drawn = np.concatenate(caught.value.draws)
    assert 50 < len(drawn) < 2000
    np.testing.assert_allclose(drawn.mean(axis=0), MEAN, atol=0.5)


def test_a_density_that_vanishes_is_left_not_an_error():
    pytest.importorskip("nutpie")

    def half(x):
        return gaussian(x) if x[0] < 4.0 else (-np.inf, np.full(2, np.nan))

    chains = nuts.sample(Whitened(half, MEAN, np.eye(2)), schedule("nutpie"))
    assert chains.x[..., 0].max() < 4.0


def test_samplers_are_named():
    with pytest.raises(OptionError, match="choose one of 'auto', 'nutpie', 'pymc'"):
        nuts.choose_sampler("emcee")


def test_without_nutpie_pymc_samples(monkeypatch):
    monkeypatch.setattr("pmlmm.inference.nuts.find_spec", lambda name: None)
    assert nuts.choose_sampler("auto") == "pymc"
    with pytest.raises(OptionError, match="pip install nutpie"):
        nuts.choose_sampler("nutpie")


def test_bridge_finds_the_constant_within_its_error():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(30):
        x = rng.multivariate_normal(MEAN, COVARIANCE, size=(2, 500))
        result = bridge(x, lambda point: gaussian(point)[0], rng)
        errors.append((result.log_evidence - 5.0) / result.error)
    # a normal bridged to a normal: the errors are tiny, and of the stated size
    assert result.error < 0.01
    assert 0.5 < np.sqrt(np.mean(np.square(errors))) < 1.6


def test_bridge_of_a_skewed_density():
    """log of a Gamma(3): its normaliser is log Gamma(3)."""
    rng = np.random.default_rng(1)
    x = np.log(rng.gamma(3.0, size=(4, 1000, 1)))
    result = bridge(x, lambda point: float(3.0 * point[0] - np.exp(point[0])), rng)
    assert abs(result.log_evidence - np.log(2.0)) < 4.0 * result.error
    assert 1e-4 < result.error < 0.03


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
        nuts.sample(Whitened(gaussian, MEAN, np.eye(2)), schedule("nutpie"))
    assert len(caught.value.draws) == 2


def test_an_interrupt_inside_the_density():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(SamplingInterrupted, match="was interrupted"):
        nuts.sample(Whitened(interrupted, MEAN, np.eye(2)), schedule("pymc"))


def test_bridge_does_not_care_for_units():
    rng = np.random.default_rng(2)
    units = np.array([1e-7, 1e6])
    x = rng.multivariate_normal(MEAN, COVARIANCE, size=(2, 500)) * units
    result = bridge(x, lambda point: gaussian(point / units)[0] - np.sum(np.log(units)), rng)
    assert abs(result.log_evidence - 5.0) < 4.0 * result.error
    with pytest.raises(OptionError, match="more draws: 8 for 2"):
        bridge(x[:1, :8], lambda point: 0.0, rng)
