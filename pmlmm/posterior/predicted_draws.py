"""Joint draws of the linear predictor of any rows, groups included that the fit has not seen."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from pmlmm.design.grouping import Grouping
from pmlmm.kernels.layout import SIGMA
from pmlmm.posterior.draws import WeightedDraws, drawn_from
from pmlmm.posterior.labels import covariances
from pmlmm.posterior.new_rows import Rows
from pmlmm.posterior.source import Posterior

#: Numbers that predictions for all draws may take unless more are asked for.
MOST_DRAWN = 100_000_000
# Numbers of parameters that are held at a time.
_CHUNK = 20_000_000


class Chunk(NamedTuple):
    """Some of the draws: which ones, all their parameters by name, and ``gamma`` with groups not seen at the end.

    Attributes
    ----------
    which : (draws,) int array
    values : dict
    gamma : list of (draws, groups, q) arrays
    """

    which: np.ndarray
    values: dict[str, np.ndarray]
    gamma: list[np.ndarray]


class PredictedDraws:
    """Draws of equal weight of a posterior, and what they predict.

    Attributes
    ----------
    sigma : (draws,) array
    """

    def __init__(self, posterior: Posterior, number: int, rng: np.random.Generator):
        self.posterior, self._rng = posterior, rng
        self._draws, _ = posterior.resample(number, rng)
        self.sigma = self._draws.natural[:, SIGMA]

    def __len__(self) -> int:
        return len(self.sigma)

    def chunks(self, rows: Rows, codes: list[np.ndarray]) -> Iterator[Chunk]:
        """The parameters that rows need, so many draws at a time as fit in memory.

        ``codes`` are groups by term; of those beyond the fit's the effects are drawn from ``N(0, Sigma)`` of each draw.
        """
        design, unseen = self.posterior.design, self._unseen(codes)
        terms = design.terms if rows.Zs else ()
        each = design.numbers_each(gamma=bool(terms), wide=bool(rows.wide))
        each += sum(count * term.q for count, term in zip(unseen, terms, strict=True))
        for index in np.array_split(_order(self._draws), -(-len(self) * each // _CHUNK)):
            draws = self._draws.take(index)
            values = draws.draw(self._rng, gamma=bool(terms), wide=bool(rows.wide))
            known = [values[f"gamma_{term.name}"] for term in terms]
            new = _new_effects(draws, unseen, self._rng) if terms else []
            joined = [np.concatenate(pair, axis=1) for pair in zip(known, new, strict=True)]
            yield Chunk(index, values, joined)

    def _unseen(self, codes: list[np.ndarray]) -> list[int]:
        """Numbers of groups, by term, that the fit has not seen."""
        terms = self.posterior.design.terms[: len(codes)]
        return [max(int(c.max(initial=-1)) + 1 - t.n_groups, 0) for c, t in zip(codes, terms, strict=True)]

    def predictor(self, rows: Rows) -> np.ndarray:
        """``offset + X beta + Z gamma`` of every draw, (draws, n); rows of one new group share its effects."""
        terms = self.posterior.design.terms if rows.Zs else ()
        found = {term.factor: _numbered(term.grouping, rows) for term in terms}
        codes = [found[term.factor] for term in terms]
        return self._predictor(rows, codes, self.chunks(rows, codes))

    def deviations(self, rows: Rows, chunks: Iterable[Chunk] | None = None) -> np.ndarray:
        """The same less its mean, each row by itself: all that is drawn for one new group serves all of them.

        ``chunks`` are draws that there are already.
        """
        codes = shared_codes(self.posterior, rows)
        total = self._predictor(rows, codes, chunks or self.chunks(rows, codes))
        total -= total.mean(axis=0)
        return total

    def _predictor(self, rows: Rows, codes: list[np.ndarray], chunks: Iterable[Chunk]) -> np.ndarray:
        total = np.empty((len(self), rows.n_rows))
        for chunk in chunks:
            part = chunk.values["beta"] @ rows.X.T
            for block in rows.wide:
                beta = chunk.values[f"beta_{block.name}"]
                for columns, values in block.chunks():
                    part += beta[:, columns] @ values.T
            for gamma, Z, group in zip(chunk.gamma, rows.Zs, codes, strict=True):
                for a in range(Z.shape[1]):
                    part += gamma[:, group, a] * Z[:, a]
            total[chunk.which] = part
        return total if rows.offset is None else total + rows.offset

    def sd_and_ends(
        self, rows: Rows, tails: tuple[float, float], response: bool, chunks: Iterable[Chunk] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Standard deviation (n,), and quantiles (n, 2) less the mean, of the draws of each row.

        With ``response`` of a new observation: sigma^2 is added to the variance as it is, and one set of errors in all
        rows keeps curves smooth.
        """
        total = self.deviations(rows, chunks)
        variance = np.mean(total**2, axis=0)
        if response:
            variance += np.mean(self.sigma**2) * rows.noise_sd**2
            total += (self.sigma * self._errors())[:, None] * rows.noise_sd
        ends = np.quantile(total, tails, axis=0).T if rows.n_rows else np.empty((0, 2))
        return np.sqrt(variance), ends

    def _errors(self) -> np.ndarray:
        """A standard normal error for each draw, (draws,): quantiles in random order."""
        number = len(self)
        return self._rng.permutation(ndtri((np.arange(number) + 0.5) / number))


def shared_codes(posterior: Posterior, rows: Rows) -> list[np.ndarray]:
    """Group of each row by term, (n,): all that the fit has not seen are one, after the others."""
    terms = posterior.design.terms if rows.Zs else ()
    return [np.where(rows.codes[t.factor] >= 0, rows.codes[t.factor], t.n_groups) for t in terms]


def _numbered(grouping: Grouping, rows: Rows) -> np.ndarray:
    """Group of each row, (n,): those that the fit has not seen come after the others, in the order of their rows.

    A row without a label is a group of its own.
    """
    codes = rows.codes[grouping.factor].copy()
    unseen = np.flatnonzero(codes < 0)
    if len(unseen):
        labels = rows.table.frame[list(grouping.columns)].iloc[unseen]
        own = labels.isna().any(axis=1).to_numpy()
        number = labels.groupby(list(grouping.columns), sort=False, observed=True, dropna=False).ngroup().to_numpy()
        number = np.where(own, len(unseen) + np.arange(len(unseen)), number)
        codes[unseen] = grouping.n_groups + pd.factorize(number)[0]
    return codes


def _new_effects(draws: WeightedDraws, unseen: list[int], rng: np.random.Generator) -> list[np.ndarray]:
    """gamma of groups that the fit has not seen, (draws, groups, q) for each term, on the user's scale."""
    design, result = draws.problem.design, []
    origins = draws.problem.statistics.origins
    for Sigma, origin, count in zip(covariances(draws.natural, design.sizes), origins, unseen, strict=True):
        result.append(origin.users_effects(drawn_from(Sigma, count, rng)))
    return result


def _order(draws: WeightedDraws) -> np.ndarray:
    """Draws of one lambda stand together: what they share is computed once."""
    number = len(draws.natural)
    return np.arange(number) if draws.log_lambda.ndim == 1 else np.lexsort(draws.log_lambda.T)
