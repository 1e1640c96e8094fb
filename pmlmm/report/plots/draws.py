"""Draws that pictures are made from, their intervals, and the effects that a picture is of."""

from typing import NamedTuple

import numpy as np

from pmlmm.design.design import Design
from pmlmm.design.grouping import Grouping
from pmlmm.design.term import Term
from pmlmm.errors import OptionError, suggest
from pmlmm.options import ends
from pmlmm.posterior.source import Posterior

# A picture needs no more numbers than this in its draws, and no fewer draws.
_NUMBERS, _FEWEST = 4_000_000, 200


class Effects(NamedTuple):
    """Random effects of one factor: terms with the columns of these that a picture is of."""

    grouping: Grouping
    terms: tuple[Term, ...]

    @property
    def names(self) -> list[str]:
        return [name for term in self.terms for name in term.coefficients]

    @property
    def Z(self) -> np.ndarray:
        return np.hstack([term.Z for term in self.terms])

    def stacked(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """gamma of all terms side by side: (..., groups, q)."""
        return np.concatenate([np.asarray(values[f"gamma_{term.name}"]) for term in self.terms], axis=-1)


def effects_of(design: Design, term: str | None) -> list[Effects]:
    """Of a term, of all terms on a factor, or of each factor."""
    every = [Effects(g, tuple(found for found in design.terms if found.factor == g.factor)) for g in design.groupings]
    if not every:
        raise OptionError("The model has no random effects to show.")
    if term is None:
        return every
    chosen = [e for e in every if e.grouping.factor == term]
    chosen = chosen or [Effects(found.grouping, (found,)) for found in design.terms if found.name == term]
    if not chosen:
        choices = dict.fromkeys([*(g.factor for g in design.groupings), *(found.name for found in design.terms)])
        raise OptionError(f"term={term!r} is no random-effect term of the model." + suggest(term, choices))
    return chosen


def joint_draws(posterior: Posterior, *, gamma: bool = False, predictor: bool = False) -> dict[str, np.ndarray]:
    """Draws of equal weight by name, (draws, ...), fewer of them where there are very many groups or rows.

    Where there are not, those of :attr:`pmlmm.Fit.posterior`.
    """
    design, learned = posterior.design, posterior.learned
    each = design.random_effects + predictor * design.n_rows if gamma or predictor else 1
    number = int(np.clip(_NUMBERS // max(1, each), _FEWEST, learned.number_of_draws))
    rng = np.random.default_rng([learned.options.random_seed, 1])
    return posterior.groups(number, rng, gamma=gamma, wide=False, predictor=predictor)[1]


def bounds(draws: np.ndarray, interval: float) -> np.ndarray:
    """Lower and upper end over the draws: (2, ...)."""
    return np.quantile(draws, ends(interval), axis=0)
