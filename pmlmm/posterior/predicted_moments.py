"""Intervals of very many rows: moments of the draws by group, and quantiles calibrated on a sample of rows."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from pmlmm.posterior.new_rows import Rows
from pmlmm.posterior.predicted_draws import Chunk, PredictedDraws, shared_codes

# Rows of each kind of which quantiles are taken from draws.
_SAMPLED = 500
# Moments by group pay where there are so many rows to a group.
_ROWS_EACH = 8
# Numbers that are held at a time.
_CHUNK = 20_000_000


def many_rows(
    drawn: PredictedDraws, rows: Rows, tails: tuple[float, float], response: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation (n,), and quantiles (n, 2) less the mean, as :meth:`PredictedDraws.sd_and_ends` has them.

    The sds are those of the draws, from their covariances by group (or group of groups). Quantiles are the sds times
    standardised quantiles, which are averages over 500 rows of each kind (one kind for every set of factors of which
    the fit has not seen the row's group). The rows of a kind differ in these: by .02 to .05 in the studies of the
    tests, less than the Monte Carlo error of a 2.5% quantile of 2,000 draws (.06).
    """
    codes = shared_codes(drawn.posterior, rows)
    chunks = None if rows.wide else list(drawn.chunks(rows, codes))
    sd, ends = np.sqrt(_variances(drawn, rows, codes, chunks)), np.empty((rows.n_rows, 2))
    if response:
        sd = np.hypot(sd, np.sqrt(np.mean(drawn.sigma**2)) * rows.noise_sd)
    for kind in _kinds(drawn, rows, codes):
        chosen = kind[np.unique(np.linspace(0, len(kind) - 1, _SAMPLED).astype(int))]
        own, quantiles = drawn.sd_and_ends(_some(rows, chosen), tails, response, chunks)
        ends[kind] = sd[kind, None] * np.mean(quantiles[own > 0.0] / own[own > 0.0, None], axis=0)
    return sd, ends


def _kinds(drawn: PredictedDraws, rows: Rows, codes: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows, by the terms whose group the fit has not seen."""
    terms = drawn.posterior.design.terms[: len(codes)]
    key = np.zeros(rows.n_rows, dtype=np.int64)
    for group, term in zip(codes, terms, strict=True):
        key = 2 * key + (group == term.n_groups)
    for value in np.unique(key):
        yield np.flatnonzero(key == value)


def _some(rows: Rows, chosen: np.ndarray) -> Rows:
    """Some of the rows."""
    return replace(
        rows,
        X=rows.X[chosen],
        Zs=[Z[chosen] for Z in rows.Zs],
        codes={factor: codes[chosen] for factor, codes in rows.codes.items()},
        wide=tuple(replace(block, rows=block.rows[chosen]) for block in rows.wide),
        table=replace(rows.table, frame=rows.table.frame.iloc[chosen], rows=rows.table.rows[chosen]),
        offset=None if rows.offset is None else rows.offset[chosen],
        noise_sd=rows.noise_sd if isinstance(rows.noise_sd, float) else rows.noise_sd[chosen],
    )


def _variances(drawn: PredictedDraws, rows: Rows, codes: list[np.ndarray], chunks: list[Chunk] | None) -> np.ndarray:
    """Variance of the draws of each row, (n,)."""
    each, first = _sets(codes, rows.n_rows)
    if chunks and len(first) * _ROWS_EACH <= rows.n_rows:
        return _by_set(chunks, rows, codes, each, first)
    return np.concatenate(
        [
            np.mean(drawn.deviations(_some(rows, np.arange(part.start, part.stop)), chunks) ** 2, axis=0)
            for part in _parts(rows.n_rows, len(drawn))
        ]
    )


def _parts(number: int, each: int) -> Iterator[slice]:
    """So many at a time as fit in memory, of ``number`` that take ``each`` numbers."""
    step = max(1, _CHUNK // each)
    return (slice(first, min(first + step, number)) for first in range(0, number, step))


def _sets(codes: list[np.ndarray], n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Which set of groups each row belongs to, (n,), and the first row of each set."""
    each = np.zeros(n_rows, dtype=np.int64)
    for group in codes:
        each = pd.factorize(each * (int(group.max()) + 1) + group)[0]
    return each, np.unique(each, return_index=True)[1]


def _by_set(
    chunks: list[Chunk], rows: Rows, codes: list[np.ndarray], each: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """``f'C f + 2 f'C_i z + z'D_i z`` of each row, (n,), with the covariances of its set of groups, i."""
    x, Zs = _Columns(rows.X), [_Columns(Z) for Z in rows.Zs]
    beta = np.concatenate([chunk.values["beta"] for chunk in chunks])
    gammas = [np.concatenate([chunk.gamma[k] for chunk in chunks]) for k in range(len(codes))]
    slopes = beta[:, x.varying]
    slopes = slopes - slopes.mean(axis=0)
    width = 1 + sum(len(Z.varying) for Z in Zs)
    cross, own = np.empty((len(x.varying), width, len(first))), np.empty((width, width, len(first)))
    for part in _parts(len(first), len(beta) * width):
        groups = [gamma[:, group[first[part]]] for gamma, group in zip(gammas, codes, strict=True)]
        values = _at_mean(beta @ x.mean, groups, Zs)
        for a, value in enumerate(values):
            cross[:, a, part] = slopes.T @ value / len(beta)
            for b in range(a + 1):
                own[a, b, part] = own[b, a, part] = np.einsum("su,su->u", value, values[b]) / len(beta)
    z = [np.ones(rows.n_rows), *(column for Z in Zs for column in Z.values.T)]
    total = np.sum((x.values @ (slopes.T @ slopes / len(beta))) * x.values, axis=1)
    for a, left in enumerate(z):
        for j, column in enumerate(x.values.T):
            total += 2.0 * column * cross[j, a, each] * left
        for b, right in enumerate(z):
            total += own[a, b, each] * left * right
    return np.maximum(total, 0.0)


def _at_mean(common: np.ndarray, groups: list[np.ndarray], Zs: list["_Columns"]) -> list[np.ndarray]:
    """What the mean row is predicted in each set of groups, and slopes of the varying columns: (draws, sets) each.

    All less their means.
    """
    level, slopes = common[:, None], []
    for gamma, Z in zip(groups, Zs, strict=True):
        level = level + gamma @ Z.mean
        slopes += list(np.moveaxis(gamma[..., Z.varying], 2, 0))
    sets = max((slope.shape[1] for slope in slopes), default=level.shape[1])
    values = [np.broadcast_to(level, (len(level), sets)), *slopes]
    return [value - value.mean(axis=0) for value in values]


class _Columns:
    """Columns (n, k) as their mean, and what varies about it: raw years would cancel once they are squared."""

    def __init__(self, columns: np.ndarray):
        self.mean = columns.mean(axis=0)
        self.varying = np.flatnonzero(np.ptp(columns, axis=0) > 0.0)
        self.values = columns[:, self.varying] - self.mean[self.varying]
