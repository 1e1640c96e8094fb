"""Ctrl-C, as SIGINT to a real process at random moments: a loop over models stops, and draws are kept."""

import subprocess
import sys

import pytest

from pmlmm.errors import PmlmmError, SamplingError, SamplingInterrupted

SCRIPT = """
import os, random, signal, sys, threading, time
import pmlmm

model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", pmlmm.datasets.load("sleepstudy"))
fit = model.fit()
work = {
    "fit": model.fit,
    "integrate": fit.integrate,
    "sample": lambda: fit.sample(200, tune=200, progress=False),
    "hyperparameters": lambda: fit.sample(100, tune=100, progress=False, hyperparameters=True),
    "predictive": lambda: model.fit().sample_posterior_predictive(draws=500),
}[sys.argv[1]]
work()
begin = time.perf_counter()
work()
takes, chance = time.perf_counter() - begin, random.Random(int(sys.argv[3]))
for _ in range(int(sys.argv[2])):
    timer = threading.Timer(chance.uniform(0, 0.9 * takes), os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        for _ in range(1000):  # a user's loop over models
            try:
                work()
            except Exception as error:
                print("swallowed", type(error).__name__)
    except KeyboardInterrupt as error:
        drawn = len(getattr(error, "draws", [])) if isinstance(error, pmlmm.SamplingInterrupted) else "-"
        print("stopped", type(error).__name__, drawn)
    timer.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "times"), [("fit", 6), ("integrate", 8), ("sample", 6), ("hyperparameters", 4), ("predictive", 4)]
)
def test_a_loop_over_models_can_be_stopped(what, times):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, what, str(times), "1"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("stopped", "swallowed"))]
    assert len(lines) == times
    kinds = (
        {"SamplingInterrupted", "KeyboardInterrupt"} if what in ("sample", "hyperparameters") else {"KeyboardInterrupt"}
    )
    assert {tuple(line.split()[:2]) for line in lines} <= {("stopped", kind) for kind in kinds}, done.stdout


def test_an_interrupt_is_no_error_of_ours():
    """So that ``except Exception`` does not swallow it."""
    assert issubclass(SamplingInterrupted, KeyboardInterrupt)
    assert not issubclass(SamplingInterrupted, Exception)
    assert not issubclass(SamplingInterrupted, PmlmmError | SamplingError)
