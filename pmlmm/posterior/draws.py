"""Weighted draws of (sigma, Sigma), with everything that is exactly known given them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pmlmm.design.design import Design
from pmlmm.design.term import Term
from pmlmm.kernels import coordinates
from pmlmm.kernels import likelihood_at_draws as draws
from pmlmm.kernels.layout import SIGMA
from pmlmm.kernels.likelihood_at_draws import LARGE, Effects
from pmlmm.kernels.threads import blas_threads
from pmlmm.posterior.effects import Parameters
from pmlmm.posterior.labels import covariance_parameters
from pmlmm.problem import Problem

#: Name of the linear predictor among drawn values.
PREDICTOR = "linear_predictor"
#: Name of what wide blocks add to it at the means of their columns.
WIDE_AT_MEANS = "wide_at_means"
# More numbers in the draws of gamma than this, and means condition gamma on the other means.
_FEW_GAMMA = 1_000_000
# Draws of wide models have two to the power of this different lambdas.
_HALVINGS = 7
# Draws over which the conditional covariance of wide blocks is averaged.
_FEW_DRAWS = 50


class Piece(NamedTuple):
    """Those of many draws, ``chosen``, that can be worked with in one go."""

    chosen: np.ndarray
    parameters: Parameters


@dataclass(frozen=True, eq=False)
class WeightedDraws:
    """Weighted draws of (sigma, vech Sigma), and of lambda where that is not fixed.

    Attributes
    ----------
    problem : Problem
    natural : (draws, d) array
    log_lambda : (G,) or (draws, G) array
    weights : (draws,) array
        They sum to 1.
    pinned : (d,) array, optional
        Condition the effects on this (sigma, vech Sigma) instead, to which very many groups pin it.
    """

    problem: Problem
    natural: np.ndarray
    log_lambda: np.ndarray
    weights: np.ndarray
    pinned: np.ndarray | None = None

    def proper(self) -> "WeightedDraws":
        """Without draws of no weight, and those from the far tails that nothing can be conditioned on.

        There a Sigma is singular to rounding, or the likelihood is lost in it.
        """
        kept = self._kept(coordinates.proper(self.natural, self.problem.design.sizes) & (self.weights > 0.0))
        return kept if kept.pinned is not None else kept._kept(kept._conditionable())

    def _kept(self, good: np.ndarray) -> "WeightedDraws":
        """The draws marked in ``good`` (draws,), with their shares of the weight."""
        if good.all():
            return self
        log_lambda = self.log_lambda if self.log_lambda.ndim == 1 else self.log_lambda[good]
        weights = self.weights[good] / np.sum(self.weights[good])
        return replace(self, natural=self.natural[good], log_lambda=log_lambda, weights=weights)

    def _conditionable(self) -> np.ndarray:
        """Which draws (draws,) have a likelihood."""
        good, data = np.empty(len(self.natural), dtype=bool), self.problem.statistics.crossproducts()
        with blas_threads(self.problem.statistics.elimination.dense):
            for piece in self.pieces():
                good[piece.chosen] = draws.conditionable(piece.parameters.natural, piece.parameters.log_lambda, data)
        return good

    def resampled(self, number: int, rng: np.random.Generator) -> "WeightedDraws":
        """``number`` draws of equal weight."""
        return self.take(resample(self.weights, number, rng))

    def take(self, chosen: np.ndarray) -> "WeightedDraws":
        """Some of the draws, with equal weights."""
        log_lambda = self.log_lambda if self.log_lambda.ndim == 1 else self.log_lambda[chosen]
        weights = np.full(len(chosen), 1.0 / len(chosen))
        return replace(self, natural=self.natural[chosen], log_lambda=log_lambda, weights=weights)

    def pieces(self) -> Iterator[Piece]:
        """The draws, those of one lambda together where lambda reaches into the first elimination."""
        every = np.arange(len(self.natural))
        if self.log_lambda.ndim == 1 or self._at_once:
            yield Piece(every, self._parameters(every, self.log_lambda))
            return
        values, which = np.unique(self.log_lambda, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        edges = np.cumsum(np.bincount(which.ravel()))[:-1]
        for log_lambda, index in zip(values, np.split(order, edges), strict=True):
            yield Piece(index, self._parameters(index, log_lambda))

    @property
    def _at_once(self) -> bool:
        """Whether draws with different lambdas are worked with in one go; pinned ones of one lambda share their law."""
        small = self.problem.statistics.crossproducts().columns <= LARGE
        return small and self.pinned is None and not self.problem.design.wide

    def in_few_pieces(self) -> "WeightedDraws":
        """With few different lambdas, where each would be a piece of its own: nearest ones get their mean."""
        if self.log_lambda.ndim == 1 or self._at_once:
            return self
        log_lambda = self.log_lambda.copy()
        for near in _halved(self.log_lambda, np.arange(len(log_lambda)), _HALVINGS):
            log_lambda[near] = np.average(log_lambda[near], axis=0, weights=self.weights[near])
        return replace(self, log_lambda=log_lambda)

    def _parameters(self, index: np.ndarray, log_lambda: np.ndarray) -> Parameters:
        return Parameters(self.natural[index], log_lambda, self.problem.design, self.problem.statistics)

    def _effects(self, piece: Piece, rng: np.random.Generator | None = None) -> Effects:
        """Dense effects given each draw: means, or draws."""
        parameters = piece.parameters
        if self.pinned is not None:
            parameters = replace(parameters, natural=np.repeat(self.pinned[None], len(piece.chosen), axis=0))
        with blas_threads(self.problem.statistics.elimination.dense):
            return parameters.effects(rng)

    def draw(
        self, rng: np.random.Generator, *, gamma: bool, wide: bool, predictor: bool = False, at_means: bool = False
    ) -> dict[str, np.ndarray]:
        """All parameters by variable name, the effects drawn given (sigma, Sigma): (draws, ...).

        With ``predictor`` also ``offset + X beta + Z gamma`` of every row, named :data:`PREDICTOR`: (draws, n);
        with ``at_means`` what wide blocks add at the means of their columns, :data:`WIDE_AT_MEANS`: (draws,).
        """
        result: dict[str, np.ndarray] = {}
        for piece in self.pieces():
            for name, value in self._drawn(piece, rng, gamma, wide, predictor, at_means).items():
                if name not in result:
                    result[name] = np.empty((len(self.natural), *value.shape[1:]))
                result[name][piece.chosen] = value
        return result

    def dense(self, rng: np.random.Generator) -> Iterator[tuple[Piece, np.ndarray]]:
        """Draws of the dense effects given (sigma, Sigma), (draws of the piece, r), piece by piece."""
        return ((piece, self._effects(piece, rng).drawn) for piece in self.pieces())

    def fixed_effects(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws of the formula's coefficients (draws, p) beside centred wide blocks, and of alpha (draws, ranks)."""
        number, ranks = len(self.natural), sum(block.rank for block in self.problem.statistics.wide)
        beta, alpha = np.empty((number, len(self.problem.design.coefficients))), np.empty((number, ranks))
        for piece, dense in self.dense(rng):
            beta[piece.chosen] = piece.parameters.user_beta(dense)
            alpha[piece.chosen] = piece.parameters.wide.alpha(dense, rng)
        return beta, alpha

    def _drawn(
        self, piece: Piece, rng: np.random.Generator, gamma: bool, wide: bool, predictor: bool, at_means: bool
    ) -> dict[str, np.ndarray]:
        parameters, dense = piece.parameters, self._effects(piece, rng).drawn
        alpha = parameters.wide.alpha(dense, rng)
        if wide:
            coefficients, shift = parameters.wide.draws(alpha, rng)
        else:
            coefficients, shift = {}, parameters.wide.shift(alpha, rng)
        values = {"beta": parameters.user_beta(dense, shift)} | coefficients
        statistics = self.problem.statistics
        if at_means:
            values[WIDE_AT_MEANS] = shift + alpha @ np.concatenate([b.columns.mean(axis=0) for b in statistics.wide])
        values |= covariance_parameters(self.natural[piece.chosen], self.problem.design, statistics.origins)
        effects = parameters.used_gamma(dense, rng) if gamma or predictor else {}
        if predictor:
            values[PREDICTOR] = self._predictor(parameters.user_beta(dense), alpha, effects)
        return values | (parameters.user_gamma(effects) if gamma else {})

    def _predictor(self, beta: np.ndarray, alpha: np.ndarray, gamma: dict[str, np.ndarray]) -> np.ndarray:
        """``offset + X beta + Z gamma``; columns of Z from their origin, wide blocks centred, by their alpha."""
        total = linear_predictor(self.problem.design, self.problem.statistics.terms, beta, gamma)
        first = 0
        for block in self.problem.statistics.wide:
            total += alpha[:, first : first + block.rank] @ block.columns.T
            first += block.rank
        return total

    @cached_property
    def _dense_means(self) -> list[tuple[Piece, np.ndarray]]:
        """Conditional means of the dense effects, piece by piece."""
        return [(piece, self._effects(piece).mean) for piece in self.pieces()]

    def means(self) -> dict[str, np.ndarray]:
        """Posterior means of all parameters; gamma of very many groups given those of the others."""
        few = len(self.natural) * self.problem.design.random_effects <= _FEW_GAMMA
        total: dict[str, np.ndarray] = {}
        for piece, dense in self._dense_means:
            weights = self.weights[piece.chosen]
            share = float(np.sum(weights))
            if share == 0.0:
                continue
            weights = weights / share
            centre = self._centre(piece, weights)
            values = expected(centre, (weights @ dense)[None], self.problem.design)
            if few:
                gamma = piece.parameters.gamma(dense)
                values |= {name: np.tensordot(weights, x, axes=1)[None] for name, x in gamma.items()}
            else:
                values |= centre.gamma((weights @ dense)[None])
            for name, value in values.items():
                total[name] = total.get(name, 0.0) + share * value[0]
        return total

    def _centre(self, piece: Piece, weights: np.ndarray) -> Parameters:
        """The weighted mean of (sigma, Sigma), as one draw."""
        log_lambda = piece.parameters.log_lambda
        if log_lambda.ndim == 2:
            log_lambda = weights @ log_lambda
        return replace(piece.parameters, natural=(weights @ piece.parameters.natural)[None], log_lambda=log_lambda)

    def wide_sds(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Posterior sds of the coefficients of wide blocks, (p,), by the law of total variance."""
        alpha: np.ndarray | None = None
        of_draw: dict[int, Parameters] = {}
        chosen = resample(self.weights, _FEW_DRAWS, rng)
        for piece, dense in self._dense_means:
            own = piece.parameters.wide.alpha(dense)
            alpha = np.empty((len(self.natural), own.shape[1])) if alpha is None else alpha
            alpha[piece.chosen] = own
            of_draw |= dict.fromkeys(np.intersect1d(piece.chosen, chosen).tolist(), piece.parameters)
        centred = alpha - self.weights @ alpha
        total = (centred.T * self.weights) @ centred
        unseen = np.zeros(len(self.problem.design.wide))
        for s in chosen.tolist():
            wide = of_draw[s].wide
            total += wide.covariance(self.natural[s]) / len(chosen)
            unseen += self.natural[s, SIGMA] ** 2 * np.exp(-wide.log_lambdas) / len(chosen)
        slices = next(iter(of_draw.values())).wide.slices
        return {
            f"beta_{block.block.name}": np.sqrt(block.variances(total[part, part], float(variance)))
            for block, part, variance in zip(self.problem.statistics.wide, slices, unseen, strict=True)
        }


def _halved(points: np.ndarray, index: np.ndarray, times: int) -> list[np.ndarray]:
    """Points (draws, k) in 2^times sets of near ones: halved at the median where they spread most, and again."""
    if times == 0 or len(index) < 2:
        return [index]
    axis = np.argmax(np.ptp(points[index], axis=0))
    halves = np.array_split(index[np.argsort(points[index, axis], kind="stable")], 2)
    return [part for half in halves for part in _halved(points, half, times - 1)]


def linear_predictor(
    design: Design, terms: Sequence[Term], beta: np.ndarray, gamma: dict[str, np.ndarray]
) -> np.ndarray:
    """``offset + X beta + Z gamma`` of the formula's terms, (draws, n); columns of Z and gamma from one origin."""
    total = beta @ design.X.T
    if design.offset is not None:
        total += design.offset
    for term in terms:
        total += np.einsum("sna,na->sn", gamma[f"gamma_{term.name}"][:, term.grouping.codes], term.Z, optimize=True)
    return total


def drawn_from(covariance: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """``number`` vectors of ``N(0, Sigma)`` for each of (draws, q, q) covariances: (draws, number, q)."""
    # by eigenvalues, as a covariance may be singular to rounding
    squares, axes = np.linalg.eigh(covariance)
    root = axes * np.sqrt(np.maximum(squares, 0.0))[:, None]
    return rng.standard_normal((len(root), number, root.shape[-1])) @ np.swapaxes(root, 1, 2)


def expected(parameters: Parameters, dense: np.ndarray, design: Design) -> dict[str, np.ndarray]:
    """Everything but gamma, given means of the dense effects (draws, r)."""
    alpha = parameters.wide.alpha(dense)
    values = {"beta": parameters.user_beta(dense, parameters.wide.shift(alpha))}
    covariances = covariance_parameters(parameters.natural, design, parameters.statistics.origins)
    return values | parameters.wide.coefficients(alpha) | covariances


def resample(weights: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Systematic resampling, in random order: indices of ``number`` draws of equal weight."""
    positions = (np.arange(number) + rng.random()) / number
    chosen = np.searchsorted(np.cumsum(weights) / np.sum(weights), positions, side="right")
    return rng.permutation(np.minimum(chosen, len(weights) - 1))


def laplace_draws(x: np.ndarray, precision: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Normal draws around a mode in unconstrained coordinates: (number, d)."""
    factor = np.linalg.cholesky(precision)
    normal = rng.standard_normal((len(x), number))
    return x + np.linalg.solve(factor.T, normal).T
