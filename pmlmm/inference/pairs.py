"""What draws of (sigma, Sigma, lambda) and nodes of the other hyperparameters weigh, pair by pair."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from pmlmm.inference.importance import DrawnCovariances, smooth
from pmlmm.inference.learned import Learned
from pmlmm.kernels import likelihood, likelihood_at_draws

# Values of each lambda, about one for every factor of e, between which the log-likelihood is interpolated.
_KNOTS = 33


class Drawn(NamedTuple):
    """Draws s: (sigma, Sigma) in ``covariances``, and the learned log lambdas (draws, l).

    ``log_constant`` is log[p(y | s) p(sigma) p(lambda)] with the Jacobian: all but the covariances' priors.
    """

    lambdas: np.ndarray
    covariances: DrawnCovariances
    log_constant: np.ndarray


class Weighed(NamedTuple):
    """Weights of draws (draws,) and nodes (nodes,), each with sum 1, and probabilities of nodes given each draw."""

    draws: np.ndarray
    nodes: np.ndarray
    given: np.ndarray
    log_evidence: float
    k_hat: float

    @property
    def effective(self) -> float:
        """Effective number of draws."""
        return float(1.0 / np.sum(self.draws**2))


@dataclass(frozen=True, eq=False)
class Pairs:
    """The model as a density of s and nodes."""

    learned: Learned

    @property
    def lambdas(self) -> int:
        """Number of learned lambdas, l."""
        return len(self.learned.space.learned_groups)

    @property
    def size(self) -> int:
        """Number of unconstrained coordinates, d."""
        return len(self.learned.proposal.x)

    def at(self, points: np.ndarray) -> Drawn:
        """What does not depend on the nodes, at s (draws, d + l)."""
        learned, lambdas = self.learned, points[:, self.size :]
        mode, prior = learned.proposal, learned.problem.priors.sigma
        drawn = DrawnCovariances.at(points[:, : self.size], mode, learned.data.sizes, prior)
        if learned.weighable:
            log_constant = likelihood_at_draws.values(drawn.natural, self.log_lambda(lambdas), learned.data)
            log_constant += drawn.log_constant
        else:
            log_constant = self._expanded(drawn, points)
        return Drawn(lambdas, drawn, log_constant + learned.space.log_prior_of_lambda(lambdas))

    def log_lambda(self, learned: np.ndarray) -> np.ndarray:
        """log lambda of all penalty groups: (draws, G), or (G,) where none is learned."""
        every = np.array(self.learned.space.fixed.log_lambda, dtype=float)
        if not self.lambdas:
            return every
        every = np.tile(every, (len(learned), 1))
        every[:, self.learned.space.learned_groups] = learned
        return every

    def _expanded(self, drawn: DrawnCovariances, points: np.ndarray) -> np.ndarray:
        """The same where the likelihood of every draw would take too long: to second order around the mode.

        Along each lambda by itself, where a few coefficients make it far from quadratic, it is exact.
        """
        learned, mode = self.learned, self.learned.proposal
        where = np.concatenate([np.arange(self.size), self.size + learned.space.learned_groups]).astype(int)
        steps, hessian = points - np.concatenate([mode.x, learned.phi[: self.lambdas]]), mode.at.hessian
        curved = hessian[np.ix_(where, where)].copy()
        own = np.arange(self.size, len(where))
        curved[own, own] = 0.0
        total = mode.at.value + steps[:, : self.size] @ mode.at.gradient[: self.size]
        total = total + 0.5 * np.einsum("si,ij,sj->s", steps, curved, steps, optimize=True)
        for curve, values in zip(self._along_lambda, points[:, self.size :].T, strict=True):
            total += curve(np.clip(values, curve.x[0], curve.x[-1]))
        covariances = drawn.precisions, drawn.log_dets
        for density, precision, log_det in zip(learned.theta.covariances, *covariances, strict=True):
            total = total - density.log_densities(precision, log_det)
        return np.where(np.isfinite(drawn.log_constant), total, -np.inf)

    @cached_property
    def _along_lambda(self) -> list[CubicSpline]:
        """How the log-likelihood at the mode changes with each learned lambda."""
        learned, natural = self.learned, self.learned.proposal.natural
        centre, curves = np.concatenate([natural, learned.theta.log_lambda]), []
        for position, c in zip(learned.space.learned_groups, learned.space.coordinates, strict=False):
            knots = np.linspace(c.lower, c.upper, _KNOTS)
            at = np.tile(centre, (_KNOTS, 1))
            at[:, self.size + position] = knots
            values = [likelihood.evaluate(u, learned.data, profile=False, order=0).value for u in (*at, centre)]
            curves.append(CubicSpline(knots, np.array(values[:-1]) - values[-1]))
        return curves

    def weigh(
        self, drawn: Drawn, log_proposal: np.ndarray, nodes: np.ndarray, log_node_proposal: np.ndarray
    ) -> Weighed:
        """Weights of all pairs, given the log-densities that draws (draws,) and nodes (nodes,) come from."""
        space = self.learned.space
        of_nodes = space.log_prior_of_covariances(nodes) - log_node_proposal
        log_weights = np.add.outer(drawn.log_constant - log_proposal, of_nodes)
        covariances = drawn.covariances.precisions, drawn.covariances.log_dets
        for family, columns, precision, log_det in zip(space.families, space.columns, *covariances, strict=True):
            densities = [family.at(values) for values in nodes[:, columns - self.lambdas]]
            log_weights += type(densities[0]).log_density_pairs(densities, precision, log_det)
        return _weighed(np.nan_to_num(log_weights, copy=False, nan=-np.inf, neginf=-np.inf))


def joined(rounds: list[Drawn]) -> Drawn:
    """The draws of several rounds as those of one."""
    parts = [drawn.covariances for drawn in rounds]
    covariances = DrawnCovariances(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.natural for part in parts]),
        [np.concatenate(term) for term in zip(*(part.precisions for part in parts), strict=True)],
        [np.concatenate(term) for term in zip(*(part.log_dets for part in parts), strict=True)],
        np.concatenate([part.log_constant for part in parts]),
    )
    lambdas, log_constant = (np.concatenate([getattr(d, x) for d in rounds]) for x in ("lambdas", "log_constant"))
    return Drawn(lambdas, covariances, log_constant)


def _weighed(log_weights: np.ndarray) -> Weighed:
    """Weights of draws, Pareto-smoothed, and of nodes; ``log_weights`` (draws, nodes) is overwritten."""
    largest = np.max(log_weights, axis=1)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    given = np.exp(np.subtract(log_weights, largest[:, None], out=log_weights), out=log_weights)
    sums = np.sum(given, axis=1)
    draws, k_hat, log_total = smooth(np.log(sums) + largest)
    given /= np.where(sums > 0.0, sums, 1.0)[:, None]
    return Weighed(draws, draws @ given, given, log_total - np.log(given.size), k_hat)
