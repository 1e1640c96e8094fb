"""Densities of a linear function of the fixed effects at one value, under the posterior and under the prior."""

import numpy as np
from scipy.stats import norm

from pmlmm.errors import OptionError
from pmlmm.kernels import likelihood
from pmlmm.kernels.layout import SIGMA
from pmlmm.kernels.likelihood_at_draws import LARGE
from pmlmm.posterior.source import Posterior

# Draws of (sigma, Sigma) over which the conditional densities are averaged; of many columns each takes long.
_DRAWS, _DRAWS_OF_MANY = 2000, 50


def log_density_ratio(posterior: Posterior, weights: np.ndarray, value: float | np.ndarray) -> np.ndarray:
    """Log of posterior density over prior density of ``weights @ beta`` at a value.

    Given (sigma, Sigma) both are normal; the former is averaged over draws of these, so that it is good far from
    the bulk of the posterior too.

    Parameters
    ----------
    posterior : Posterior
    weights : (p + 1,) array
        As :attr:`Posterior.population` has it.
    value : float or array
        Where; the result has its shape.

    Raises
    ------
    OptionError
        The prior is not a normal one of known standard deviation, or wide blocks take part.
    """
    intercept = posterior.problem.statistics.standardization.intercept
    if posterior.design.wide and (weights[-1] or (intercept is not None and weights[intercept])):
        raise OptionError("'=' with wide blocks is for differences, in which the blocks cancel.")
    prior = _log_prior(posterior, weights[:-1], value)  # which may refuse, before the posterior takes its time
    return _log_posterior(posterior, weights[:-1], value) - prior


def _log_prior(posterior: Posterior, weights: np.ndarray, value: float | np.ndarray) -> np.ndarray:
    problem, sds = posterior.problem, np.full(len(weights), np.nan)
    for group in problem.priors.penalty_groups:
        if group.absolute and group.log_lambda is not None:
            sds[list(group.columns)] = np.exp(-0.5 * group.log_lambda)
    standard = problem.statistics.standardization
    used = weights @ standard.transform
    moved = np.abs(used) > 1e-9 * np.abs(used).max(initial=0.0)
    if np.isnan(sds[moved]).any():
        names = ", ".join(repr(problem.design.coefficients[j]) for j in np.flatnonzero(moved & np.isnan(sds))[:5])
        raise OptionError(
            f"'=' compares posterior and prior density, which needs a pmlmm.Normal prior; that of {names} is flat, or "
            "a ridge. Give priors={...: pmlmm.Normal(0, sd)}, or ask for > or <."
        )
    return norm.logpdf(value, weights @ standard.shift, np.linalg.norm(used[moved] * sds[moved]))


def _log_posterior(posterior: Posterior, weights: np.ndarray, value: float | np.ndarray) -> np.ndarray:
    data = posterior.problem.statistics.crossproducts()
    number = _DRAWS if data.columns <= LARGE else _DRAWS_OF_MANY
    draws, _ = posterior.resample(number, np.random.default_rng([posterior.learned.options.random_seed, 7]))
    natural = draws.natural if draws.pinned is None else np.repeat(draws.pinned[None], number, axis=0)
    lambdas = np.broadcast_to(draws.log_lambda, (number, draws.log_lambda.shape[-1]))
    user, total = None, np.full(np.shape(value), -np.inf)
    for point, log_lambda in zip(natural, lambdas, strict=True):
        law = likelihood.condition(np.concatenate([point, log_lambda]), data)
        user = _users(posterior, weights, len(law.mean)) if user is None else user
        sd = point[SIGMA] * np.sqrt(user[1:] @ law.effect_covariance @ user[1:])
        total = np.logaddexp(total, norm.logpdf(value, user[0] + user[1:] @ law.mean, sd))
    return total - np.log(number)


def _users(posterior: Posterior, weights: np.ndarray, columns: int) -> np.ndarray:
    """``weights @ beta`` on the user's scale as a constant and weights of the dense effects, (1 + columns,)."""
    beta = posterior.parameters(posterior.learned.mode.natural[None]).user_beta(np.eye(columns + 1, columns, -1))
    values = beta @ weights
    return np.append(values[0], values[1:] - values[0])
