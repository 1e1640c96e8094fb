"""Theta integrated out: nodes in the space of the hyperparameters, a corrected Laplace approximation at each.

    p(psi | y) = int p(psi | y, phi) p(phi | y) dphi,    p(phi | y) ~ p(y | phi) p(phi)

The nodes phi_j are quasi-random draws from a split Student-t: first around the maximum of p(phi | y), its
widths on either side of every axis measured there (as Rue, Martino and Chopin 2009, JRSS B 71, section 6.5
have it), then from one fitted to these nodes and their weights. At each node psi = (sigma, Sigma) is drawn
from a Student-t around its mode. The joint weight

    p(y, psi | phi) p(phi) / [g(phi) q(psi | phi)]

corrects both, so the result is exact up to Monte Carlo error, which the weights themselves show.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp
from scipy.stats import chi2, norm, qmc

from pmlmm.errors import ConvergenceError, OptionError
from pmlmm.inference.conditional import Conditional, conditional
from pmlmm.inference.importance import base_draws, smooth
from pmlmm.inference.learned import Learned
from pmlmm.kernels import coordinates
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.priors.search_space import Space

LogDensity = Callable[[np.ndarray], float]

# Nodes, and draws at each; fewer where an evaluation takes longer than this (seconds).
_NODES, _DRAWS = 256, 16
_FEW_NODES, _FEW_DRAWS, _SLOW = 128, 8, 2e-4
_NU = 5.0
# Step (search scale) of second differences of the log-density of phi, which is known to 1e-5 or so.
_STEP = 0.1
# Widths are measured where the log-density should have fallen by this, within factors of the curvature's.
_DROP, _NARROWEST, _WIDEST = 2.0, 0.5, 3.0
# A direction in which the density is flatter than this (nats per unit squared) is held to be so curved.
_LEAST_CURVATURE = 0.02
_ASCENT_STEPS, _ENOUGH, _LONGEST = 10, 0.05, 1.5


@dataclass(frozen=True)
class Centre:
    """Maximum of log p(phi | y), the axes there (columns), and widths below and above along each."""

    phi: np.ndarray
    axes: np.ndarray
    below: np.ndarray
    above: np.ndarray


@dataclass(frozen=True)
class Integrated:
    """Weighted draws of (phi, sigma, Sigma).

    Attributes
    ----------
    phi : (nodes, k) array
    node_weights : (nodes,) array
        Posterior weights of the nodes; they sum to 1.
    node : (draws,) int array
        Node of each draw.
    natural : (draws, d) array
    weights : (draws,) array
        Of the draws; they sum to 1.
    log_evidence, error : float
        log of ``int p(y | phi) p(phi) dphi`` with its Monte Carlo standard error (nats).
    k_hat : float
        Pareto shape of the weights, the worse of nodes and draws.
    effective : float
        Effective number of nodes.
    lost : int
        Nodes without a proper mode, which count as of no weight.
    """

    phi: np.ndarray
    node_weights: np.ndarray
    node: np.ndarray
    natural: np.ndarray
    weights: np.ndarray
    log_evidence: float
    error: float
    k_hat: float
    effective: float
    lost: int

    @property
    def lost_share(self) -> float:
        """Share of the nodes that had no proper mode."""
        return self.lost / (self.lost + len(self.phi))


def integrate_out(learned: Learned, nodes: int | None, draws: int | None, random_seed: int) -> Integrated:
    """Integrate the hyperparameters of a model out around their learned values.

    Raises
    ------
    OptionError
        There is no hyperprior, or an option is out of its range.
    ConvergenceError
        As of :func:`integrate`.
    """
    if learned.space.hyperprior is None:
        raise OptionError(
            "integrate() needs a proper hyperprior, and this fit has none (hyperprior=None). Fit with the default, or "
            "with a pmlmm.Hyperprior of your own."
        )
    for name, value, least in (("nodes", nodes, 64), ("draws", draws, 1)):
        if value is not None and not (isinstance(value, int | np.integer) and value >= least):
            raise OptionError(f"integrate({name}={value!r}): an integer of at least {least}.")
    each = learned.problem.design.numbers_each(gamma=None, wide=None)
    refuse_draws((nodes or 1) * (draws or 1), each, f"integrate(nodes={nodes}, draws={draws})")
    slow = learned.data.seconds() > _SLOW
    nodes = nodes or (_FEW_NODES if slow else _NODES)
    draws = draws or (_FEW_DRAWS if slow else _DRAWS)
    with blas_threads(learned.dense):
        return integrate(conditional(learned), learned.space, learned.phi, nodes, draws, random_seed)


def integrate(
    given: Conditional, space: Space, phi: np.ndarray, nodes: int, draws: int, random_seed: int
) -> Integrated:
    """Integrate the hyperparameters out; see the module.

    Parameters
    ----------
    given : Conditional
        The law of (sigma, Sigma) at every phi.
    space : Space
        With a hyperprior.
    phi : (k,) array
        Where the hyperparameters were learned.
    nodes, draws : int
        Number of nodes, and of draws at each.
    random_seed : int

    Raises
    ------
    ConvergenceError
        Hardly a node has a proper mode.
    """

    def log_density(point: np.ndarray) -> float:
        try:
            return given.at(point, exact=True).log_evidence + space.log_prior(point)[0]
        except (ConvergenceError, np.linalg.LinAlgError):
            return -np.inf

    if not len(phi):
        return _visit(given, space, np.empty((nodes, 0)), np.zeros(nodes), draws, random_seed)
    centre = find_centre(log_density, phi)
    pilot = _visit(given, space, *draw_nodes(centre, nodes // 2, random_seed), draws, random_seed)
    adapted = adapt(pilot.phi, pilot.node_weights)
    return _visit(given, space, *draw_nodes(adapted, nodes, random_seed + 1), draws, random_seed + 1)


def _visit(
    given: Conditional, space: Space, points: np.ndarray, log_g: np.ndarray, draws: int, seed: int
) -> Integrated:
    """Draw at every node, and weigh."""
    nodes = len(points)
    base = base_draws(nodes * draws, given.size, np.random.default_rng([seed, 3]))
    kept, thetas, log_weights = [], [], []
    for j, point in enumerate(points):
        try:
            node = given.at(point)
        except (ConvergenceError, np.linalg.LinAlgError):
            continue
        x, own = node.draw(base.part(j * draws, draws), given.corrected)
        kept.append(j)
        thetas.append(coordinates.natural_draws(x, given.sizes)[0])
        log_weights.append(own + space.log_prior(point)[0] - log_g[j])
    if len(kept) < nodes / 2:
        raise ConvergenceError(
            f"Only {len(kept)} of {nodes} settings of the hyperparameters have a proper mode: they cannot be "
            "integrated out this way. Use fit.sample(hyperparameters=True), or a tighter Hyperprior."
        )
    theta = np.concatenate(thetas)
    good = np.isfinite(theta).all(axis=1)
    return _combine(points[kept], theta, np.stack(log_weights), nodes, given.corrected, good)


def adapt(phi: np.ndarray, weights: np.ndarray) -> Centre:
    """Centre at the mean, axes of the covariance, and on either side of each the root mean square distance.

    Weights are tempered so that a few heavy nodes do not decide alone.
    """
    tempered = np.cbrt(weights) if 1.0 / np.sum(weights**2) < 4.0 * phi.shape[1] else weights
    tempered = tempered / tempered.sum()
    mean = tempered @ phi
    deviations = phi - mean
    _, axes = np.linalg.eigh((deviations.T * tempered) @ deviations)
    along = deviations @ axes
    below, above = (
        np.sqrt(tempered @ np.where(sign * along > 0, along, 0.0) ** 2 / np.maximum(tempered @ (sign * along > 0), 0.1))
        for sign in (-1.0, 1.0)
    )
    overall = np.sqrt(tempered @ along**2)
    return Centre(mean, axes, *(np.clip(w, overall / 2.0, 2.0 * overall) for w in (below, above)))


def find_centre(log_density: LogDensity, phi: np.ndarray) -> Centre:
    """Climb from phi by Newton's method on differences, then measure the widths."""
    value = log_density(phi)
    for _ in range(_ASCENT_STEPS):
        gradient, hessian = _differences(log_density, phi, value)
        values, axes = np.linalg.eigh(-hessian)
        slopes = axes.T @ gradient
        move = slopes / np.maximum(np.abs(values), _LEAST_CURVATURE)
        if 0.5 * float(slopes @ move) < _ENOUGH:
            break
        move = axes @ move * min(1.0, _LONGEST / np.max(np.abs(move)))
        while (trial := log_density(phi + move)) <= value and np.max(np.abs(move)) > _STEP:
            move = move / 2.0
        if trial <= value:
            break
        phi, value = phi + move, trial
    sds = 1.0 / np.sqrt(np.maximum(values, _LEAST_CURVATURE))
    below, above = (
        np.array([_width(log_density, phi, value, sign * axis, sd) for axis, sd in zip(axes.T, sds, strict=True)])
        for sign in (-1.0, 1.0)
    )
    return Centre(phi, axes, below, above)


