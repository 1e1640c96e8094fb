"""How often intervals hold the truth when lambda, b and A are learned from the same data.

Data as in the talk (Sigma drawn from an inverse-Wishart with mean I, beta standard normal, sigma 1). Share of
50, 80 and 95% intervals that hold the true value, for

- plug-in: the posterior given the learned hyperparameters, importance-sampled;
- integrated: ``fit.integrate()``;
- NUTS: ``fit.sample(hyperparameters=True)``, the reference for it (``--nuts``, about half a minute each).
"""

import argparse
import sys

import numpy as np
import pandas as pd
from common import RIDGE, Setting, formula, simulate
from parallel import replicate

import pmlmm
from pmlmm.errors import ConvergenceError

SETTINGS = [
    Setting("talk, Gaussian Z, 2 rows", 40, 2, 4),
    Setting("talk, Gaussian Z, 5 rows", 40, 5, 4),
    Setting("talk, cubic Z, 5 rows", 40, 5, 4, design="cubic"),
    Setting("20 groups of 5, q = 2", 20, 5, 2),
]
LEVELS = (0.5, 0.8, 0.95)


def covered(setting: Setting, structure: str, seed: int, nuts: bool) -> list[dict]:
    """Which intervals of one data set hold the truth."""
    data, truth = simulate(setting, seed)
    model = pmlmm.Model(formula(setting), data, RIDGE | {"g": pmlmm.InverseWishart(A=structure)})
    try:
        fit = model.fit()
        integrated = fit.integrate()
    except ConvergenceError as error:
        print(f"\n{setting.name}, seed {seed}: {error}", file=sys.stderr)
        return []
    draws = {"plug-in": fit.posterior, "integrated": integrated.posterior}
    if nuts:
        draws["NUTS"] = fit.sample(hyperparameters=True, progress=False, gamma=False)
    a, b = np.tril_indices(setting.q)
    rows = []
    for method, tree in draws.items():
        posterior = tree["posterior"]
        Sigma = posterior["Sigma_g"].to_numpy()[..., a, b]
        parameters = {
            "sigma": (posterior["sigma"].to_numpy()[..., None], np.array([truth.sigma])),
            "variances": (Sigma[..., a == b], truth.Sigma[a, b][a == b]),
            "covariances": (Sigma[..., a != b], truth.Sigma[a, b][a != b]),
            "beta": (posterior["beta"].to_numpy()[..., 1:], truth.beta[1:]),
        }
        for name, (values, true) in parameters.items():
            for level in LEVELS:
                low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=(0, 1))
                inside = (low <= true) & (true <= high)
                rows += [
                    {"setting": setting.name, "method": method, "what": name, "level": level, "seed": seed, "in": x}
                    for x in inside
                ]
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--settings", type=int, default=len(SETTINGS), help="only the last so many")
    parser.add_argument("--structure", default="identity", help="of A: identity (as it was) or diagonal (the default)")
    parser.add_argument("--nuts", type=int, default=0, help="NUTS for the first so many replicates")
    options = parser.parse_args()
    chosen = SETTINGS[-options.settings :]
    tasks = [
        (setting, options.structure, seed, seed < options.nuts)
        for setting in chosen
        for seed in range(options.replicates)
    ]
    table = pd.DataFrame([row for rows in replicate(covered, tasks) for row in rows])
    print(f"{options.replicates} data sets a setting, A = {options.structure}; share of intervals that hold the truth")
    refused = len(tasks) - len(table[["setting", "seed"]].drop_duplicates())
    print(f"{refused} of {len(tasks)} data sets could not be fitted or integrated; standard error says why")
    shares = table.pivot_table(
        index=["setting", "method"], columns=["what", "level"], values="in", aggfunc="mean", sort=False
    )
    print(shares.round(2).to_string())
    # intervals of one data set are not independent: the error is that of the means of data sets
    means = table[table["level"] == 0.95].groupby(["setting", "method", "what", "seed"], sort=False)["in"].mean()
    errors = means.groupby(level=[0, 1, 2], sort=False).agg(lambda x: x.std() / np.sqrt(len(x)))
    print(f"Monte Carlo error of the shares at 95%: at most {errors.max():.3f}")


if __name__ == "__main__":
    main()
