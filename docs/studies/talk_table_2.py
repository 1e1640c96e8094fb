"""The talk's second table: 280 observations (40 individuals, 7 each), q = 2, with 2 and with 500 covariates.

``python docs/studies/talk_table_2.py`` prints the b and lambda learned, beside the talk's, for what the talk leaves
open: the residual variance; whether X beta has variance p (X and beta standard normal, as written) or 1; the default
(posterior mean of sigma) or the talk's joint evidence (mode). With 500 covariates and 280 rows as they are written,
``X X'`` has no small eigenvalue, so sigma and lambda are told apart by little: the last columns say how wide the
interval of lambda is, and how far sigma and ``sigma / sqrt(lambda)``, the standard deviation of a coefficient, are
from the truth.
"""

import numpy as np
import pandas as pd
import report
from parallel import replicate

import pmlmm
from pmlmm.errors import ConvergenceError

INDIVIDUALS, REPEATS = 40, 7
TALK = {2: (0.17, 0.09), 500: (0.13, 1.57)}
METHODS = {"default": {}, "talk": {"approximation": "joint", "hyperprior": None}}
ESTIMATE = {"default": "mean", "talk": "mode"}


def one(p: int, variance: float, scaled: bool, method: str, seed: int) -> dict:
    """What is learned from one data set."""
    beta_sd = 1.0 / np.sqrt(p) if scaled else 1.0
    data, truth = pmlmm.simulate.longitudinal(
        [REPEATS] * INDIVIDUALS, q=2, covariates=p, beta_sd=beta_sd, nu=6.0, sigma=np.sqrt(variance), seed=seed
    )
    x = [f"x{j + 1}" for j in range(p)]
    priors = {"ind": pmlmm.InverseWishart(A="identity")} if method == "talk" else {}
    priors |= {"common": pmlmm.Ridge()} if p < 10 else {}
    formula = f"y ~ 0 + {' + '.join(x) if p < 10 else '0'} + (0 + z1 + z2 | ind)"
    block = None if p < 10 else {"x": data[x].to_numpy()}
    row = {"p": p, "variance": variance, "X beta": 1.0 if scaled else p, "method": method}
    row["true lambda"] = (truth.sigma / beta_sd) ** 2
    try:
        model = pmlmm.Model(
            formula, data.drop(columns=x) if block else data, priors, penalized=block, standardize=False
        )
        fit = model.fit(**METHODS[method])
    except ConvergenceError:
        return row | {"refused": 1}
    table = fit.hyperparameters
    name = "lambda[x]" if block else "lambda[common]"
    low, high = table.loc[name, ["lower", "upper"]].astype(float)
    sigma = float(getattr(fit, ESTIMATE[method])["sigma"])
    return row | {
        "refused": 0,
        "b": table.loc["b[ind]", "value"],
        "lambda": table.loc[name, "value"],
        "fold": np.nan_to_num(high / low, nan=np.inf),
        "sigma": sigma / truth.sigma,
        "sd": sigma / np.sqrt(table.loc[name, "value"]) / beta_sd,
    }


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians, beside the talk's."""
    found = []
    for (p, variance, size, method), part in rows.groupby(["p", "variance", "X beta", "method"], sort=False):
        found.append(
            {
                "p": f"{p}",
                "sigma^2": variance,
                "var X beta": f"{size:g}",
                "method": method,
                "b, talk": TALK.get(p, (np.nan, np.nan))[0],
                "b": part["b"].median(),
                "lambda, talk": TALK.get(p, (np.nan, np.nan))[1],
                "lambda": part["lambda"].median(),
                "true lambda": part["true lambda"].iloc[0],
                "interval of lambda, upper / lower": part["fold"].median(),
                "no interval": f"{np.isinf(part['fold']).sum()}",
                "sigma / true": part["sigma"].median(),
                "sd of beta / true": part["sd"].median(),
                "refused": f"{part['refused'].sum()}",
            }
        )
    return pd.DataFrame(found)


def main() -> None:
    """Run, print, write."""
    parser = report.parser(__doc__, 10)
    parser.add_argument("--small", action="store_true", help="two settings, the larger with 300 covariates")
    options = parser.parse_args()
    settings = [(p, v, s, m) for p in (2, 500) for v in (1.0, 0.1) for s in (False, True) for m in METHODS]
    if options.small:
        settings = [(2, 1.0, False, "default"), (300, 1.0, True, "default")]
    seeds = range(options.seed, options.seed + options.replicates)
    rows = replicate(one, [(*setting, seed) for setting in settings for seed in seeds], fresh=options.fresh)
    caption = (
        f"Medians of {options.replicates} data sets (seeds from {options.seed}); Sigma ~ IW(6) with mean I, Z standard "
        "normal, columns as they are. A lambda without an interval (flat, or at an end) counts as inf in the median of "
        "the intervals. refused: no mode, or sigma not identified."
    )
    report.save_table("talk_table_2", summarise(pd.DataFrame(rows)), options, caption)


if __name__ == "__main__":
    main()
