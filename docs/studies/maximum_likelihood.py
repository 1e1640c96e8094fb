"""Maximum likelihood of a model with one grouping factor, converged also where Sigma is singular.

The comparator of the studies. lmer refuses some of their data and stops early on others; here the
profiled deviance is minimised over the factor L of ``Sigma / sigma^2 = L L'``, whose diagonal may cross zero, so a
singular Sigma is an interior point; gradients are exact; several starts. ``python maximum_likelihood.py`` compares the
result with lmer's, where R with lme4 is installed.
"""

import argparse
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from parallel import replicate
from scipy.optimize import minimize

import pmlmm
from pmlmm.errors import ConvergenceError

# Starts of the search; more, up to the second number, as long as all run to the edge (DEGENERATE).
STARTS, MOST_STARTS = 6, 60
# A standard deviation along some direction below this share of the largest: singular (the tolerance is lme4's).
SINGULAR = 1e-4
# Where all groups have fewer rows than effects the likelihood is unbounded: a singular Sigma whose range misses one
# combination of a group's rows gives it a density that grows without limit as sigma goes to 0. What is sought then is
# the best local maximum; a run to the edge (sigma^2 below this share of the variance of y) gives way to any of these.
DEGENERATE = 1e-4
LARGEST = 300.0
R_SCRIPT = """
arguments <- commandArgs(TRUE)
data <- read.csv(arguments[1])
suppressMessages(library(lme4))
control <- lmerControl(check.nobs.vs.nlev = "ignore", check.nobs.vs.rankZ = "ignore", check.nobs.vs.nRE = "ignore",
                       calc.derivs = FALSE, optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-8))
fit <- suppressWarnings(suppressMessages(lmer(as.formula(arguments[2]), data, REML = FALSE, control = control)))
Sigma <- as.matrix(VarCorr(fit)$ind)
cat(format(c(as.numeric(logLik(fit)), sigma(fit), length(fixef(fit)), fixef(fit), Sigma), digits = 15), sep = " ")
"""


@dataclass(frozen=True)
class Likelihood:
    """A maximum of the likelihood; Sigma is (q, q). ``degenerate``: none was found with a positive sigma."""

    beta: np.ndarray
    sigma: float
    Sigma: np.ndarray
    log_likelihood: float
    degenerate: bool = False

    @property
    def singular(self) -> bool:
        return is_singular(self.Sigma)


def is_singular(Sigma: np.ndarray) -> bool:
    """Whether some direction has hardly any variance."""
    return smallest_to_largest_sd(Sigma) < SINGULAR


def smallest_to_largest_sd(Sigma: np.ndarray) -> float:
    """Standard deviation along the direction where it is smallest, over that where it is largest."""
    eigenvalues = np.linalg.eigvalsh(Sigma)
    return float(np.sqrt(max(eigenvalues[0], 0.0) / eigenvalues[-1]))


def maximum_likelihood(X: np.ndarray, Z: np.ndarray, y: np.ndarray, group: np.ndarray) -> Likelihood:
    """The best of several local maxima.

    Parameters
    ----------
    X : (n, p) array
    Z : (n, q) array
        Random-effect columns.
    y : (n,) array
    group : (n,) array of int
        From 0.
    """
    q, m, n = Z.shape[1], int(group.max()) + 1, len(y)
    W = np.column_stack([X, y])
    S, c = np.zeros((m, q, q)), np.zeros((m, q, W.shape[1]))
    np.add.at(S, group, Z[:, :, None] * Z[:, None, :])
    np.add.at(c, group, Z[:, :, None] * W[:, None, :])
    lower = np.tril_indices(q)
    scale = np.sqrt(np.mean(Z**2, axis=0))

    def at(x: np.ndarray):
        """Relative factor, deviance but for constants, its gradient, and beta."""
        L = np.zeros((q, q))
        L[lower] = x
        L /= scale[:, None]
        M = np.eye(q) + L.T @ S @ L
        J = L @ np.linalg.solve(M, np.broadcast_to(L.T, S.shape))
        D = c - S @ J @ c
        Q = W.T @ W - np.einsum("iar,iab,ibs->rs", c, J, c)
        a = np.linalg.solve(Q[:-1, :-1], Q[:-1, -1]) if X.shape[1] else np.zeros(0)
        rss = Q[-1, -1] - Q[-1, :-1] @ a
        e = D[:, :, -1] - D[:, :, :-1] @ a
        deviance = np.linalg.slogdet(M)[1].sum() + n * np.log(rss / n)
        slope = (S - S @ J @ S).sum(axis=0) - n / rss * e.T @ e
        return L, deviance, (2.0 * slope @ L / scale[:, None])[lower], a, rss / n

    rng, best = np.random.default_rng(0), None
    for start in range(MOST_STARTS):
        if start >= STARTS and best is not None and not best.degenerate:
            break
        x0 = (np.eye(q) * (0.3, 1.0, 3.0)[start % 3] + (start > 2) * rng.normal(0.0, 0.5, (q, q)))[lower]
        found = minimize(
            lambda x: at(x)[1:3],
            x0,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-LARGEST, LARGEST)] * len(x0),
            options={"maxiter": 5000, "ftol": 1e-14, "gtol": 1e-7},
        )
        if not np.isfinite(found.fun):
            continue
        found.degenerate = not at(found.x)[4] > DEGENERATE * np.var(y)
        if best is None or (found.degenerate, found.fun) < (best.degenerate, best.fun):
            best = found
    if best is None:
        raise ConvergenceError("No start of the likelihood's search ends at a finite value.")
    L, deviance, _, beta, variance = at(best.x)
    log_likelihood = -0.5 * (deviance + n * (1.0 + np.log(2.0 * np.pi)))
    return Likelihood(beta, float(np.sqrt(variance)), variance * L @ L.T, float(log_likelihood), best.degenerate)


