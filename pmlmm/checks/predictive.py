"""Prior and posterior predictive draws, and log-likelihoods, for ArviZ."""

from typing import Any

import numpy as np
import xarray as xr

from pmlmm.design.design import Design
from pmlmm.errors import OptionError, PriorError
from pmlmm.inference.learned import Learned
from pmlmm.kernels.coordinates import block_diagonal
from pmlmm.kernels.derivatives import LOG_2PI
from pmlmm.kernels.group_effects import group_factor
from pmlmm.kernels.layout import SIGMA
from pmlmm.kernels.likelihood_compiled import flatten, value_and_gradient
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.posterior import tree
from pmlmm.posterior.draws import PREDICTOR, drawn_from, linear_predictor
from pmlmm.posterior.labels import covariance_parameters, covariances, data_groups, label, response_name
from pmlmm.posterior.source import CHAINS, Posterior
from pmlmm.problem import Problem

# Predictions of all rows for all draws may take so many numbers.
_MOST = 60_000_000
# Numbers that a batch of matrices may take.
_BATCH = 20_000_000


def posterior_predictive(
    posterior: Posterior, mcmc: xr.DataTree | None, draws: int | None, random_seed: int
) -> xr.DataTree:
    """See :meth:`pmlmm.Fit.sample_posterior_predictive`."""
    rng = np.random.default_rng([random_seed, 5])
    design = posterior.design
    if mcmc is None:
        groups, values, shape = posterior.groups(_checked(draws, posterior), rng, predictor=True)
        predictor = values[PREDICTOR]
    else:
        if draws is not None:
            raise OptionError("sample_posterior_predictive(mcmc): the draws are those of mcmc; leave draws= out.")
        tree.refuse_other_objects(mcmc, "sample_posterior_predictive(mcmc)")
        if mcmc["posterior"].attrs.get("data", posterior.data_fingerprint) != posterior.data_fingerprint:
            raise OptionError("sample_posterior_predictive(mcmc): the draws are of a model of other data.")
        groups = {name: mcmc[name].to_dataset() for name in mcmc.children}
        values, shape = _of_tree(mcmc, design)
        _refuse_too_many(shape[0] * shape[1], design)
        predictor = _predictor_of(values, design)
    name = response_name(design)
    sigma = values["sigma"][:, None] * design.noise_sd
    replicated = predictor + sigma * rng.standard_normal(predictor.shape)
    row: dict[str, Any] = {"row": design.table.rows}
    groups["posterior_predictive"] = _dataset({name: (replicated, ("row",))}, row, shape)
    by_row = -0.5 * (LOG_2PI + 2.0 * np.log(sigma) + ((design.y - predictor) / sigma) ** 2)
    likelihoods = {name: (by_row, ("row",))}
    coords = dict(row)
    for grouping in design.groupings:
        by_group = group_log_likelihood(posterior.problem, grouping.factor, values, predictor)
        likelihoods[f"{name}_by_{grouping.factor}"] = (by_group, (grouping.factor,))
        coords[grouping.factor] = design.coords()[grouping.factor]
    groups["log_likelihood"] = _dataset(likelihoods, coords, shape)
    return xr.DataTree.from_dict(groups)


def _checked(draws: int | None, posterior: Posterior) -> int:
    """Draws in all chains together."""
    number = CHAINS * draws if draws else posterior.learned.number_of_draws
    _refuse_too_many(number, posterior.design)
    return number


def _refuse_too_many(number: int, design: Design) -> None:
    if number * design.n_rows > _MOST:
        most = _MOST // design.n_rows // CHAINS
        raise OptionError(
            f"{number} draws of {design.n_rows} predicted rows do not fit in memory: sample_posterior_predictive("
            f"draws={max(1, most)}) is the most a chain can have."
        )


