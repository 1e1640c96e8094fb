"""The learned hyperparameters: values, intervals from the evidence's curvature, states in words."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.errors import ConvergenceError
from pmlmm.inference.empirical_bayes import AT_BOUND
from pmlmm.inference.importance import ImportanceEvidence
from pmlmm.inference.laplace import Mode
from pmlmm.inference.learned import Learned
from pmlmm.kernels.threads import blas_threads
from pmlmm.posterior.source import Posterior
from pmlmm.priors.prior_set import PriorSet
from pmlmm.priors.search_space import Coordinate, Space
from pmlmm.priors.stated import Flat, Hyperprior, b_from_eta

_Z95 = 1.959964
_STEP = 1e-3
# Share of the curvature that comes from the hyperprior above which the state says so.
_MOSTLY_PRIOR = 0.8
# A wide block whose prior variance is a smaller share of the residual variance says next to nothing.
_NEGLIGIBLE = 0.1
_NEAR_BOUND = np.log(20.0)
# A variance component of less than a hundredth of the residual variance: 1e4 times its lower bound.
_NEAR_ZERO = np.log(1e4)


@dataclass(frozen=True)
class Curvature:
    """Standard errors of phi (nan where the evidence is flat or at a bound), and the prior's share."""

    sd: np.ndarray
    prior_share: np.ndarray


def profile_gradient(mode: Mode, space: Space, phi: np.ndarray) -> Callable:
    """Gradient in phi of ``max_psi log p(y, psi | phi)`` + hyperprior, to first order around a mode.

    Its curvature is that of the Laplace evidence but for the change of log|H|, a fraction d / m of it;
    no pass over the groups is needed.
    """
    hessian, d = mode.at.hessian, len(mode.x)
    across = hessian[d:, :d] @ np.linalg.solve(hessian[:d, :d], hessian[:d, d:])
    centre = space.theta(phi).packed

    def function(point: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = mode.at.gradient[d:] + (hessian[d:, d:] - across) @ (space.theta(point).packed - centre)
        return np.nan, gradient @ space.pack_jacobian(point) + space.log_hyperprior(point)[1]

    return function


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
        upper, lower = (space.log_hyperprior(phi + sign * unit)[1] for sign in (1, -1))
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
        curve = curvature(_objective(learned), learned.phi, learned.space)
    frame = _table(learned.space, learned.phi, curve, posterior.design, learned.problem.priors)
    if integrated is None:
        return frame
    for c, phi in zip(learned.space.coordinates, integrated.phi.T, strict=True):
        ends = np.quantile(phi, [0.5, 0.025, 0.975], weights=integrated.node_weights, method="inverted_cdf")
        frame.loc[c.name, ["value", "lower", "upper"]] = on_user_scale(c, ends, learned.space, posterior.design)
    return frame


def _objective(learned: Learned) -> Callable:
    """What the hyperparameters maximise, as a function of phi with its gradient."""
    if learned.sample is None:
        return profile_gradient(learned.mode, learned.space, learned.phi)
    return ImportanceEvidence(learned.sample, learned.space) if learned.refined else learned.evidence


def _table(space: Space, phi: np.ndarray, curve: Curvature, design: Design, priors: PriorSet) -> pd.DataFrame:
    learned = {
        c.name: _row(c, value, sd, share, space, design)
        for c, value, sd, share in zip(space.coordinates, phi, curve.sd, curve.prior_share, strict=True)
    }
    theta = space.theta(phi)
    rows: dict[str, dict] = {}
    for index, group in enumerate(priors.penalty_groups):
        name = f"lambda[{group.name}]"
        rows[name] = learned.get(name) or _fixed(float(np.exp(theta.log_lambda[index])))
    for index, (term, prior) in enumerate(zip(design.terms, priors.covariances, strict=True)):
        if isinstance(prior, Flat):
            continue
        hyper, name = theta.covariances[index], f"b[{term.name}]"
        rows[name] = learned.get(name) or _fixed(hyper.b(space.levels[index]))
        own = [c.name for c in space.coordinates if c.index == index and c.kind in ("A", "rho")]
        rows.update({name: learned[name] for name in own})
        if not isinstance(prior.A, str):
            fixed = zip(term.coefficients, np.diag(hyper.A), strict=True)
            rows.update({f"A[{term.name}][{name}]": _fixed(float(value)) for name, value in fixed})
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "lower", "upper", "state"])
    numbers = dict.fromkeys(("value", "lower", "upper"), float)
    return frame.astype(numbers).rename_axis("hyperparameter")


