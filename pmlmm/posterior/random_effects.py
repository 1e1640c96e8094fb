"""Standard deviations and quantiles of random effects: from draws, or of very many from their conditional moments."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pmlmm.design.term import Term
from pmlmm.posterior.source import Posterior

# Effects are drawn where that takes at most so many numbers.
_DRAWN = 10_000_000
# Otherwise those of many groups have moments given so many draws of everything else, fewer or more by their number.
_NUMBERS, _FEWEST = 10_000_000, 50


class Spread(NamedTuple):
    """Posterior sds and quantiles of a term's effects, (m, q) each."""

    sd: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def random_effect_spread(posterior: Posterior, terms: Sequence[Term], low: float, high: float) -> dict[str, Spread]:
    """Sds and the quantiles at two levels for each of these terms, by name."""
    learned, design = posterior.learned, posterior.design
    rng = np.random.default_rng([learned.options.random_seed, 10])
    number = learned.number_of_draws
    if number * design.random_effects <= _DRAWN:
        values = posterior.resample(number, rng)[0].draw(rng, gamma=True, wide=False)
        return {term.name: _of_draws(values[f"gamma_{term.name}"], low, high) for term in terms}
    return _of_many(posterior, terms, (low, high), rng)


def _of_draws(values: np.ndarray, low: float, high: float) -> Spread:
    lower, upper = np.quantile(values, (low, high), axis=0)
    return Spread(np.std(values, axis=0, ddof=1), lower, upper)


def _of_many(
    posterior: Posterior, terms: Sequence[Term], levels: tuple[float, float], rng: np.random.Generator
) -> dict[str, Spread]:
    """Terms of the factor that is eliminated group by group by their moments, the others by their draws."""
    grouped = {posterior.design.terms[k].name for k in posterior.problem.statistics.crossproducts().grouped}
    found: dict[str, Spread] = {}
    if drawn := [term.name for term in terms if term.name not in grouped]:
        found |= _drawn(posterior, drawn, levels, rng)
    if many := [term for term in terms if term.name in grouped]:
        found |= _by_moments(posterior, many, levels, rng)
    return found


def _drawn(
    posterior: Posterior, names: list[str], levels: tuple[float, float], rng: np.random.Generator
) -> dict[str, Spread]:
    draws = posterior.resample(posterior.learned.number_of_draws, rng)[0]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for piece, dense in draws.dense(rng):
        gamma = piece.parameters.users_dense_gamma(dense)
        for name, values in parts.items():
            values.append(gamma[f"gamma_{name}"])
    return {name: _of_draws(np.concatenate(values), *levels) for name, values in parts.items()}


def _by_moments(
    posterior: Posterior, terms: list[Term], levels: tuple[float, float], rng: np.random.Generator
) -> dict[str, Spread]:
    """Law of total variance over draws of everything else; quantiles are a normal's, as those draws hardly differ."""
    from scipy.special import ndtri

    every = posterior.design.random_effects
    number = int(np.clip(_NUMBERS // every, _FEWEST, posterior.learned.number_of_draws))
    totals = {term.name: np.zeros((3, term.n_groups, term.q)) for term in terms}
    for piece, dense in posterior.resample(number, rng)[0].dense(rng):
        for s in range(len(dense)):
            found = piece.parameters.only(s).grouped_moments(dense[s : s + 1])
            for name, total in totals.items():
                mean, variance = found[f"gamma_{name}"]
                total += np.stack([mean[0], mean[0] ** 2, variance[0]])
    result = {}
    for name, total in totals.items():
        mean, square, within = total / number
        sd = np.sqrt(within + np.maximum(square - mean**2, 0.0) * number / (number - 1))
        lower, upper = (mean + ndtri(level) * sd for level in levels)
        result[name] = Spread(sd, lower, upper)
    return result
