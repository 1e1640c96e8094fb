"""NUTS on the tuned model against Bambi with nutpie, and integration over the hyperparameters.

sleepstudy, 4 chains of 1,000 draws. Bambi's model has its own priors and no correlation of the random effects
(it fits none). Effective draws are the smallest, bulk or tail, of sigma, the fixed effects and the random
effects' variances (Bambi: sds). Every time is that of a second call in the process: Bambi's includes its
compilation, as it compiles again for every model; sampling alone is shown too. Also 280 rows x 500
covariates, where the raw graph does not converge.
"""

import argparse
import time

import arviz as az
import numpy as np

import pmlmm
from tests.problems import COVARIATES, many_covariates

FORMULA = "Reaction ~ Days + (Days | Subject)"


def smallest_ess(posterior, names: list[str]) -> float:
    """Smallest effective number of draws of the named variables."""
    found = [float(az.ess(posterior[names], method=method).to_array().min()) for method in ("bulk", "tail")]
    return min(found)


def timed(function):
    """Seconds and result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def ours(data) -> tuple[float, float]:
    """Seconds and smallest effective number of draws."""
    fit = pmlmm.Model(FORMULA, data).fit()
    fit.sample(50, tune=50, progress=False)
    seconds, tree = timed(lambda: fit.sample(1000, progress=False))
    posterior = tree["posterior"].to_dataset()
    Sigma = posterior["Sigma_Subject"].to_numpy()
    posterior["variances"] = ("chain", "draw", "effect"), np.diagonal(Sigma, axis1=2, axis2=3).copy()
    return seconds, smallest_ess(posterior, ["sigma", "beta", "variances"])


def bambi(data) -> tuple[float, float, float] | None:
    """Seconds with and without compilation, and smallest effective number of draws."""
    try:
        import bambi as bmb
    except ImportError:
        return None

    def run():
        model = bmb.Model(FORMULA, data)
        return model.fit(draws=1000, tune=1000, chains=4, inference_method="nutpie", random_seed=1, progressbar=False)

    run()  # fill the compile cache
    seconds, tree = timed(run)
    sampling = float(tree["posterior"].attrs.get("sampling_time", np.nan))
    posterior = tree["posterior"].to_dataset()
    names = [n for n in posterior if n in ("sigma", "Intercept", "Days") or str(n).endswith("_sigma")]
    return seconds, sampling, smallest_ess(posterior, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    data = pmlmm.datasets.load("sleepstudy")
    seconds, ess = ours(data)
    rate = ess / seconds
    print(f"sleepstudy, collapsed NUTS      {seconds:6.2f} s, smallest ESS {ess:6.0f}, {rate:7.0f} a s", flush=True)
    if (peer := bambi(data)) is not None:
        theirs, sampling, their_ess = peer
        their_rate = their_ess / theirs
        print(f"sleepstudy, Bambi + nutpie      {theirs:6.2f} s, smallest ESS {their_ess:6.0f}, {their_rate:7.0f} a s")
        print(f"    ratio of effective draws a s {rate / their_rate:.1f}; Bambi's sampling alone {sampling:.2f} s")
    fit = pmlmm.Model(FORMULA, data).fit()
    fit.integrate()
    print(f"sleepstudy, integrate()         {timed(fit.integrate)[0]:6.2f} s", flush=True)
    seconds, tree = timed(lambda: fit.sample(1000, hyperparameters=True, progress=False))
    print(
        f"sleepstudy, NUTS over hyperparameters too {seconds:6.2f} s, R-hat {float(az.rhat(tree)['sigma']):.3f}",
        flush=True,
    )
    data, X = many_covariates(500)
    fit = pmlmm.Model(COVARIATES, data, penalized={"x": X}).fit()
    seconds, tree = timed(lambda: fit.sample(1000, progress=False))
    r_hat = float(az.rhat(tree["posterior"].to_dataset()[["sigma", "beta", "beta_x"]]).to_array().max())
    print(f"280 x 500, collapsed NUTS       {seconds:6.2f} s, largest R-hat {r_hat:.4f} (with all 500 coefficients)")
    print(f"280 x 500, integrate()          {timed(fit.integrate)[0]:6.2f} s")


if __name__ == "__main__":
    main()