def _of_tree(mcmc: xr.DataTree, design: Design) -> tuple[dict[str, np.ndarray], tuple[int, int]]:
    """Variables of a posterior with chains and draws in one, (draws, ...)."""
    draws = mcmc["posterior"].to_dataset()
    chains, each = draws["sigma"].shape
    wanted = [f"gamma_{term.name}" for term in design.terms] + [f"beta_{block.name}" for block in design.wide]
    if missing := [name for name in wanted if name not in draws]:
        option = "wide" if missing[0].startswith("beta_") else "gamma"
        raise OptionError(
            f"The draws have no {missing[0]!r}, which predictions need: fit.sample({option}=True), or fewer draws."
        )
    values = {str(k): v.to_numpy().reshape(chains * each, *v.shape[2:]) for k, v in draws.data_vars.items()}
    return values, (chains, each)


def _predictor_of(values: dict[str, np.ndarray], design: Design) -> np.ndarray:
    total = linear_predictor(design, design.terms, values["beta"], values)
    for block in design.wide:
        beta = values[f"beta_{block.name}"]
        for part, columns in block.chunks():
            total += beta[:, part] @ columns.T
    return total


def _dataset(values: dict[str, tuple], coords: dict, shape: tuple[int, int]) -> xr.Dataset:
    """Variables (draws, ...) as chains of draws."""
    variables = {
        name: (("chain", "draw", *dims), value.reshape(*shape, *value.shape[1:]))
        for name, (value, dims) in values.items()
    }
    return xr.Dataset(variables, coords=coords | {"chain": np.arange(shape[0]), "draw": np.arange(shape[1])})


