"""Posterior draws of (sigma, Sigma) with beta and gamma exactly given them, labelled for ArviZ."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from pmlmm.design.design import Design
from pmlmm.design.names import covariance_dims
from pmlmm.crossproducts.statistics import Statistics
from pmlmm.kernels import likelihood
from pmlmm.kernels import likelihood_at_draws as draws
from pmlmm.kernels.coordinates import unvech, vech_slices
from pmlmm.kernels.likelihood_at_draws import Effects
from pmlmm.kernels.first import SparseGroups
from pmlmm.posterior.wide_effects import WideLaw

_BLOCK = 20_000_000


@dataclass(frozen=True, eq=False)
class Parameters:
    """Natural coordinates (draws, d), log lambda (G,), and the sums to condition the effects on them.

    Without wide blocks log lambda may differ between draws, (draws, G).

    The effects of the dense columns come as one array (draws, r); the methods take it apart.
    """

    theta: np.ndarray
    log_lambda: np.ndarray
    design: Design
    statistics: Statistics

    def effects(self, rng: np.random.Generator | None = None) -> Effects:
        """Dense effects given each draw: their means and, with ``rng``, draws of them."""
        data = self.statistics.marginal.crossproducts
        same = self.log_lambda.ndim == 1 and len(self.theta) > 1 and not np.ptp(self.theta, axis=0).any()
        if not same:
            return draws.effects(self.theta, self.log_lambda, data, rng)
        law = likelihood.condition(np.concatenate([self.theta[0], self.log_lambda]), data)
        mean = np.repeat(law.mean[None], len(self.theta), axis=0)
        if rng is None:
            return Effects(mean, mean)
        return Effects(mean, mean + self.theta[:, :1] * law.draw(rng.standard_normal(mean.shape[::-1])).T)

    def beta(self, dense: np.ndarray) -> np.ndarray:
        """Coefficients of the formula on the scale of the ridge, (draws, p)."""
        result = np.empty((len(dense), len(self.design.coefficients)))
        for segment in self.statistics.marginal.segments:
            if segment.kind == "beta":
                result[:, segment.index] = dense[:, segment.columns]
        return result

    @cached_property
    def wide(self) -> WideLaw:
        """The law of the wide blocks' coefficients given the dense effects."""
        return WideLaw(self.theta, self.log_lambda, self.statistics, self.design)

    def user_beta(self, dense: np.ndarray, shift: np.ndarray | float = 0.0) -> np.ndarray:
        """Coefficients of the formula on the user's scale; ``shift`` is what wide blocks take from the intercept."""
        standard = self.statistics.standardization
        beta = self.beta(dense) @ standard.transform.T + standard.shift
        if standard.intercept is not None:
            beta[:, standard.intercept] -= shift
        return beta

    def gamma(self, dense: np.ndarray, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Random effects by variable name, (draws, m, q): their means given the dense effects, or draws."""
        terms, result = self.design.terms, {}
        for segment in self.statistics.marginal.segments:
            if segment.kind == "gamma":
                term = terms[segment.index]
                values = dense[:, segment.columns].reshape(len(dense), term.n_groups, term.q)
                result[f"gamma_{term.name}"] = values
        grouped = self.statistics.marginal.crossproducts.grouped
        joint, first = self._grouped(dense, rng), 0
        for k in grouped:
            result[f"gamma_{terms[k].name}"] = joint[:, :, first : first + terms[k].q]
            first += terms[k].q
        return {f"gamma_{term.name}": result[f"gamma_{term.name}"] for term in terms}

    def _grouped(self, dense: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """Effects of the factor that is eliminated group by group, (draws, m, q).

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
            L = data.group_root(data.roots(self.theta[block])[0])[:, None]
            factor = draws.group_factor(S, L)
            half = np.linalg.solve(factor, np.swapaxes(L, 2, 3) @ self._residual(dense[block])[..., None])
            if rng is not None:
                half += self.theta[block, 0][:, None, None, None] * rng.standard_normal(half.shape)
            result[block] = (L @ np.linalg.solve(np.swapaxes(factor, 2, 3), half))[..., 0]
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


def covariances(theta: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Covariance of each term, (draws, q, q), of natural coordinates (draws, d)."""
    return [unvech(theta[:, part], q) for q, part in zip(sizes, vech_slices(sizes), strict=True)]


def dimensions(design: Design) -> dict[str, list[str]]:
    """Named dimensions of every variable."""
    dims = {"beta": ["coefficient"], "sigma": []}
    for block in design.wide:
        dims[f"beta_{block.name}"] = [block.name]
    for term in design.terms:
        dims[f"Sigma_{term.name}"] = list(covariance_dims(term.name))
        dims[f"A_{term.name}"] = [covariance_dims(term.name)[0]]
        dims[f"gamma_{term.name}"] = [term.factor, f"{term.name}_effect"]
    return dims


def label(values: dict[str, np.ndarray], design: Design, leading: tuple[str, ...] = (), **attrs) -> xr.Dataset:
    """Dataset with the model's names along every dimension; ``leading`` ones are numbered from 0."""
    dims, names = dimensions(design), design.coords()
    own = {name: dims.get(name, []) for name in values}  # hyperparameters are scalars, but for A
    variables = {name: ((*leading, *own[name]), value) for name, value in values.items()}
    used = {dim for name in values for dim in own[name]}
    numbers = {dim: np.arange(next(iter(values.values())).shape[axis]) for axis, dim in enumerate(leading)}
    return xr.Dataset(variables, coords={d: names[d] for d in names if d in used} | numbers, attrs=attrs)


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
