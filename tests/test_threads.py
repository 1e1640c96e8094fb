"""Fits in threads give the results of fits one after the other, in a fresh process too."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed

import pmlmm


def table(seed):
    rng = np.random.default_rng(seed)
    g, x = rng.integers(0, 15, 120), rng.normal(size=120)
    return pd.DataFrame({"y": x + rng.normal(size=15)[g] + rng.normal(size=120), "x": x, "g": g})


def numbers(model):
    """Everything that a fit says, as one array."""
    fit = model.fit(draws=300)
    means = [variable.to_numpy().ravel() for variable in fit.mean.data_vars.values()]
    return np.concatenate(
        [[fit.log_evidence, fit.log_evidence_psis], *means, fit.predict(model.design.table.frame.head(7))["mean"]]
    )


def one(seed):
    return numbers(pmlmm.Model("y ~ x + poly(x, 2) + (1 | g)", table(seed)))


def test_a_pool_gives_what_a_loop_gives():
    serial = [one(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        for alone, beside in zip(serial, pool.map(one, range(12)), strict=True):
            np.testing.assert_array_equal(beside, alone)


def test_joblib_threads():
    serial = [one(seed) for seed in range(6)]
    threaded = Parallel(n_jobs=3, backend="threading")(delayed(one)(seed) for seed in range(6))
    np.testing.assert_array_equal(np.array(threaded), np.array(serial))


def test_one_model_in_many_threads(sleepstudy):
    model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy)
    alone = numbers(pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy))
    with ThreadPoolExecutor(4) as pool:
        for beside in pool.map(lambda _: numbers(model), range(8)):
            np.testing.assert_array_equal(beside, alone)


@pytest.mark.slow
def test_what_comes_after_a_fit(sleepstudy):
    def work(seed):
        fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", sleepstudy).fit(random_seed=seed, draws=300)
        integrated = fit.integrate(nodes=64, draws=100)
        return (
            str(fit),
            integrated.log_evidence,
            fit.hyperparameters["value"].tolist(),
            fit.profile("b[Subject]", points=3),
        )

    serial = [work(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for beside, alone in zip(pool.map(work, range(4)), serial, strict=True):
            assert beside[:3] == alone[:3]
            pd.testing.assert_frame_equal(beside[3], alone[3], check_exact=True)


COLD = """
from concurrent.futures import ThreadPoolExecutor
import pmlmm
data = pmlmm.datasets.load("sleepstudy")
def one(days):
    return pmlmm.Model("Reaction ~ Days + (Days | Subject)", data[data.Days <= days]).fit().log_evidence
with ThreadPoolExecutor(4) as pool:
    threads = list(pool.map(one, range(4, 10)))
assert threads == [one(days) for days in range(4, 10)], threads
print("equal")
"""


@pytest.mark.slow
def test_the_first_fits_of_a_process():
    done = subprocess.run([sys.executable, "-W", "error", "-c", COLD], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "equal"), done.stderr