def _differences(log_density: LogDensity, phi: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian by central differences of values; zero where a neighbour has no density."""
    k, units = len(phi), np.eye(len(phi)) * _STEP
    up, down = (np.array([log_density(phi + sign * unit) for unit in units]) for sign in (1.0, -1.0))
    gradient, hessian = (up - down) / (2.0 * _STEP), np.diag((up + down - 2.0 * value) / _STEP**2)
    for a in range(k):
        for b in range(a):
            corner = log_density(phi + units[a] + units[b]) + log_density(phi - units[a] - units[b])
            mixed = corner - up[a] - down[a] - up[b] - down[b] + 2.0 * value
            hessian[a, b] = hessian[b, a] = mixed / (2.0 * _STEP**2)
    known = np.isfinite(gradient) & np.isfinite(hessian).all(axis=0)
    return np.where(known, gradient, 0.0), np.where(np.outer(known, known), hessian, 0.0)


def _width(log_density: LogDensity, phi: np.ndarray, value: float, axis: np.ndarray, sd: float) -> float:
    """Standard deviation of the normal that falls as far along the axis as the density does."""
    drop = value - log_density(phi + np.sqrt(2.0 * _DROP) * sd * axis)
    return sd * float(np.clip(np.sqrt(_DROP / max(drop, 1e-3)), _NARROWEST, _WIDEST))


def draw_nodes(centre: Centre, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Quasi-random split Student-t draws (number, k) and their log-density."""
    k = len(centre.phi)
    exponent = int(np.ceil(np.log2(number)))
    uniform = qmc.Sobol(k + 1, rng=np.random.default_rng(seed)).random_base2(exponent)[:number]
    uniform = np.clip(uniform, 1e-10, 1.0 - 1e-10)
    # as many draws on either side as it is wide, so that both halves meet at the centre
    share = centre.below / (centre.below + centre.above)
    side = uniform[:, :k]
    side = np.where(side < share, 0.5 * side / share, 0.5 + 0.5 * (side - share) / (1.0 - share))
    z = norm.ppf(side) * np.sqrt(_NU / chi2.ppf(uniform[:, k:], _NU))
    log_density = gammaln((_NU + k) / 2) - gammaln(_NU / 2) - k / 2 * np.log(_NU * np.pi)
    log_density = log_density - (_NU + k) / 2 * np.log1p(np.sum(z**2, axis=1) / _NU)
    log_density = log_density - np.sum(np.log((centre.below + centre.above) / 2.0))
    return centre.phi + (z * np.where(z < 0, centre.below, centre.above)) @ centre.axes.T, log_density


def _combine(
    phi: np.ndarray, theta: np.ndarray, log_weights: np.ndarray, number: int, corrected: bool, good: np.ndarray
) -> Integrated:
    """Smoothed weights of all draws (nodes, draws), and what they say of the evidence; ``good`` draws are kept."""
    nodes, per_node = log_weights.shape
    of_nodes = logsumexp(log_weights, axis=1) - np.log(per_node)
    smoothed, node_k, _ = smooth(of_nodes)
    if corrected:
        weights, k_hat, _ = smooth(log_weights.ravel())
    else:
        weights, k_hat = np.repeat(smoothed / per_node, per_node), -np.inf
    node_weights = weights.reshape(nodes, per_node).sum(axis=1)
    raw = np.exp(of_nodes - logsumexp(of_nodes))
    return Integrated(
        phi,
        node_weights,
        np.repeat(np.arange(nodes), per_node)[good],
        theta[good],
        weights[good] / np.sum(weights[good]),
        float(logsumexp(of_nodes) - np.log(number)),
        float(np.sqrt(max(np.sum(raw**2) - 1.0 / number, 0.0))),
        max(node_k, k_hat),
        float(1.0 / np.sum(node_weights**2)),
        number - nodes,
    )
