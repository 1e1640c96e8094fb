"""Error of the evidence (nats) over groups, effects, repeats, covariates and b.

A = I, lambda = 1, everything fixed; one data set a row. Three Laplace approximations against a reference:
marginal in precision coordinates (the default), marginal natural, and joint natural (the talk's); and the
importance-sampled one (PSIS) with its stated error. The reference is bridge sampling from NUTS on the
collapsed density; where beta is many, joint differs from it by what Laplace loses on sigma.
"""

import argparse
import itertools

import numpy as np
import pandas as pd
from common import RIDGE, Setting, formula, simulate
from parallel import replicate

import pmlmm
from pmlmm.errors import ConvergenceError

SHAPES = [(40, 4, 2, 2), (40, 4, 8, 2), (20, 2, 3, 2), (10, 2, 5, 2), (8, 1, 3, 1), (40, 2, 7, 150)]
B = (0.25, 0.5, 0.9)


def row(groups: int, q: int, repeats: int, p: int, b: float, seed: int) -> dict:
    """Errors of every method for one data set."""
    setting = Setting("", groups, repeats, q, covariates=p)
    data, _ = simulate(setting, seed)
    smallest = 2.0 * q / (groups + 2.0 * q)
    prior = RIDGE | {"g": pmlmm.InverseWishart(b=max(b, 1.05 * smallest), A=np.eye(q)), "common": pmlmm.Ridge(1.0)}
    model = pmlmm.Model(formula(setting), data, prior)
    fit = model.fit(integrate=False)
    reference = pmlmm.compare(fit, fit.sample(1000, random_seed=seed, progress=False)).evidence.loc["bridge"]
    found = {"m": groups, "q": q, "repeats": repeats, "p": p, "b": prior["g"].b, "default": fit.log_evidence}
    for name, approximation in (("natural", "marginal"), ("joint natural", "joint")):
        try:
            found[name] = model.fit(approximation, coordinates="natural", refine=False).log_evidence
        except ConvergenceError:  # no proper mode
            found[name] = np.nan
    found["PSIS"] = fit.log_evidence_psis
    for name in ("default", "natural", "joint natural", "PSIS"):
        found[name] -= reference["log_evidence"]
    z = found["PSIS"] / np.hypot(fit.log_evidence_psis_error, reference["error"])
    return found | {
        "PSIS error": fit.log_evidence_psis_error,
        "bridge error": reference["error"],
        "z": z,
        "k": fit.k_hat,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tasks = [(*shape, b, options.seed) for shape, b in itertools.product(SHAPES[: options.shapes], B)]
    table = pd.DataFrame(replicate(row, tasks))
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}", formatters={"b": "{:.2f}".format}))
    print(f"PSIS within 3 errors of bridge: {int((table['z'].abs() < 3).sum())} of {len(table)}")


if __name__ == "__main__":
    main()
