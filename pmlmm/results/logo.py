"""Leave one group out: exact given (sigma, Sigma), importance-sampled over their posterior.

Given (sigma, Sigma, lambda) the rows of a group are Gaussian given all others. With V their joint covariance
and C the group's block of V^{-1},

    log p(y_g | y_-g) = 1/2 log|C| - n_g/2 log 2 pi - 1/2 u' C^{-1} u,    u = (V^{-1} y)_g

(Rasmussen and Williams 2006, section 5.4.2, for single rows). With that group's factor eliminated first
V^{-1} is block-diagonal but for r columns, so no n x n matrix is formed. As the posterior is proportional to
p(sigma, Sigma | y_-g) p(y_g | y_-g, sigma, Sigma), Pareto-smoothed importance sampling goes the rest of the way.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from pmlmm.design.design import Design
from pmlmm.design.statistics import Statistics, build_statistics, dense_columns
from pmlmm.errors import OptionError, suggest
from pmlmm.kernels import likelihood
from pmlmm.kernels.likelihood import LOG_2PI
from pmlmm.kernels.threads import blas_threads
from pmlmm.results.law import Law

if TYPE_CHECKING:
    from pmlmm.results.fit import Fit

# Draws are thinned so that about so many floating-point operations are enough.
_MOST_WORK, _FEWEST = 2e10, 100


def logo(fit: "Fit", factor: str | None, draws: int | None, random_seed: int) -> Any:
    """See :meth:`pmlmm.Fit.logo`."""
    from arviz import loo

    design = fit.model.design
    factor = _checked_factor(factor, design)
    old = fit.model.statistics
    statistics = build_statistics(design, fit.model.priors, old.standardization, method="groups", factor=factor)
    rows = _Rows.build(design, statistics, factor)
    number = draws * 4 if draws else int(np.clip(_MOST_WORK / rows.work(), _FEWEST, fit._number)) // 4 * 4
    rng = np.random.default_rng([random_seed, 8])
    law, _ = fit._draw(number, rng)
    with blas_threads(statistics.elimination.dense):
        values = group_densities(law, statistics, rows)
    labels = design.coords()[factor]
    data = xr.Dataset(
        {factor: (("chain", "draw", "group"), values.reshape(4, -1, len(labels)))}, coords={"group": labels}
    )
    posterior = xr.Dataset({"sigma": (("chain", "draw"), law.theta[:, 0].reshape(4, -1))})
    return loo(xr.DataTree.from_dict({"posterior": posterior, "log_likelihood": data}), reff=1.0, pointwise=True)


def _checked_factor(factor: str | None, design: Design) -> str:
    factors = [grouping.factor for grouping in design.groupings]
    if not factors:
        raise OptionError("logo() leaves groups out, and the model has no random effects: use az.loo for single rows.")
    if factor is None and len(factors) > 1:
        raise OptionError(
            f"logo(factor=...): the model has several factors, {', '.join(map(repr, factors))}; choose one."
        )
    if factor is not None and factor not in factors:
        raise OptionError(f"logo(factor={factor!r}): no such factor." + suggest(factor, factors))
    return factor or factors[0]


class _Rows(NamedTuple):
    """Rows of every group, padded with zeros to the largest: Z (m, k, q), W (m, k, r), y (m, k), and their number."""

    Z: np.ndarray
    W: np.ndarray
    y: np.ndarray
    sizes: np.ndarray

    @classmethod
    def build(cls, design: Design, statistics: Statistics, factor: str) -> "_Rows":
        own = [term for term in design.terms if term.factor == factor]
        codes, m = own[0].grouping.codes, own[0].n_groups
        order = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes, minlength=m)
        place = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)

        def padded(values: np.ndarray) -> np.ndarray:
            result = np.zeros((m, sizes.max(), *values.shape[1:]))
            result[codes[order], place] = values[order]
            return result

        Z = padded(np.hstack([term.Z for term in own]))
        W = padded(dense_columns(design, statistics))
        return cls(Z, W, padded(design.y - statistics.standardization.offset), sizes)

    def work(self) -> float:
        """Floating-point operations of one draw, about."""
        m, k, r = self.W.shape
        return float(m * k * (k + r) * (k + r) + r**3)


def group_densities(law: Law, statistics: Statistics, rows: _Rows) -> np.ndarray:
    """log p(y_g | y_-g, sigma, Sigma, lambda) for each draw and group, (draws, m)."""
    data = statistics.crossproducts()
    log_lambda = np.broadcast_to(law.log_lambda, (len(law.theta), law.log_lambda.shape[-1]))
    result = np.empty((len(law.theta), len(rows.y)))
    for s, theta in enumerate(law.theta):
        u = np.concatenate([theta, log_lambda[s]])
        result[s] = _densities_at(u, data, rows)
    return result


def _densities_at(u: np.ndarray, data: likelihood.Crossproducts, rows: _Rows) -> np.ndarray:
    Z, W, y, sizes = rows
    q, k, variance = Z.shape[2], Z.shape[1], u[0] ** 2
    posterior = likelihood.condition(u, data)
    half = Z @ data.group_root(data.roots(u)[0])
    M = np.eye(q) + np.swapaxes(half, 1, 2) @ half
    N = np.eye(k) - half @ np.linalg.solve(M, np.swapaxes(half, 1, 2))
    NW = N @ W
    C = N - NW @ posterior.effect_covariance @ np.swapaxes(NW, 1, 2)
    moved = (N @ (y - W @ posterior.mean)[..., None])[..., 0]
    chol = np.linalg.cholesky(C)
    whitened = np.linalg.solve(chol, moved[..., None])[..., 0]
    log_det = 2.0 * np.sum(np.log(np.diagonal(chol, axis1=1, axis2=2)), axis=1)
    return 0.5 * (log_det - sizes * (LOG_2PI + np.log(variance)) - np.sum(whitened**2, axis=1) / variance)
