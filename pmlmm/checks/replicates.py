"""Replicated responses of the fit's rows, from the posterior, for the same groups or for new ones."""

import numpy as np
import pandas as pd

from pmlmm.checks.predictive import new_effects
from pmlmm.errors import OptionError, suggest
from pmlmm.kernels.layout import SIGMA
from pmlmm.memory import refuse_draws
from pmlmm.options import count
from pmlmm.posterior.draws import PREDICTOR, WeightedDraws, linear_predictor
from pmlmm.posterior.source import Posterior

_GROUPS = ("known", "new")


def simulate(posterior: Posterior, number: int, groups: str, random_seed: int) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.simulate`."""
    number, design = count("number", number), posterior.design
    if groups not in _GROUPS:
        raise OptionError(f"simulate(groups={groups!r})." + suggest(groups, _GROUPS))
    each = design.n_rows + design.numbers_each(gamma=True, wide=False)
    refuse_draws(number, each, f"simulate(number={number})")
    rng = np.random.default_rng([random_seed, 12])
    draws = posterior.resample(number, rng)[0]
    if groups == "known":
        predictor = draws.draw(rng, gamma=False, wide=False, predictor=True)[PREDICTOR]
    else:
        predictor = _of_new_groups(draws, rng)
    sigma = draws.natural[:, SIGMA, None] * design.noise_sd
    replicated = predictor + sigma * rng.standard_normal(predictor.shape)
    return design.table.aligned(replicated.T).set_axis(range(1, number + 1), axis=1)


def _of_new_groups(draws: WeightedDraws, rng: np.random.Generator) -> np.ndarray:
    """``X beta + Z gamma`` with the effects of as many new groups of the same rows, (draws, n)."""
    problem = draws.problem
    beta, alpha = draws.fixed_effects(rng)
    gamma = new_effects(problem, draws.natural, rng)
    columns = [block.columns for block in problem.statistics.wide]
    wide = alpha @ np.hstack(columns).T if columns else 0.0
    return linear_predictor(problem.design, problem.statistics.terms, beta, gamma) + wide
