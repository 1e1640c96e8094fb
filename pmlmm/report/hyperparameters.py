"""The learned hyperparameters: values, intervals from the evidence's curvature, states in words."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pmlmm.errors import ConvergenceError
from pmlmm.inference.around_mode import profile_gradient
from pmlmm.inference.empirical_bayes import AT_BOUND
from pmlmm.inference.importance import ImportanceEvidence
from pmlmm.inference.learned import Learned
from pmlmm.kernels.threads import blas_threads
from pmlmm.posterior.source import Posterior
from pmlmm.priors.hyperparameters import Hyperparameter
from pmlmm.priors.search_space import Space

_Z95 = 1.959964
_STEP = 1e-3
# Nats that the evidence may lose on the way to a vanishing variance, and still count as flat.
_FLAT = 1.0
# Share of the curvature that comes from the hyperprior above which the state says so.
_MOSTLY_PRIOR = 0.8


@dataclass(frozen=True)
class Curvature:
    """Standard errors of phi (nan where the evidence is flat or at a bound), and the prior's share."""

    sd: np.ndarray
    prior_share: np.ndarray


def curvature(function: Callable, phi: np.ndarray, space: Space) -> Curvature:
    """Curvature of log evidence + log hyperprior by central differences of its gradient.

    Coordinates at a bound are held there; there is no curvature where the evidence has no value nearby.
    """
    k = len(phi)
    sd, share = np.full(k, np.nan), np.full(k, np.nan)
    free = np.flatnonzero([_at_bound(c, value) == "" for c, value in zip(space.coordinates, phi, strict=True)])
    if len(free) == 0:
        return Curvature(sd, share)
    hessian, prior = np.empty((len(free),) * 2), np.empty((len(free),) * 2)
    for row, j in enumerate(free):
        unit = np.zeros(k)
        unit[j] = _STEP
        try:
            upper, lower = function(phi + unit)[1], function(phi - unit)[1]
        except ConvergenceError:
            return Curvature(sd, share)
        hessian[row] = (upper - lower)[free] / (2 * _STEP)
        upper, lower = (space.log_prior(phi + sign * unit)[1] for sign in (1, -1))
        prior[row] = (upper - lower)[free] / (2 * _STEP)
    values, vectors = np.linalg.eigh(-(hessian + hessian.T) / 2)
    informed = values > 1e-3
    variance = np.sum(vectors[:, informed] ** 2 / values[informed], axis=1)
    loose = np.sum(vectors[:, ~informed] ** 2, axis=1) > 0.1
    sd[free] = np.where(loose, np.nan, np.sqrt(variance))
    share[free] = np.diag(-prior) / np.maximum(np.diag(-hessian), 1e-12)
    return Curvature(sd, share)


def table(posterior: Posterior) -> pd.DataFrame:
    """One row per hyperparameter: value, lower, upper (95%), state; see :attr:`pmlmm.Fit.hyperparameters`."""
    learned, integrated = posterior.learned, posterior.integrated
    with blas_threads(learned.dense), np.errstate(all="ignore"):
        curve, vanishing = curvature(_objective(posterior), learned.phi, learned.space), _vanishing(learned)
    frame = _table(learned.space, learned.phi, curve, posterior.design.n_rows)
    for name, words in vanishing.items():
        frame.loc[name, "state"] = words
    if integrated is None:
        return frame
    for c, ends in zip(learned.space.coordinates, integrated.quantiles([0.5, 0.025, 0.975]), strict=True):
        frame.loc[c.name, ["value", "lower", "upper"]] = c.shown(ends)
    return frame


def _objective(posterior: Posterior) -> Callable:
    """What the hyperparameters maximise, as a function of phi with its gradient; for words alone approximately."""
    learned = posterior.learned
    if posterior.integrated is not None or learned.sample is None:
        return profile_gradient(learned.mode, learned.space, learned.phi)
    return ImportanceEvidence(learned.sample, learned.space) if learned.refined else learned.evidence


def _vanishing(learned: Learned) -> dict[str, str]:
    """States of hyperparameters whose evidence loses less than a nat where the variance that they scale vanishes.

    Curvature cannot tell: the evidence is flat that way, but where the search stops the hyperprior curves it.
    """
    evidence, phi, found = learned.evidence, learned.phi, dict[str, str]()
    if evidence.costly or learned.space.hyperprior is None:
        return found
    here = evidence.mode(phi).log_evidence
    for j, c in enumerate(learned.space.coordinates):
        if c.vanishing is None or _at_bound(c, phi[j]):
            continue
        gone = phi.copy()
        gone[j], words = c.vanishing
        try:
            if evidence.mode(gone).log_evidence > here - _FLAT:
                found[c.name] = words
        except ConvergenceError:
            continue
    return found


def _table(space: Space, phi: np.ndarray, curve: Curvature, rows: int) -> pd.DataFrame:
    learned = {
        c.name: _row(c, value, sd, share, space.hyperprior is not None, rows)
        for c, value, sd, share in zip(space.coordinates, phi, curve.sd, curve.prior_share, strict=True)
    }
    theta = space.theta(phi)
    groups = zip(space.group_names, theta.log_lambda, space.absolute, strict=True)
    shown = {f"lambda[{name}]": float(np.exp(v)) for name, v, absolute in groups if not absolute}
    for family, density in zip(space.families, theta.covariances, strict=True):
        shown |= family.table(density)
    entries = {name: learned.get(name) or _fixed(value) for name, value in shown.items()}
    frame = pd.DataFrame.from_dict(entries, orient="index", columns=["value", "lower", "upper", "state"])
    numbers = dict.fromkeys(("value", "lower", "upper"), float)
    return frame.astype(numbers).rename_axis("hyperparameter")


def _fixed(value: float) -> dict:
    return {"value": value, "lower": np.nan, "upper": np.nan, "state": "fixed"}


def _row(c: Hyperparameter, value: float, sd: float, share: float, regularized: bool, rows: int) -> dict:
    ends = np.array([value, value - _Z95 * sd, value + _Z95 * sd])
    shown = c.shown(np.clip(ends, c.lower, c.upper))
    return {
        "value": float(shown[0]),
        "lower": float(shown[1]),
        "upper": float(shown[2]),
        "state": _state(c, value, sd, share, regularized, rows),
    }


def _at_bound(c: Hyperparameter, value: float) -> str:
    if value <= c.lower + AT_BOUND:
        return "lower"
    return "upper" if value >= c.upper - AT_BOUND else ""


def _state(c: Hyperparameter, value: float, sd: float, share: float, regularized: bool, rows: int) -> str:
    bound = _at_bound(c, value)
    if bound:
        return f"at its {bound} bound: {c.bound_words[bound == 'upper']}"
    if np.isnan(share):
        return "interior; no interval: the evidence cannot be evaluated around it"
    if np.isnan(sd):
        return c.flat_words(value, rows) or "flat: the data hardly inform it"
    words = "interior"
    if regularized and share >= 1.0:
        words = "interior by the hyperprior alone"
    elif regularized and share > _MOSTLY_PRIOR:
        words = f"interior, {share:.0%} of its curvature from the hyperprior"
    remark = c.remark(value)
    return f"{words}; {remark}" if remark else words
