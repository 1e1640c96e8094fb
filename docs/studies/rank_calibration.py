"""Simulation-based calibration of the engine: are posterior draws of the right law when the prior is true?

Parameters are drawn from the prior at fixed lambda, b and A, data from the model; among L posterior draws
the rank of the true value is then uniform (Talts et al. 2018, arXiv:1804.06788). In the last setting b and A are drawn
too, from the default hyperprior, and integrated over. Ranks of sigma, every entry of every Sigma, beta, a random
effect and the marginal log-likelihood, from

- Laplace draws, as they are;
- PSIS: the same, importance-resampled (what ``fit.posterior`` has);
- NUTS on the collapsed density;
- integrated: the default fit, where b and A are drawn.

The test: Kolmogorov-Smirnov distance of the (randomised) ranks from uniform, Bonferroni over the quantities
of a setting and method; "yes" below 0.01 / quantities. Laplace may fail, PSIS and NUTS must not.
"""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr
from parallel import replicate
from scipy.stats import kstest

import pmlmm
from pmlmm.errors import ConvergenceError

L = 99
IW = pmlmm.InverseWishart
# name, formula, priors of the covariances, columns of a wide block, rows
SETTINGS = [
    ("one factor", "y ~ 1 + x + (1 + z | g)", {"g": IW(b=0.4, A=[[1.0, 0.0], [0.0, 0.5]])}, 0, 60),
    ("strong noise, q = 3", "y ~ 1 + x + (1 + z + w | g)", {"g": IW(b=0.5, A=0.3 * np.eye(3))}, 0, 45),
    ("crossed", "y ~ 1 + x + (1 | g) + (1 | h)", {"g": IW(b=0.3, A=1.0), "h": IW(b=0.4, A=0.5)}, 0, 60),
    ("nested, p > n", "y ~ 1 + (1 | g/k)", {"g": IW(b=0.3, A=1.0), "g:k": IW(b=0.3, A=0.5)}, 80, 60),
    ("b and A drawn", "y ~ 1 + x + (1 + z | g)", {}, 0, 60),
]


def model_of(setting: tuple, y: np.ndarray | None = None) -> pmlmm.Model:
    """The model of a setting, its design the same every time, with this response."""
    _, formula, covariances, p, n = setting
    rng = np.random.default_rng(n)
    x, z, w = rng.normal(size=(3, n))
    g, h = np.arange(n) % 12, rng.permutation(np.arange(n) % 6)
    table = {"x": x, "z": z, "w": w, "g": g, "h": h, "k": np.arange(n) // 12 % 2}
    genes, any_response = rng.normal(size=(n, p)), rng.normal(size=n)
    table["y"] = any_response if y is None else y
    priors = covariances | {"Intercept": pmlmm.Ridge(0.5), "sigma": pmlmm.HalfStudentT(4, 1.0)}
    if "x" in formula:
        priors["common"] = pmlmm.Ridge(1.0)
    if not covariances:
        priors |= {"Intercept": pmlmm.Normal(0.0, 1.0), "common": pmlmm.Normal(0.0, 1.0)}
    block = {}
    if p:
        block, priors["genes"] = {"genes": genes}, pmlmm.Ridge(float(p))
    return pmlmm.Model(formula, pd.DataFrame(table), priors, penalized=block or None)


def quantities(fit: pmlmm.Fit, group: xr.Dataset) -> dict[str, np.ndarray]:
    """What is ranked, by name: (draws,) each."""
    stacked = group.stack(s=("chain", "draw"), create_index=False)
    likelihood = fit.marginal_log_likelihood(group).to_numpy().ravel()
    found = {"log-likelihood": likelihood, "sigma": stacked["sigma"].to_numpy()}
    for name in sorted(stacked.data_vars):
        values = stacked[name].transpose("s", ...).to_numpy()
        if name.startswith("Sigma_"):
            rows, cols = np.tril_indices(values.shape[1])
            found |= {f"{name}[{a},{b}]": values[:, a, b] for a, b in zip(rows, cols, strict=True)}
        elif name == "beta":
            found |= {f"beta[{j}]": values[:, j] for j in range(values.shape[1])}
        elif name.startswith(("gamma_", "beta_")):
            found[name] = values.reshape(len(values), -1)[:, 0]
    return found


def ranks(index: int, seed: int, nuts: bool) -> list[dict]:
    """Ranks of the truth among the draws of every method, for one data set."""
    setting, drawn = SETTINGS[index], not SETTINGS[index][2]
    template = model_of(setting)
    prior = template.fit(integrate=drawn, refine=False).sample_prior_predictive(1, random_seed=1000 * index + seed)
    y = prior["prior_predictive"]["y"].to_numpy()[0, 0]
    model = model_of(setting, y)
    own = model._space  # the hyperprior's scale is that of the template's response, not of this one
    model._space = lambda hyperprior: replace(template._space(hyperprior), fixed=own(hyperprior).fixed)
    try:
        fit = model.fit(integrate=drawn, random_seed=seed)
    except ConvergenceError:  # for what y is: given y the truth is a draw from the posterior all the same
        return []
    trees = {
        "Laplace": fit.draw_posterior(corrected=False, random_seed=seed),
        "PSIS": fit.draw_posterior(random_seed=seed),
    }
    if drawn:
        trees = {"integrated": trees["PSIS"]}
    if nuts and not drawn:
        trees["NUTS"] = fit.sample(500, chains=2, tune=300, random_seed=seed, progress=False)
    truth = quantities(fit, prior["prior"].to_dataset())
    rng, rows = np.random.default_rng([index, seed]), []
    for method, tree in trees.items():
        group = tree["posterior"].to_dataset()
        for name, values in quantities(fit, group).items():
            chosen = values[np.linspace(0, len(values) - 1, L).astype(int)]
            rank = int(np.sum(chosen < truth[name][0]))
            pit = (rank + rng.random()) / (L + 1)
            rows.append({"setting": setting[0], "method": method, "quantity": name, "pit": pit, "k_hat": fit.k_hat})
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--settings", type=int, default=len(SETTINGS), help="only the first so many")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--no-nuts", action="store_true")
    options = parser.parse_args()
    tasks = [
        (k, seed, not options.no_nuts)
        for k in range(options.first, options.settings)
        for seed in range(options.replicates)
    ]
    table = pd.DataFrame([row for rows in replicate(ranks, tasks) for row in rows])
    print(f"{options.replicates} data sets a setting, {L} draws each")
    print(f"{'setting':22s}{'method':9s}{'quantities':>11s}{'smallest p':>12s}{'of':>20s}{'uniform':>9s}")
    for (setting, method), part in table.groupby(["setting", "method"], sort=False):
        p = part.groupby("quantity")["pit"].apply(lambda x: kstest(x, "uniform").pvalue)
        verdict = "yes" if p.min() > 0.01 / len(p) else "NO"
        print(f"{setting:22s}{method:9s}{len(p):11d}{p.min():12.4f}{p.idxmin():>20s}{verdict:>9s}")
    print(f"k-hat above 0.7 in {np.mean(table['k_hat'] > 0.7):.1%} of the data sets")


if __name__ == "__main__":
    main()
