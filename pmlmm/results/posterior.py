"""Posterior draws of (sigma, Sigma) with beta and gamma exactly given them, labelled for ArviZ."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pmlmm.design.design import Design
from pmlmm.design.statistics import Statistics
from pmlmm.kernels import draws
from pmlmm.kernels.coordinates import unvech, vech_slices
from pmlmm.kernels.likelihood import Crossproducts

#: Draws of gamma that would take more numbers are left out of the DataTree.
MOST_GAMMA = 50_000_000
_BLOCK = 20_000_000


@dataclass(frozen=True)
class Parameters:
    """Natural coordinates (draws, d) and what the likelihood needs to condition on them."""

    theta: np.ndarray
    log_lambda: np.ndarray
    data: Crossproducts
    sizes: tuple[int, ...]
    statistics: Statistics

    def beta(self, rng: np.random.Generator | None = None) -> np.ndarray:
        """beta given each draw, on the scale of the ridge: its mean, or a draw from its law, (draws, p)."""
        same = len(self.theta) > 1 and not np.ptp(self.theta, axis=0).any()
        law = self._beta_law(self.theta[:1] if same else self.theta)
        if same:
            law = draws.DrawLikelihood(*(np.repeat(x, len(self.theta), axis=0) for x in law))
        if rng is None or law.a.shape[1] == 0:
            return law.a
        noise = rng.standard_normal(law.a.shape)
        root = np.linalg.solve(np.swapaxes(law.chol_P, 1, 2), noise[:, :, None])[:, :, 0]
        return law.a + self.theta[:, :1] * root

    def _beta_law(self, theta: np.ndarray) -> draws.DrawLikelihood:
        return draws.evaluate(draws.reduce(theta, self.data, self.sizes), self.log_lambda, self.data)

    def gamma(self, beta: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """gamma given each draw and beta: its mean, or a draw from its law, (draws, m, q).

        ``gamma_i ~ N(J_i Z_i'(y_i - X_i beta), sigma^2 J_i)`` with ``J_i = L (I + L'Z_i'Z_i L)^{-1} L'`` and
        ``L L' = Sigma / sigma^2``: the form that stays stable when Sigma is nearly singular.
        """
        S, c = self.statistics.S, self.statistics.c
        m, q, p = len(S), S.shape[1], beta.shape[1]
        result = np.empty((len(beta), m, q))
        if q == 0:
            return result
        step = max(1, _BLOCK // max(1, m * q * q))
        for first in range(0, len(beta), step):
            block = slice(first, first + step)
            L = draws.relative_cholesky(self.theta[block], self.sizes)[:, None]
            factor = np.linalg.cholesky(np.eye(q) + np.swapaxes(L, 2, 3) @ S @ L)
            residual = c[None, :, :, p] - np.einsum("iau,su->sia", c[:, :, :p], beta[block])
            half = np.linalg.solve(factor, np.swapaxes(L, 2, 3) @ residual[..., None])
            if rng is not None:
                half += self.theta[block, 0][:, None, None, None] * rng.standard_normal(half.shape)
            result[block] = (L @ np.linalg.solve(np.swapaxes(factor, 2, 3), half))[..., 0]
        return result

    def user_beta(self, beta: np.ndarray) -> np.ndarray:
        """beta on the user's scale, (draws, p)."""
        standard = self.statistics.standardization
        return beta @ standard.transform.T + standard.shift

    def Sigmas(self) -> list[np.ndarray]:
        """Covariance of each term, (draws, q, q)."""
        return [unvech(self.theta[:, part], q) for q, part in zip(self.sizes, vech_slices(self.sizes), strict=True)]


def split_gamma(gamma: np.ndarray, design: Design) -> dict[str, np.ndarray]:
    """(..., m, sum q) into one array a term."""
    edges = np.cumsum([0, *design.sizes])
    return {
        f"gamma_{term.name}": gamma[..., a:b] for term, a, b in zip(design.terms, edges[:-1], edges[1:], strict=True)
    }


def dimensions(design: Design) -> dict[str, list[str]]:
    """Named dimensions of every variable."""
    dims = {"beta": ["coefficient"], "sigma": []}
    for term in design.terms:
        dims[f"Sigma_{term.name}"] = [f"{term.name}_effect", f"{term.name}_effect2"]
        dims[f"gamma_{term.name}"] = [term.factor, f"{term.name}_effect"]
    return dims


def label(values: dict[str, np.ndarray], design: Design, leading: tuple[str, ...] = (), **attrs) -> xr.Dataset:
    """Dataset with the model's names along every dimension; ``leading`` ones are numbered from 0."""
    dims, names = dimensions(design), design.coords()
    variables = {name: ((*leading, *dims[name]), value) for name, value in values.items()}
    used = {dim for name in values for dim in dims[name]}
    numbers = {dim: np.arange(next(iter(values.values())).shape[axis]) for axis, dim in enumerate(leading)}
    return xr.Dataset(variables, coords={d: names[d] for d in names if d in used} | numbers, attrs=attrs)


def resample(weights: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Systematic resampling, in random order: indices of ``number`` draws of equal weight."""
    positions = (np.arange(number) + rng.random()) / number
    chosen = np.searchsorted(np.cumsum(weights) / np.sum(weights), positions, side="right")
    return rng.permutation(np.minimum(chosen, len(weights) - 1))


def laplace_draws(x: np.ndarray, hessian: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Normal draws around a mode in unconstrained coordinates: (number, d)."""
    factor = np.linalg.cholesky(-hessian)
    normal = rng.standard_normal((len(x), number))
    return x + np.linalg.solve(factor.T, normal).T
