"""Collapsed NUTS, NUTS on the full graph, and the corrected approximation, on real data and the talk's cases.

For each data set, at the learned hyperparameters:

- the largest difference between collapsed and full-graph NUTS over sigma, Sigma and beta, means and sds, in
  their Monte Carlo errors (the full graph shares no algebra with the library's fit; its compilation takes
  most of the time);
- the same between PSIS and collapsed NUTS;
- k-hat, R-hat, and the evidence by PSIS and by bridge sampling, in their errors.
"""

import argparse

import numpy as np
import pandas as pd
from common import read

import pmlmm
from pmlmm import compare
from pmlmm.checks.compare import Marginals


def cubic(singles: int) -> pd.DataFrame:
    """The talk's individuals: 10 with 10 rows, and some seen once; cubic random effects."""
    Sigma = pmlmm.simulate.draw_covariance(10.0, np.eye(4), seed=1)
    return pmlmm.simulate.polynomial_curves([10] * 10 + [1] * singles, Sigma=Sigma, sigma=0.5, seed=2)[0]


def cases() -> dict[str, tuple[str, pd.DataFrame]]:
    """Formula and data by name."""
    curves = "y ~ t + t2 + t3 + (t + t2 + t3 | ind)"
    return {
        "sleepstudy": ("Reaction ~ Days + (Days | Subject)", read("sleepstudy")),
        "penicillin": ("diameter ~ 1 + (1 | plate) + (1 | sample)", read("penicillin")),
        "pastes": ("strength ~ 1 + (1 | batch/cask)", read("pastes")),
        "Orthodont": ("distance ~ age + (age | Subject)", read("Orthodont")),
        "Oxboys": ("height ~ age + (age | Subject)", read("Oxboys")),
        "ergoStool": ("effort ~ Type + (Type | Subject)", read("ergoStool")),
        "talk, 10 x 10": (curves, cubic(0)),
        "talk, 25 more once": (curves, cubic(25)),
    }


def worst(left: Marginals, right: Marginals) -> float:
    """Largest difference of means or sds, in Monte Carlo errors."""
    means = np.abs(left.mean - right.mean) / np.hypot(left.mcse_mean, right.mcse_mean)
    sds = np.abs(left.sd - right.sd) / np.hypot(left.mcse_sd, right.mcse_sd)
    return float(max(means.max(), sds.max()))


def row(formula: str, data: pd.DataFrame, draws: int, full: bool) -> dict:
    """What the table says of one case."""
    fit = pmlmm.Model(formula, data).fit(integrate=False)
    report = compare(fit, fit.sample(draws, progress=False))
    by_method = {m.method: m for m in report._marginals}
    names = list(report.table.index)
    evidence = report.evidence
    errors = np.hypot(evidence.loc["PSIS", "error"], evidence.loc["bridge", "error"])
    found = {
        "parameters": len(names),
        "k-hat": fit.k_hat,
        "R-hat": report.diagnostics["r_hat"],
        "divergent": report.diagnostics["divergences"],
        "PSIS z": worst(by_method["PSIS"], by_method["NUTS"]),
        "Laplace shift": report.table["Laplace", "shift"].abs().max(),
        "evidence z": (evidence.loc["PSIS", "log_evidence"] - evidence.loc["bridge", "log_evidence"]) / errors,
    }
    if full:
        other = compare(fit, fit.sample(draws, tune=1000, collapsed=False, progress=False))
        order = [list(other.table.index).index(name) for name in names]
        m = next(m for m in other._marginals if m.method == "NUTS")
        again = Marginals("NUTS", m.values[:, order], m.weights, m.mcse_mean[order], m.mcse_sd[order])
        found |= {"full R-hat": other.diagnostics["r_hat"], "full z": worst(by_method["NUTS"], again)}
    return found | {"trusted": " ".join(name for name, good in report.trustworthy.items() if good)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", help="only these")
    parser.add_argument("--draws", type=int, default=2000, help="of each of 4 chains")
    parser.add_argument("--no-full", action="store_true", help="leave the full graph out")
    options = parser.parse_args()
    for name, (formula, data) in cases().items():
        if not options.cases or name in options.cases:
            found = row(formula, data, options.draws, not options.no_full)
            cells = (f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items())
            print(f"{name}: {', '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
