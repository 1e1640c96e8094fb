"""Coefficients of wide blocks: means, standard deviations and draws, without a p x p matrix.

Each block is worked with in its own basis (:class:`pmlmm.crossproducts.wide_basis.StandardizedBlock`): ``alpha`` of
min(n, p) coefficients, which are either among the dense effects, or given those

    alpha ~ N((C'C + Lambda)^{-1} C'(y - W a), sigma^2 (C'C + Lambda)^{-1})

with C the columns of all blocks side by side.
"""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pmlmm.crossproducts.statistics import Statistics
from pmlmm.design.design import Design
from pmlmm.kernels import likelihood
from pmlmm.kernels.layout import SIGMA


@dataclass(frozen=True, eq=False)
class WideEffects:
    """What is known of alpha given draws of (sigma, Sigma) and of the dense effects."""

    natural: np.ndarray
    log_lambda: np.ndarray
    statistics: Statistics
    design: Design

    @cached_property
    def slices(self) -> list[slice]:
        """Where each block's alpha stands."""
        edges = np.cumsum([0, *(block.rank for block in self.statistics.wide)])
        return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]

    @cached_property
    def log_lambdas(self) -> np.ndarray:
        """log lambda of each block."""
        names = self.design.wide
        return self.log_lambda[len(self.log_lambda) - len(names) :]

    @cached_property
    def _given_dense(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(C'C + Lambda)^{-1}``, its root, and what it makes of ``C'[W, y]``."""
        sums = self.statistics.marginal.wide_sums
        assert sums is not None  # wide blocks are eliminated first
        ranks = [block.rank for block in self.statistics.wide]
        precision = sums.gram + np.diag(np.repeat(np.exp(self.log_lambdas), ranks))
        root = np.linalg.inv(np.linalg.cholesky(precision))
        covariance = root.T @ root
        return covariance, root, covariance @ sums.cross

    def alpha(self, dense: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """Means given the dense effects (draws, r), or draws: (draws, sum of ranks)."""
        if self.statistics.marginal.wide_sums is None:
            parts = [dense[:, s.columns] for s in self.statistics.marginal.segments if s.kind == "alpha"]
            return np.hstack(parts) if parts else np.empty((len(dense), 0))
        _, root, moved = self._given_dense
        mean = moved[:, -1] - dense @ moved[:, :-1].T
        if rng is None:
            return mean
        return mean + self.natural[:, SIGMA, None] * (rng.standard_normal(mean.shape) @ root)

    def shift(self, alpha: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """``center' beta`` over all blocks, (draws,): what undoing the centring takes from the intercept."""
        total = np.zeros(len(alpha))
        if self.statistics.standardization.intercept is None:
            return total
        for block, part, log_lambda in zip(self.statistics.wide, self.slices, self.log_lambdas, strict=True):
            weights, unseen = block.shift
            total += alpha[:, part] @ weights
            if rng is not None:
                total += unseen * self.natural[:, SIGMA] * np.exp(-0.5 * log_lambda) * rng.standard_normal(len(alpha))
        return total

    def coefficients(self, alpha: np.ndarray) -> dict[str, np.ndarray]:
        """Posterior means of all beta by variable name, (draws, p), given alpha."""
        return {
            f"beta_{block.block.name}": block.coefficients(alpha[:, part])
            for block, part in zip(self.statistics.wide, self.slices, strict=True)
        }

    def draws(self, alpha: np.ndarray, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Draws of all beta by variable name, (draws, p), and their ``center' beta``."""
        result, shift = {}, np.zeros(len(alpha))
        for block, part, log_lambda in zip(self.statistics.wide, self.slices, self.log_lambdas, strict=True):
            unseen = self.natural[:, SIGMA] * np.exp(-0.5 * log_lambda)
            beta = block.draw(alpha[:, part], unseen, rng)
            result[f"beta_{block.block.name}"] = beta
            if self.statistics.standardization.intercept is not None:
                shift += beta @ block.center
        return result, shift

    def covariance(self, natural: np.ndarray) -> np.ndarray:
        """Covariance (ranks, ranks) of alpha given y and one (sigma, Sigma), the dense effects integrated out."""
        data = self.statistics.marginal.crossproducts
        law = likelihood.condition(np.concatenate([natural, self.log_lambda]), data)
        J = law.effect_covariance
        if self.statistics.marginal.wide_sums is None:
            segments = [s for s in self.statistics.marginal.segments if s.kind == "alpha"]
            chosen = np.concatenate([np.arange(s.columns.start, s.columns.stop) for s in segments])
            return natural[SIGMA] ** 2 * J[np.ix_(chosen, chosen)]
        own, _, moved = self._given_dense
        return natural[SIGMA] ** 2 * (own + moved[:, :-1] @ J @ moved[:, :-1].T)
