"""Wide blocks centred, scaled, and turned into a basis of the row space where they have more columns than rows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pmlmm.design.weights import mean_of
from pmlmm.design.wide import WideBlock
from pmlmm.errors import DataError

# Directions of the rows with less than this share of the largest variance are rounding.
_NO_DIRECTION = 1e-12
# Up to so many numbers blocks that are not centred are decomposed as they are.
_EXACT = 20_000_000


@dataclass(frozen=True, eq=False)
class StandardizedBlock:
    """A block centred and scaled, in a basis of the row space where it has more columns than rows.

    With ``X = (matrix - center) / scale`` (n, p) and ``X X' = U diag(d^2) U'``, the ridge on beta is
    the same ridge on ``alpha``, ``X beta = (U d) alpha``, and ``beta = X'U d^{-1} alpha`` + a part that the
    data do not see, whose law is its prior.

    Attributes
    ----------
    block : WideBlock
    center, scale : (p,) arrays
    columns : (n, rank) array
        ``U d``, or X itself where p <= n (``basis`` is None then).
    basis : (n, rank) array or None
        ``U / d``.
    """

    block: WideBlock
    center: np.ndarray
    scale: np.ndarray
    columns: np.ndarray
    basis: np.ndarray | None

    @property
    def rank(self) -> int:
        return self.columns.shape[1]

    def directions(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of ``C'C``, C the ``columns`` or weighted ones, that are not rounding, and vectors (rank, k)."""
        if self.basis is not None and columns is self.columns:  # U d is its own decomposition
            return np.sum(columns**2, axis=0), np.eye(self.rank)
        squares, vectors = np.linalg.eigh(columns.T @ columns)
        kept = squares > _NO_DIRECTION * squares[-1]
        return squares[kept], vectors[:, kept]

    def standardized(self) -> Iterator[tuple[slice, np.ndarray]]:
        """X in chunks of columns."""
        for part, values in self.block.chunks():
            yield part, (values - self.center[part]) / self.scale[part]

    def coefficients(self, alpha: np.ndarray) -> np.ndarray:
        """The part of beta that the data see, (k, p), on the user's scale, for alpha (k, rank)."""
        if self.basis is None:
            return alpha / self.scale
        rows = alpha @ self.basis.T
        result = np.empty((len(alpha), self.block.p))
        for part, X in self.standardized():
            result[:, part] = rows @ X
        return result / self.scale

    def variances(self, covariance: np.ndarray, unseen: float) -> np.ndarray:
        """Posterior variance of every beta on the user's scale, (p,), without a p x p matrix.

        Parameters
        ----------
        covariance : (rank, rank) array
            Of alpha.
        unseen : float
            Prior variance ``sigma^2 / lambda`` of what the data do not see.
        """
        if self.basis is None:
            return np.diag(covariance) / self.scale**2
        root = _root(covariance)
        result = np.empty(self.block.p)
        for part, X in self.standardized():
            directions = self.basis.T @ X
            hidden = 1.0 - np.sum(directions**2, axis=0)
            result[part] = np.sum((root.T @ directions) ** 2, axis=0) + unseen * np.maximum(hidden, 0.0)
        return result / self.scale**2

    def draw(self, alpha: np.ndarray, unseen_sd: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draws of all beta on the user's scale, (k, p), for draws of alpha (k, rank).

        ``unseen_sd`` (k,) is the prior sd of what the data do not see.
        """
        if self.basis is None:
            return alpha / self.scale
        result = rng.standard_normal((len(alpha), self.block.p)) * unseen_sd[:, None]
        missing = alpha.copy()
        for part, X in self.standardized():
            missing -= result[:, part] @ (X.T @ self.basis)
        rows = missing @ self.basis.T
        for part, X in self.standardized():
            result[:, part] += rows @ X
        return result / self.scale

    @cached_property
    def shift(self) -> tuple[np.ndarray, float]:
        """The functional ``center' beta`` (user's scale): its weights on alpha (rank,), and its length unseen."""
        weights, total = np.zeros(self.rank), 0.0
        ratio = self.center / self.scale
        if self.basis is None:
            return ratio, 0.0
        for part, X in self.standardized():
            weights += self.basis.T @ (X @ ratio[part])
            total += float(ratio[part] @ ratio[part])
        return weights, float(np.sqrt(max(total - float(weights @ weights), 0.0)))


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _check_scale(block: WideBlock, part: slice, scale: np.ndarray) -> None:
    bad = np.flatnonzero(~(np.isfinite(scale[part]) & (scale[part] > 0)))
    if len(bad):
        raise DataError(
            f"Column {str(block.labels[part][bad[0]])!r} of the penalised block {block.name!r} is too large or too "
            "small for its standard deviation to be computed: rescale it."
        )


def standardize(block: WideBlock, scaled: bool, centred: bool, weights: np.ndarray | None = None) -> StandardizedBlock:
    """Centre and scale a block (to unit sd), and rotate it where it has more columns than rows.

    ``weights`` (n,) are those of means and sds. O(n p min(n, p)) time; memory for an n x min(n, p) matrix beside the
    block itself.
    """
    center, scale = _centre_and_scale(block, scaled, centred, weights)
    standard = StandardizedBlock(block, center, scale, np.empty((0, 0)), None)
    n, p = len(block.rows), block.p
    if p <= n:
        return replace(standard, columns=_whole(standard))
    # squared, a large mean that is left in would drown everything else
    if not centred and n * p <= _EXACT:
        U, lengths, _ = np.linalg.svd(_whole(standard), full_matrices=False)
        squares, rounding = lengths**2, _NO_DIRECTION**2
    else:
        squares, U = np.linalg.eigh(sum((X @ X.T for _, X in standard.standardized()), np.zeros((n, n))))
        rounding = _NO_DIRECTION
    kept = squares > rounding * squares.max()
    lengths, U = np.sqrt(squares[kept]), U[:, kept]
    return replace(standard, columns=U * lengths, basis=U / lengths)


def _centre_and_scale(
    block: WideBlock, scaled: bool, centred: bool, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Of every column: its mean, where wanted, and its sd; 0 and 1 where it stays as it is."""
    center, scale = np.zeros(block.p), np.ones(block.p)
    for part, values in block.chunks() if scaled else ():
        mean = mean_of(values, weights)
        with np.errstate(all="ignore"):  # what is not finite is reported
            scale[part] = np.sqrt(mean_of((values - mean) ** 2, weights))
        _check_scale(block, part, scale)
        if centred:
            center[part] = mean
    return center, scale


def _whole(block: StandardizedBlock) -> np.ndarray:
    """All columns side by side, (n, p)."""
    columns = np.empty((len(block.block.rows), block.block.p))
    for part, X in block.standardized():
        columns[:, part] = X
    return columns