def lmer(data: pd.DataFrame, formula: str) -> Likelihood | str:
    """The same by lmer with its checks off and tight tolerances, or what R says instead."""
    with tempfile.TemporaryDirectory() as folder:
        table, script = Path(folder) / "data.csv", Path(folder) / "fit.R"
        data.to_csv(table, index=False, float_format="%.17g")
        script.write_text(R_SCRIPT)
        command = ["Rscript", str(script), str(table), formula]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    log_likelihood, sigma, p, *rest = (float(x) for x in done.stdout.split())
    beta, Sigma = np.array(rest[: int(p)]), np.array(rest[int(p) :])
    q = int(np.sqrt(len(Sigma)))
    return Likelihood(beta, sigma, Sigma.reshape(q, q), log_likelihood)


def compare(effects: str, repeats: int, seed: int) -> dict:
    """Log-likelihoods of one data set of the talk's first table."""
    data, truth = pmlmm.simulate.longitudinal([repeats] * 40, effects=effects, seed=seed)
    ours, theirs = of(data), lmer(data, truth.formula)
    if isinstance(theirs, str):
        raise RuntimeError(theirs)
    gain = ours.log_likelihood - theirs.log_likelihood
    return {
        "effects": effects,
        "repeats": repeats,
        "gain": gain,
        "singular": ours.singular,
        "lmer": theirs.singular,
        "degenerate": ours.degenerate,
    }


def of(data: pd.DataFrame) -> Likelihood:
    """Of data from ``pmlmm.simulate``."""
    X, Z = matrices(data)
    return maximum_likelihood(X, Z, data["y"].to_numpy(), data["ind"].to_numpy())


def matrices(data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """X and Z of data from ``pmlmm.simulate``; X is the covariates or, without any, Z: curves with a common part."""
    X, Z = data.filter(regex="^x").to_numpy(), data.filter(regex="^z").to_numpy()
    if "t" in data:
        Z = np.column_stack([np.ones(len(data)), data.filter(regex="^t")])
    return (X if X.shape[1] else Z), Z


def conditional_means(data: pd.DataFrame, estimate: Likelihood) -> np.ndarray:
    """E[gamma | y] at the estimate, (individuals, q)."""
    X, Z = matrices(data)
    residual, group = data["y"].to_numpy() - X @ estimate.beta, data["ind"].to_numpy()
    found = []
    for i in range(group.max() + 1):
        own = Z[group == i]
        V = own @ estimate.Sigma @ own.T + estimate.sigma**2 * np.eye(len(own))
        found.append(estimate.Sigma @ own.T @ np.linalg.solve(V, residual[group == i]))
    return np.array(found)


def main() -> None:
    """Print how far the two are apart, by setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    if shutil.which("Rscript") is None:
        parser.exit(1, "This comparison needs R with lme4.\n")
    settings = [(effects, repeats) for effects in ("gaussian", "polynomial") for repeats in (2, 3, 5, 8)]
    tasks = [(*setting, seed) for setting in settings for seed in range(options.seeds)]
    table = pd.DataFrame(replicate(compare, tasks)).groupby(["effects", "repeats"], sort=False)
    print(f"log-likelihood, ours minus lmer's (nats), {options.seeds} data sets a row")
    print(
        table["gain"]
        .describe()[["min", "50%", "max"]]
        .join(table[["singular", "lmer", "degenerate"]].mean())
        .round(5)
        .to_string()
    )


if __name__ == "__main__":
    main()
