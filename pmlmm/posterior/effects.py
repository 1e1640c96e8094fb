"""The effects given draws of (sigma, Sigma): exact, and on the user's scale."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pmlmm.crossproducts.statistics import Statistics
from pmlmm.design.design import Design
from pmlmm.kernels import likelihood
from pmlmm.kernels import likelihood_at_draws as draws
from pmlmm.kernels.eliminate.nested import Nested
from pmlmm.kernels.eliminate.sparse_groups import SparseGroups
from pmlmm.kernels.group_effects import conditional_covariances, conditional_effects
from pmlmm.kernels.layout import SIGMA
from pmlmm.kernels.likelihood_at_draws import Effects
from pmlmm.posterior.wide_effects import WideEffects

_BLOCK = 20_000_000


@dataclass(frozen=True, eq=False)
class Parameters:
    """Natural coordinates (draws, d), log lambda (G,), and the sums to condition the effects on them.

    Without wide blocks log lambda may differ between draws, (draws, G).

    The effects of the dense columns come as one array (draws, r); the methods take it apart.
    """

    natural: np.ndarray
    log_lambda: np.ndarray
    design: Design
    statistics: Statistics

    def only(self, s: int) -> "Parameters":
        """Draw number ``s`` alone."""
        log_lambda = self.log_lambda if self.log_lambda.ndim == 1 else self.log_lambda[s : s + 1]
        return replace(self, natural=self.natural[s : s + 1], log_lambda=log_lambda)

    def effects(self, rng: np.random.Generator | None = None) -> Effects:
        """Dense effects given each draw: their means and, with ``rng``, draws of them."""
        data = self.statistics.marginal.crossproducts
        same = self.log_lambda.ndim == 1 and len(self.natural) > 1 and not np.ptp(self.natural, axis=0).any()
        if not same:
            return draws.effects(self.natural, self.log_lambda, data, rng)
        law = likelihood.condition(np.concatenate([self.natural[0], self.log_lambda]), data)
        mean = np.repeat(law.mean[None], len(self.natural), axis=0)
        if rng is None:
            return Effects(mean, mean)
        return Effects(mean, mean + self.natural[:, SIGMA, None] * law.draw(rng.standard_normal(mean.shape[::-1])).T)

    def beta(self, dense: np.ndarray) -> np.ndarray:
        """Coefficients of the formula on the scale of the ridge, (draws, p)."""
        result = np.empty((len(dense), len(self.design.coefficients)))
        for segment in self.statistics.marginal.segments:
            if segment.kind == "beta":
                result[:, segment.index] = dense[:, segment.columns]
        return result

    @cached_property
    def wide(self) -> WideEffects:
        """The law of the wide blocks' coefficients given the dense effects."""
        return WideEffects(self.natural, self.log_lambda, self.statistics, self.design)

    def user_beta(self, dense: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
        """Coefficients of the formula on the user's scale; ``shift`` is what wide blocks take from the intercept."""
        standard = self.statistics.standardization
        beta = self.beta(dense) @ standard.transform.T + standard.shift
        if standard.intercept is not None:
            beta[:, standard.intercept] -= shift
        return beta

    def gamma(self, dense: np.ndarray, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Random effects by variable name, (draws, m, q): their means given the dense effects, or draws."""
        return self.user_gamma(self.used_gamma(dense, rng))

    def user_gamma(self, gamma: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Random effects on the user's scale, from those of :meth:`used_gamma`."""
        origins = zip(gamma.items(), self.statistics.origins, strict=True)
        return {name: origin.users_effects(values) for (name, values), origin in origins}

    def used_gamma(self, dense: np.ndarray, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """The same with the columns' zero at their origin."""
        terms, result = self.design.terms, self._dense_gamma(dense)
        left = list(self.statistics.marginal.crossproducts.grouped)
        for joint in self._grouped(dense, rng):
            first = 0
            while first < joint.shape[2]:
                term = terms[left.pop(0)]
                result[f"gamma_{term.name}"] = joint[:, :, first : first + term.q]
                first += term.q
        return {f"gamma_{term.name}": result[f"gamma_{term.name}"] for term in terms}

    def users_dense_gamma(self, dense: np.ndarray) -> dict[str, np.ndarray]:
        """Those random effects that are among the dense ones, on the user's scale, (draws, m, q) by variable name."""
        origins = {f"gamma_{term.name}": o for term, o in zip(self.design.terms, self.statistics.origins, strict=True)}
        return {name: origins[name].users_effects(values) for name, values in self._dense_gamma(dense).items()}

    def _dense_gamma(self, dense: np.ndarray) -> dict[str, np.ndarray]:
        result = {}
        for segment in self.statistics.marginal.segments:
            if segment.kind == "gamma":
                term = self.design.terms[segment.index]
                values = dense[:, segment.columns].reshape(len(dense), term.n_groups, term.q)
                result[f"gamma_{term.name}"] = values
        return result

    def grouped_moments(self, dense: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Means and variances given the dense effects of those that are eliminated group by group, on the user's scale.

        Both (draws, m, q) by variable name.
        """
        left, result = list(self.statistics.marginal.crossproducts.grouped), {}
        for means, covariance in zip(self._grouped(dense, None), self._grouped_covariances(), strict=True):
            first = 0
            while first < means.shape[2]:
                k = left.pop(0)
                term, origin = self.design.terms[k], self.statistics.origins[k]
                own, back = slice(first, first + term.q), origin.matrix(-1.0)
                variance = np.einsum("ab,smbc,ac->sma", back, covariance[:, :, own, own], back, optimize=True)
                result[f"gamma_{term.name}"] = origin.users_effects(means[:, :, own]), variance
                first += term.q
        return result

    def _grouped_covariances(self) -> list[np.ndarray]:
        """Covariances of the same given the dense effects, (draws, m, q, q) of each factor; see :meth:`_one_factor`."""
        reduced, data = self.statistics.marginal, self.statistics.marginal.crossproducts
        L = data.group_root(data.roots(self.natural))
        if isinstance(data.first, Nested):
            return list(data.first.covariances(L, self.natural[:, SIGMA]))
        return [self.natural[:, SIGMA, None, None, None] ** 2 * conditional_covariances(reduced.S, L[:, None])]

    def _grouped(self, dense: np.ndarray, rng: np.random.Generator | None) -> list[np.ndarray]:
        """Effects of the factors that are eliminated group by group, (draws, m, q) each."""
        data = self.statistics.marginal.crossproducts
        if not isinstance(data.first, Nested):
            return [self._one_factor(dense, rng)]
        weights = np.hstack([-dense, np.ones((len(dense), 1))])
        L = data.group_root(data.roots(self.natural))
        return list(data.first.effects(L, weights, self.natural[:, SIGMA], rng))

    def _one_factor(self, dense: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """Effects of a single factor, (draws, m, q).

        ``gamma_i ~ N(J_i Z_i'(y_i - W_i a), sigma^2 J_i)`` with ``J_i = L (I + L'Z_i'Z_i L)^{-1} L'`` and
        ``L L' = Sigma / sigma^2``: the form that stays stable when Sigma is nearly singular.
        """
        reduced = self.statistics.marginal
        S, data = reduced.S, reduced.crossproducts
        m, q = S.shape[:2]
        result = np.empty((len(dense), m, q))
        if q == 0:
            return result
        step = max(1, _BLOCK // max(1, m * q * q))
        for first in range(0, len(dense), step):
            block = slice(first, first + step)
            L, residual = data.group_root(data.roots(self.natural[block])), self._residual(dense[block])
            noise = np.empty((0, m, q))
            if rng is not None:
                noise = self.natural[block, SIGMA][:, None, None] * rng.standard_normal(residual.shape)
            result[block] = conditional_effects(S, L, residual, noise)
        return result

    def _residual(self, dense: np.ndarray) -> np.ndarray:
        """``Z_i'(y_i - W_i a)`` of each group, (draws, m, q)."""
        reduced = self.statistics.marginal
        weights = np.hstack([-dense, np.ones((len(dense), 1))])
        if reduced.c is not None:
            return np.einsum("iau,su->sia", reduced.c, weights, optimize=True)
        first = reduced.crossproducts.first
        assert isinstance(first, SparseGroups)
        return first.products(weights)
