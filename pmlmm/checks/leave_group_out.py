"""Leave one group out: exact given (sigma, Sigma), importance-sampled over their posterior.

Given (sigma, Sigma, lambda) the rows of a group are Gaussian given all others. With V their joint covariance
and C the group's block of V^{-1},

    log p(y_g | y_-g) = 1/2 log|C| - n_g/2 log 2 pi - 1/2 u' C^{-1} u,    u = (V^{-1} y)_g

(Rasmussen and Williams 2006, section 5.4.2, for single rows). With that group's factor eliminated first
V^{-1} is block-diagonal but for r columns, so no n x n matrix is formed. As the posterior is proportional to
p(sigma, Sigma | y_-g) p(y_g | y_-g, sigma, Sigma), Pareto-smoothed importance sampling goes the rest of the way.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pmlmm.crossproducts.statistics import Statistics, build_statistics, dense_columns
from pmlmm.design.design import Design
from pmlmm.errors import DataError, OptionError, suggest
from pmlmm.inference.empirical_bayes import Progress
from pmlmm.kernels import likelihood
from pmlmm.kernels.derivatives import LOG_2PI
from pmlmm.kernels.eliminate.dense import ConditionalEffects
from pmlmm.kernels.layout import SIGMA
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.posterior.draws import WeightedDraws
from pmlmm.posterior.source import CHAINS, Posterior

# Draws are thinned so that about so many floating-point operations are enough.
_MOST_WORK, _FEWEST = 2e10, 100
# Numbers that the matrices of a batch of groups may take.
_BATCH = 10_000_000
# Share of a flat column's variation that must be left without a group for its coefficient to be known.
_DEPENDENT = 1e-9


def logo(
    posterior: Posterior, factor: str | None, draws: int | None, random_seed: int, progress: Progress = None
) -> Any:
    """See :meth:`pmlmm.Fit.logo`."""
    from arviz import loo

    design, priors = posterior.design, posterior.problem.priors
    factor = _checked_factor(factor, design)
    standard = posterior.problem.statistics.standardization
    statistics = build_statistics(design, priors, standard, method="groups", factor=factor)
    _refuse_unidentified(design, list(priors.flat_columns), factor)
    batches = list(row_batches(design, statistics, factor))
    work = sum(batch.work() for batch in batches)
    most = posterior.learned.number_of_draws
    each = draws or int(np.clip(_MOST_WORK / work, _FEWEST, most)) // CHAINS
    number = CHAINS * each
    refuse_draws(number, design.numbers_each(gamma=None, wide=None), f"logo(draws={draws})")
    drawn, _ = posterior.resample(number, np.random.default_rng([random_seed, 8]))
    labels = design.coords()[factor]
    with blas_threads(statistics.elimination.dense):
        values = group_densities(drawn, statistics, batches, len(labels), progress)
    dimension = "group" if factor != "group" else "left_out"  # a variable cannot be called like a dimension of its own
    data = xr.Dataset(
        {factor: (("chain", "draw", dimension), values.reshape(CHAINS, -1, len(labels)))}, coords={dimension: labels}
    )
    sigma = xr.Dataset({"sigma": (("chain", "draw"), drawn.natural[:, SIGMA].reshape(CHAINS, -1))})
    return loo(xr.DataTree.from_dict({"posterior": sigma, "log_likelihood": data}), reff=1.0, pointwise=True)


def _checked_factor(factor: str | None, design: Design) -> str:
    factors = [grouping.factor for grouping in design.groupings]
    if not factors:
        raise OptionError("logo() leaves groups out, and the model has no random effects: use az.loo for single rows.")
    if factor is None and len(factors) > 1:
        names = ", ".join(map(repr, factors))
        raise OptionError(f"logo(factor=...): the model has several factors, {names}; choose one.")
    if factor is not None and factor not in factors:
        raise OptionError(f"logo(factor={factor!r}): no such factor." + suggest(factor, factors))
    return factor or factors[0]


def _refuse_unidentified(design: Design, flat: list[int], factor: str) -> None:
    """A coefficient with a flat prior that only one group informs has no posterior without that group."""
    if not flat:
        return
    grouping = next(g for g in design.groupings if g.factor == factor)
    X = design.X[:, flat] / np.sqrt(np.sum(design.X[:, flat] ** 2, axis=0))
    for g in range(grouping.n_groups):
        rest = X[grouping.codes != g]
        values, vectors = np.linalg.eigh(rest.T @ rest)
        if values[0] < _DEPENDENT:
            column = design.coefficients[flat[int(np.argmax(np.abs(vectors[:, 0])))]]
            raise DataError(
                f"Without {factor} {design.coords()[factor][g]} nothing is known about the coefficient of {column!r}, "
                "which has a flat prior: that group cannot be predicted from the others. Give it a Ridge prior."
            )


class RowBatch(NamedTuple):
    """Rows of some groups, padded with zeros to the largest of them.

    Z (k, rows, q), W (k, rows, r), y (k, rows), rows times the root of their weight; the groups' sizes, numbers and
    sums of log weights (k,).
    """

    Z: np.ndarray
    W: np.ndarray
    y: np.ndarray
    sizes: np.ndarray
    groups: np.ndarray
    log_weights: np.ndarray

    def work(self) -> float:
        """Floating-point operations of one draw, about."""
        k, rows, r = self.W.shape
        return float(k * rows * (rows + r) * (rows + r) + r**3)


def row_batches(design: Design, statistics: Statistics, factor: str) -> Iterator[RowBatch]:
    """The rows group by group, groups of similar size together."""
    own = [term for term in statistics.terms if term.factor == factor]
    codes, m = own[0].grouping.codes, own[0].n_groups
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes, minlength=m)
    starts = np.cumsum(sizes) - sizes
    Z, W = np.hstack([term.Z for term in own]), dense_columns(design, statistics)
    y = design.y - statistics.standardization.offset
    Z, W, y = (design.whitened(x)[order] for x in (Z, W, y))
    log_weights = design.log_weights(codes, m)
    left = np.argsort(sizes, kind="stable")
    while len(left):
        largest = np.maximum.accumulate(sizes[left])
        numbers = np.arange(1, len(left) + 1) * largest * (2 * largest + 2 * W.shape[1])
        groups = left[: max(1, int(np.searchsorted(numbers, _BATCH)))]
        left = left[len(groups) :]
        place = np.arange(sizes[groups].max())
        inside = place < sizes[groups][:, None]
        rows = np.where(inside, starts[groups][:, None] + place, 0)
        yield RowBatch(
            np.where(inside[..., None], Z[rows], 0.0),
            np.where(inside[..., None], W[rows], 0.0),
            np.where(inside, y[rows], 0.0),
            sizes[groups],
            groups,
            log_weights[groups],
        )


def group_densities(
    draws: WeightedDraws, statistics: Statistics, batches: list[RowBatch], number: int, progress: Progress = None
) -> np.ndarray:
    """log p(y_g | y_-g, sigma, Sigma, lambda) for each draw and each of ``number`` groups, (draws, m)."""
    data = statistics.crossproducts()
    log_lambda = np.broadcast_to(draws.log_lambda, (len(draws.natural), draws.log_lambda.shape[-1]))
    result = np.empty((len(draws.natural), number))
    for s, natural in enumerate(draws.natural):
        if progress is not None:
            progress(f"leaving groups out: {s} of {len(draws.natural)} draws")
        u = np.concatenate([natural, log_lambda[s]])
        effects, root = likelihood.condition(u, data), data.group_root(data.roots(u))
        for batch in batches:
            result[s, batch.groups] = _densities_at(effects, root, natural[SIGMA] ** 2, batch)
    return result


def _densities_at(effects: ConditionalEffects, root: np.ndarray, variance: float, batch: RowBatch) -> np.ndarray:
    Z, W, y, sizes, _, log_weights = batch
    half = Z @ root
    M = np.eye(Z.shape[2]) + np.swapaxes(half, 1, 2) @ half
    N = np.eye(Z.shape[1]) - half @ np.linalg.solve(M, np.swapaxes(half, 1, 2))
    NW = N @ W
    C = N - NW @ effects.effect_covariance @ np.swapaxes(NW, 1, 2)
    moved = (N @ (y - W @ effects.mean)[..., None])[..., 0]
    chol = np.linalg.cholesky(C)
    whitened = np.linalg.solve(chol, moved[..., None])[..., 0]
    log_det = 2.0 * np.sum(np.log(np.diagonal(chol, axis1=1, axis2=2)), axis=1)
    quadratic = np.sum(whitened**2, axis=1) / variance
    return 0.5 * (log_weights + log_det - sizes * (LOG_2PI + np.log(variance)) - quadratic)
