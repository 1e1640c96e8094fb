"""Crossed and nested factors, and wide blocks: InstEval and 280 rows x 500 or 20,000 covariates, against the peers.

pmlmm learns every hyperparameter; mixedlm, lme4 and gpboost fit plain maximum likelihood, and gpboost's
wide model is a Gaussian process with a linear kernel. ``--large`` adds two factors of 5,000 levels.
"""

import argparse
import resource
import time

from peers import best_of, ratio, time_gpboost, time_lme4, time_mixedlm

import pmlmm
from tests.problems import COVARIATES, many_covariates, nested_factors, read, two_factors


def line(name: str, ours: float, **peers: float | None) -> None:
    """One row of the report."""
    cells = [f"{peer} {'-' if x is None else f'{x:.2f}'} (ratio {ratio(ours, x).strip()})" for peer, x in peers.items()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{name:34s} pmlmm {ours:7.2f} s  peak {peak:.2f} GB   " + "   ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="two factors of 5,000 levels, 10^6 rows (minutes)")
    options = parser.parse_args()
    small = two_factors(5, 100)
    pmlmm.Model("y ~ 1 + (1 | a) + (1 | b)", small).fit()  # load the kernels
    for p in (500, 20_000):
        data, X = many_covariates(p)
        ours = best_of(lambda d=data, X=X: pmlmm.Model(COVARIATES, d, penalized={"x": X}).fit(), 3)
        line(f"280 x {p}, (1 + t | ind)", ours, gpboost=time_gpboost(data, ["ind"], X=X) if p < 1_000 else None)
    for outer in (100, 1_000):
        nested, formula = nested_factors(outer, 10, 5), "y ~ x + (1 | a) + (1 | b)"
        plug_in = best_of(lambda d=nested, f=formula: pmlmm.Model(f, d).fit(integrate=False), 3)
        whole = best_of(lambda d=nested, f=formula: pmlmm.Model(f, d).fit(), 3)
        peers = {"mixedlm": time_mixedlm(formula, nested), "lme4": time_lme4(formula, nested, factors=["a", "b"])}
        line(f"{10 * outer:,} groups in {outer:,}, plug-in", plug_in, **peers)
        line(f"{10 * outer:,} groups in {outer:,}, default", whole, **peers)
    insteval = read("InstEval")
    formula = "y ~ service + (1 | s) + (1 | d)"
    ours = best_of(lambda: pmlmm.Model(formula, insteval).fit(), 3)
    peers = {"gpboost": time_gpboost(insteval, ["s", "d"], fixed="service"), "mixedlm": time_mixedlm(formula, insteval)}
    line("InstEval, (1 | s) + (1 | d)", ours, **peers, lme4=time_lme4(formula, insteval, factors=["s", "d", "service"]))
    if options.large:
        start = time.perf_counter()
        pmlmm.Model("y ~ 1 + (1 | a) + (1 | b)", two_factors(5_000, 1_000_000)).fit()
        line("5,000 x 5,000 levels, 10^6 rows", time.perf_counter() - start)


if __name__ == "__main__":
    main()