def _fixed(value: float) -> dict:
    return {"value": value, "lower": np.nan, "upper": np.nan, "state": "fixed"}


def _row(c: Coordinate, value: float, sd: float, share: float, space: Space, design: Design) -> dict:
    ends = np.array([value, value - _Z95 * sd, value + _Z95 * sd])
    shown = on_user_scale(c, np.clip(ends, c.lower, c.upper), space, design)
    return {
        "value": float(shown[0]),
        "lower": float(shown[1]),
        "upper": float(shown[2]),
        "state": _state(c, value, sd, share, space, design),
    }


def on_user_scale(c: Coordinate, values: np.ndarray, space: Space, design: Design) -> np.ndarray:
    """lambda, b, A or rho from the search scale."""
    shown = np.tanh(values) if c.kind == "rho" else np.exp(values)
    if c.kind != "eta":
        return shown
    q = design.terms[c.index].q
    return np.array([b_from_eta(x + q - 1.0, space.levels[c.index], q) for x in shown])


def _at_bound(c: Coordinate, value: float) -> str:
    if value <= c.lower + AT_BOUND:
        return "lower"
    return "upper" if value >= c.upper - AT_BOUND else ""


def _state(c: Coordinate, value: float, sd: float, share: float, space: Space, design: Design) -> str:
    bound = _at_bound(c, value)
    if bound:
        return f"at its {bound} bound: {_BOUND_WORDS[c.kind, bound].format(term=_term_name(c, design))}"
    if np.isnan(share):
        return "interior; no interval: the evidence cannot be evaluated around it"
    if np.isnan(sd):
        return _flat_words(c, value, design)
    words = "interior"
    if isinstance(space.hyperprior, Hyperprior) and share >= 1.0:
        words = "interior by the hyperprior alone"
    elif isinstance(space.hyperprior, Hyperprior) and share > _MOSTLY_PRIOR:
        words = f"interior, {share:.0%} of its curvature from the hyperprior"
    size = space.group_sizes[c.index] if c.kind == "lambda" else 1
    if size > 1 and size * space.group_units[c.index] < _NEGLIGIBLE * np.exp(value):
        words += "; together these coefficients carry less than a tenth of the residual variance"
    return words


def _flat_words(c: Coordinate, value: float, design: Design) -> str:
    """What a flat evidence means where the search came to rest."""
    if c.kind == "eta" and c.upper - value < _NEAR_BOUND:
        return f"flat towards its upper bound: Sigma of {_term_name(c, design)} hardly leaves its prior target A"
    if c.kind == "lambda" and value > np.log(10.0 * design.n_rows):
        return "flat towards large values: these coefficients are indistinguishable from zero"
    if c.kind == "lambda" and value < np.log(1e-3 * design.n_rows):
        return "flat towards small values: the data ask for no shrinkage of these coefficients"
    if c.kind == "A" and value - c.lower < _NEAR_ZERO:
        return f"flat towards zero: the groups of {_term_name(c, design)} hardly differ in this effect"
    return "flat: the data hardly inform it"


def _term_name(c: Coordinate, design: Design) -> str:
    return "" if c.kind == "lambda" else design.terms[c.index].name


_BOUND_WORDS = {
    ("lambda", "lower"): "the data ask for no shrinkage of these coefficients",
    ("lambda", "upper"): "these coefficients are indistinguishable from zero",
    ("eta", "lower"): "the data ask for no shrinkage of Sigma of {term}",
    ("eta", "upper"): "Sigma of {term} sits on its prior target A, where the evidence is highest",
    ("rho", "lower"): "neighbouring effects of {term} are opposed without exception",
    ("rho", "upper"): "neighbouring effects of {term} move as one",
    ("A", "lower"): "the groups of {term} hardly differ in this effect",
    ("A", "upper"): "the groups of {term} differ more than the scale of y allows; check units",
}
