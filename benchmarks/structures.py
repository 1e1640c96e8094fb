"""Crossed factors and wide blocks: InstEval and 280 rows x 500 or 20,000 covariates, against the peers.

pmlmm learns every hyperparameter; mixedlm, lme4 and gpboost fit plain maximum likelihood, and gpboost's
wide model is a Gaussian process with a linear kernel. ``--large`` adds two factors of 5,000 levels.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
from peers import best_of, ratio, time_gpboost, time_lme4, time_mixedlm

import pmlmm

WIDE = "y ~ 1 + (1 + t | ind)"
INSTEVAL = Path(__file__).parents[1] / "tests" / "data" / "InstEval.parquet"


def wide_problem(p: int, seed: int = 0):
    """40 individuals x 7, covariates with ten common factors that carry as much as a random effect."""
    rng = np.random.default_rng(seed)
    n = 280
    scores = rng.normal(size=(n, 10))
    X = scores @ rng.normal(size=(10, p)) / np.sqrt(10) + rng.normal(size=(n, p))
    signal = X @ rng.normal(size=p)
    individual, t = np.repeat(np.arange(40), 7), rng.normal(size=n)
    gamma = rng.normal(size=(40, 2))
    y = signal / signal.std() + gamma[individual, 0] + gamma[individual, 1] * t + 0.5 * rng.normal(size=n)
    return pd.DataFrame({"y": y, "t": t, "ind": individual}), X


def large_problem(levels: int, rows: int, seed: int = 0):
    """Two crossed factors of as many levels."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, levels, rows), rng.integers(0, levels, rows)
    y = 1 + 0.5 * rng.normal(size=levels)[a] + 0.3 * rng.normal(size=levels)[b] + rng.normal(size=rows)
    return pd.DataFrame({"y": y, "a": a, "b": b})


def line(name: str, ours: float, **peers: float | None) -> None:
    """One row of the report."""
    cells = [f"{peer} {'-' if x is None else f'{x:.2f}'} (ratio {ratio(ours, x).strip()})" for peer, x in peers.items()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{name:34s} pmlmm {ours:7.2f} s  peak {peak:.2f} GB   " + "   ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="two factors of 5,000 levels, 10^6 rows (minutes)")
    options = parser.parse_args()
    small = large_problem(5, 100)
    pmlmm.Model("y ~ 1 + (1 | a) + (1 | b)", small).fit()  # load the kernels
    for p in (500, 20_000):
        data, X = wide_problem(p)
        ours = best_of(lambda d=data, X=X: pmlmm.Model(WIDE, d, penalized={"x": X}).fit(), 3)
        line(f"280 x {p}, (1 + t | ind)", ours, gpboost=time_gpboost(data, ["ind"], X=X) if p < 1_000 else None)
    insteval = pd.read_parquet(INSTEVAL)
    formula = "y ~ service + (1 | s) + (1 | d)"
    ours = best_of(lambda: pmlmm.Model(formula, insteval).fit(), 3)
    peers = {"gpboost": time_gpboost(insteval, ["s", "d"], fixed="service"), "mixedlm": time_mixedlm(formula, insteval)}
    line("InstEval, (1 | s) + (1 | d)", ours, **peers, lme4=time_lme4(formula, insteval, factors=["s", "d", "service"]))
    if options.large:
        start = time.perf_counter()
        pmlmm.Model("y ~ 1 + (1 | a) + (1 | b)", large_problem(5_000, 1_000_000)).fit()
        line("5,000 x 5,000 levels, 10^6 rows", time.perf_counter() - start)


if __name__ == "__main__":
    main()
