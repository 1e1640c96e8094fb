"""280 observations (40 individuals x 7), 500 covariates: what learning both priors at once is worth.

The second setting of the talk: X, beta and the random-effect design standard normal, E Sigma = I_2. The
root mean square error of beta, median over the seeds, for

- pmlmm with everything learned;
- the same with lambda fixed;
- ridge regression that ignores the individuals, its lambda learned in the same way.

In the talk's own scaling the 500 covariates carry 500 times the variance of a random effect, which
hardly matters then; ``--signal 1`` scales beta so that they carry as much as one random effect.
"""

import argparse

import numpy as np
import pandas as pd

import pmlmm

INDIVIDUALS, REPEATS, SIGMA, NU = 40, 7, 1.0, 6.0
FIXED = (0.01, 1.0, 100.0)


def simulate(seed: int, p: int, signal: float | None):
    """Data, covariates and beta of one replicate."""
    rng = np.random.default_rng(seed)
    n = INDIVIDUALS * REPEATS
    individual = np.repeat(np.arange(INDIVIDUALS), REPEATS)
    Sigma = pmlmm.simulate.draw_covariance(NU, np.eye(2), seed=seed)
    Z, X = rng.normal(size=(n, 2)), rng.normal(size=(n, p))
    beta = rng.normal(size=p) * (1.0 if signal is None else np.sqrt(signal / p))
    gamma = rng.normal(size=(INDIVIDUALS, 2)) @ np.linalg.cholesky(Sigma).T
    y = X @ beta + np.sum(Z * gamma[individual], axis=1) + SIGMA * rng.normal(size=n)
    return pd.DataFrame({"y": y, "ind": individual, "z1": Z[:, 0], "z2": Z[:, 1]}), X, beta


def errors(seed: int, p: int, signal: float | None) -> dict[str, float]:
    """RMSE of beta by method, and what was learned."""
    data, X, beta = simulate(seed, p, signal)
    formula, block = "y ~ 1 + (0 + z1 + z2 | ind)", {"x": X}

    def rmse(fit: pmlmm.Fit) -> float:
        return float(np.sqrt(np.mean((fit.mean["beta_x"].to_numpy() - beta) ** 2)))

    learned = pmlmm.Model(formula, data, penalized=block).fit()
    row = {"learned": rmse(learned), "ridge alone": rmse(pmlmm.Model("y ~ 1", data, penalized=block).fit())}
    for value in FIXED:
        model = pmlmm.Model(formula, data, {"x": pmlmm.Ridge(value)}, penalized=block)
        row[f"lambda {value:g}"] = rmse(model.fit())
    table = learned.hyperparameters["value"]
    return row | {"b learned": table["b[ind]"], "lambda learned": table["lambda[x]"]}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--p", type=int, default=500)
    parser.add_argument("--signal", type=float, help="variance of X beta (default: p, as in the talk)")
    options = parser.parse_args()
    table = pd.DataFrame([errors(seed, options.p, options.signal) for seed in range(options.seeds)])
    methods = [name for name in table if not name.endswith("learned") or name == "learned"]
    print(f"{options.seeds} seeds, p = {options.p}, variance of X beta {options.signal or options.p:g}")
    print(f"{'':16s}{'median RMSE':>12s}{'wins of learned':>17s}{'mean log ratio':>16s}")
    for name in methods:
        ratio = np.log(table[name] / table["learned"])
        wins = "" if name == "learned" else f"{int((ratio > 0).sum())} of {len(table)}"
        print(f"{name:16s}{table[name].median():12.4f}{wins:>17s}{ratio.mean():16.4f}")
    print(f"median b {table['b learned'].median():.3f}, median lambda {table['lambda learned'].median():.3g}")


if __name__ == "__main__":
    main()