def group_log_likelihood(
    problem: Problem, factor: str, values: dict[str, np.ndarray], predictor: np.ndarray
) -> np.ndarray:
    """log p(y of a group | everything but the factor's own effects), for each draw and group: (draws, m).

    The effects of the factor are integrated out; those of other factors are as drawn.
    """
    design, statistics = problem.design, problem.statistics
    chosen = [k for k, term in enumerate(design.terms) if term.factor == factor]
    own, origins = [design.terms[k] for k in chosen], [statistics.origins[k] for k in chosen]
    grouping, Z = own[0].grouping, np.hstack([statistics.terms[k].Z for k in chosen])
    m, q, codes = grouping.n_groups, Z.shape[1], grouping.codes
    Z, log_weights = design.whitened(Z), design.log_weights(codes, m)
    S = np.zeros((m, q, q))
    np.add.at(S, codes, Z[:, :, None] * Z[:, None, :])
    sizes = np.bincount(codes, minlength=m)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(m))
    result = np.empty((len(predictor), m))
    step = max(1, _BATCH // (m * q * q + design.n_rows * (q + 1)))
    for first in range(0, len(predictor), step):
        part = slice(first, first + step)
        residual = design.y - predictor[part]
        for term in own:
            gamma = values[f"gamma_{term.name}"][part][:, codes]
            residual += np.einsum("sna,na->sn", gamma, term.Z, optimize=True)
        residual = (residual / design.noise_sd)[:, order]
        squares = np.add.reduceat(residual**2, starts, axis=1)
        moved = np.add.reduceat(residual[:, :, None] * Z[order], starts, axis=1)
        variance = values["sigma"][part, None] ** 2
        pairs = zip(own, origins, strict=True)
        Sigma = block_diagonal([origin.used(values[f"Sigma_{term.name}"][part]) for term, origin in pairs])
        L = np.linalg.cholesky(Sigma / variance[:, :, None])[:, None]
        chol = group_factor(S, L)
        half = np.linalg.solve(chol, np.swapaxes(L, 2, 3) @ moved[..., None])[..., 0]
        log_det = 2.0 * np.sum(np.log(np.diagonal(chol, axis1=2, axis2=3)), axis=2)
        quadratic = (squares - np.sum(half**2, axis=2)) / variance
        result[part] = -0.5 * (sizes * (LOG_2PI + np.log(variance)) - log_weights + log_det + quadratic)
    return result


def marginal_log_likelihood(learned: Learned, draws: xr.Dataset) -> xr.DataArray:
    """See :meth:`pmlmm.Fit.marginal_log_likelihood`."""
    packed, log_lambda = flatten(learned.data), learned.theta.log_lambda
    theta = tree.covariance_draws(draws, learned.problem.design, learned.problem.statistics.origins)
    with blas_threads(learned.dense):
        values = [
            value_and_gradient(np.concatenate([point, log_lambda]), packed)[0]
            for point in theta.reshape(-1, theta.shape[-1])
        ]
    return xr.zeros_like(draws["sigma"]).copy(data=np.reshape(values, theta.shape[:-1])).rename("log_likelihood")


def prior_predictive(posterior: Posterior, draws: int, random_seed: int) -> xr.DataTree:
    """See :meth:`pmlmm.Fit.sample_prior_predictive`."""
    problem, rng = posterior.problem, np.random.default_rng([random_seed, 6])
    if problem.priors.improper:
        raise PriorError("The prior predictive needs proper priors: nothing can be drawn from a flat one.")
    design = problem.design
    refuse_draws(draws, design.n_rows + design.numbers_each(gamma=True, wide=None), f"draws={draws}")
    natural, log_lambda = posterior.draw_prior(draws, rng)
    statistics = problem.statistics
    values, gamma = covariance_parameters(natural, design, statistics.origins), new_effects(problem, natural, rng)
    for (name, used), origin in zip(gamma.items(), statistics.origins, strict=True):
        values[name] = origin.users_effects(used)
    coefficients, fixed = _prior_coefficients(problem, natural[:, SIGMA], log_lambda, rng)
    values |= coefficients
    beta = np.zeros((draws, len(design.coefficients)))
    predictor = fixed + linear_predictor(design, statistics.terms, beta, gamma)
    replicated = predictor + natural[:, SIGMA, None] * design.noise_sd * rng.standard_normal(predictor.shape)
    shaped = {name: value[None] for name, value in values.items()}
    name = response_name(design)
    groups = {
        "prior": label(shaped, design, ("chain", "draw")),
        "prior_predictive": _dataset({name: (replicated, ("row",))}, {"row": design.table.rows}, (1, draws)),
    }
    return xr.DataTree.from_dict(groups | data_groups(design))


def new_effects(problem: Problem, natural: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """gamma given each Sigma, with the columns' zero at their origin, (draws, m, q) by name."""
    result, design = {}, problem.design
    for term, Sigma in zip(design.terms, covariances(natural, design.sizes), strict=True):
        result[f"gamma_{term.name}"] = drawn_from(Sigma, term.n_groups, rng)
    return result


def _prior_coefficients(
    problem: Problem, sigma: np.ndarray, log_lambda: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """beta, and of wide blocks where they are few, from their priors; and what all of them predict, (draws, n)."""
    design, standard, draws = problem.design, problem.statistics.standardization, len(sigma)
    shift, used, wide = np.zeros(draws), np.zeros((draws, len(design.coefficients))), np.zeros((draws, design.n_rows))
    absolute = np.array([group.absolute for group in problem.priors.penalty_groups], dtype=bool)
    units = np.where(absolute, 1.0, sigma[:, None])
    sd = units * np.exp(-0.5 * np.broadcast_to(log_lambda, (draws, log_lambda.shape[-1])))
    few = draws * sum(block.p for block in design.wide) <= tree.MOST_WIDE
    values = {}
    for g, group in enumerate(problem.priors.penalty_groups):
        if group.block is None:
            used[:, group.columns] = sd[:, g, None] * rng.standard_normal((draws, len(group.columns)))
            continue
        block = problem.statistics.wide[group.block]
        alpha = sd[:, g, None] * rng.standard_normal((draws, block.rank))
        wide += alpha @ block.columns.T
        if few:
            values[f"beta_{group.name}"] = beta = block.draw(alpha, sd[:, g], rng)
            shift += beta @ block.center
        else:
            weights, unseen = block.shift
            shift += alpha @ weights + unseen * sd[:, g] * rng.standard_normal(draws)
    beta = used @ standard.transform.T + standard.shift
    fixed = beta @ design.X.T + wide
    if standard.intercept is not None:
        beta[:, standard.intercept] -= shift
    return values | {"beta": beta}, fixed
