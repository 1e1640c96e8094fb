"""What is eliminated before the dense columns, and how its derivatives reach them.

Two ways to integrate a part of the model out first; what is left are the dense columns W and their
cross-products ``Q = [W y]'[...][W y]``, a function of the covariance (or lambda) that went in:

groups
    The random effects of one grouping factor, group by group: ``Q = G - sum c_i'J_i c_i``.
ridge
    Penalised columns with more coefficients than the rows can tell apart, in the space of the rows:
    ``Q = [W y]'K^{-1}[W y]`` with ``K = I + sum_g X_g X_g' / lambda_g``.

Both offer ``eliminate(...)``: the log-determinant, Q, and the derivatives along their own parameters; and
``width``, the number of columns of ``[W y]``, with their sums of squares ``column_squares``.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.sparse import csr_array

from pmlmm.kernels import crossproducts, sparse
from pmlmm.kernels.coordinates import vech_indices


class Eliminated(Protocol):
    """One evaluation: ``log_det`` and ``Q`` (w, w), and derivatives along n parameters."""

    log_det: float
    Q: np.ndarray

    def gradient(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        """Of ``log_det + tr(J Q_WW) + scale w'Q w`` with J, w held: (n,)."""

    def slopes(self) -> np.ndarray:
        """``dQ / ds`` for every parameter: (n, w, w)."""

    def curvature(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        """Second derivatives of ``log_det + tr(J Q_WW) + scale w'Q w`` with J, w held: (n, n)."""


def kept_entries(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the vech entries of a block-diagonal matrix, block after block."""
    rows, cols, offset = [np.zeros(0, dtype=int)], [np.zeros(0, dtype=int)], 0
    for q in sizes:
        a, b = vech_indices(q)
        rows.append(offset + a)
        cols.append(offset + b)
        offset += q
    return np.concatenate(rows), np.concatenate(cols)


class _OneFactor:
    """What both ways of keeping one factor's cross-products have in common."""

    gram: np.ndarray
    sizes: tuple[int, ...]

    @cached_property
    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the covariance entries of all terms."""
        return kept_entries(self.sizes)

    @property
    def width(self) -> int:
        return len(self.gram)

    @property
    def column_squares(self) -> np.ndarray:
        """Sums of squares of ``[W, y]``, (w,)."""
        return np.diag(self.gram)


@dataclass(frozen=True, eq=False)
class Groups(_OneFactor):
    """Cross-products of one factor's groups, every column of W stored.

    Attributes
    ----------
    designs : (D, q, q) array
        The distinct ``Z_i'Z_i``; ``weights`` (D,) says how many groups have each.
    starts : (D + 1,) int array
        ``cross[starts[d]:starts[d + 1]]`` belongs to design d.
    cross : (K, q, w) array
        ``Z_i'[W, y]``, pooled within designs.
    gram : (w, w) array
        ``[W, y]'[W, y]``.
    sizes : tuple of int
        q of each term on the factor.
    """

    designs: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    cross: np.ndarray
    gram: np.ndarray
    sizes: tuple[int, ...]

    @property
    def design_starts(self) -> np.ndarray:
        return self.starts

    def eliminate(self, L: np.ndarray) -> "_GroupsAt":
        """At the relative covariance ``L L'``."""
        log_det, Q, B, D = crossproducts.reduce(self.designs, self.weights, self.starts, self.cross, self.gram, L)
        return _GroupsAt(log_det, Q, B, D, self)

    def eliminate_draws(self, L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``log_det`` (draws,) and ``Q`` (draws, w, w) for L (draws, q, q)."""
        return crossproducts.reduce_draws(self.designs, self.weights, self.starts, self.cross, self.gram, L)

    def work(self) -> float:
        """Floating-point operations of one elimination, about."""
        D, q = self.designs.shape[:2]
        K, width = len(self.cross), len(self.gram)
        return D * (8.0 * q**3 + 100.0) + K * q * width * (q + width)

    def _weigh(self, D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        return crossproducts.weigh(D, J, w, scale)

    def _products(self, D: np.ndarray) -> np.ndarray:
        return crossproducts.design_products(D, *self.entries)


@dataclass(frozen=True, eq=False)
class SparseGroups(_OneFactor):
    """Cross-products of one factor's groups, each with the columns of W that it touches.

    ``columns`` (entries,) and ``cross`` (entries, q) as in :mod:`pmlmm.kernels.sparse`; the other
    attributes are those of :class:`Groups`, with one design a group.
    """

    designs: np.ndarray
    starts: np.ndarray
    columns: np.ndarray
    cross: np.ndarray
    gram: np.ndarray
    sizes: tuple[int, ...]

    @cached_property
    def weights(self) -> np.ndarray:
        return np.ones(len(self.designs))

    @cached_property
    def design_starts(self) -> np.ndarray:
        return np.arange(len(self.designs) + 1)

    def eliminate(self, L: np.ndarray) -> "_GroupsAt":
        """At the relative covariance ``L L'``."""
        parts = sparse.reduce(self.designs, self.starts, self.columns, self.cross, self.gram, L)
        return _GroupsAt(*parts, self)

    def eliminate_draws(self, L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``log_det`` (draws,) and ``Q`` (draws, w, w) for L (draws, q, q)."""
        return sparse.reduce_draws(self.designs, self.starts, self.columns, self.cross, self.gram, L)

    def work(self) -> float:
        """Floating-point operations of one elimination, about."""
        m, q = self.designs.shape[:2]
        return m * (8.0 * q**3 + 100.0) + 2.0 * q * float(np.sum(np.diff(self.starts) ** 2.0))

    def products(self, weights: np.ndarray) -> np.ndarray:
        """``c_i w`` of each group for rows w of ``weights`` (k, w): (k, m, q)."""
        m, q = self.designs.shape[:2]
        shape = (m, len(self.gram))
        effects = [csr_array((self.cross[:, a], self.columns, self.starts), shape=shape) for a in range(q)]
        return np.stack([(matrix @ weights.T).T for matrix in effects], axis=-1)

    def _weigh(self, D: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        return sparse.weigh(self.starts, self.columns, D, J, w, scale)

    def _products(self, D: np.ndarray) -> np.ndarray:
        return sparse.design_products(self.starts, self.columns, D, *self.entries, len(self.gram))


@dataclass(eq=False)
class _GroupsAt:
    """Groups eliminated at one relative covariance; its parameters are the entries of that, vech by vech."""

    log_det: float
    Q: np.ndarray
    B: np.ndarray
    D: np.ndarray
    source: Groups | SparseGroups
    _weighed: tuple | None = field(default=None, init=False)

    def _weights(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        if self._weighed is None or self._weighed[0] is not J:
            self._weighed = (J, self.source._weigh(self.D, J, w, scale))
        return self._weighed[1]

    def gradient(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        rows, cols = self.source.entries
        total = np.tensordot(self.source.weights, self.B, axes=1) - self._weights(J, w, scale).sum(axis=0)
        return np.where(rows == cols, 1.0, 2.0) * total[rows, cols]

    def slopes(self) -> np.ndarray:
        return -self.source._products(self.D)

    def curvature(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        source = self.source
        weights = self._weights(J, w, scale)
        BB, BN = crossproducts.couple(self.B, source.weights, source.design_starts, weights, *source.entries)
        return BN - BB


@dataclass(eq=False)
class Rotated:
    """One penalty group, eliminated in the eigenbasis of ``X X'``.

    Attributes
    ----------
    squares : (rank,) array
        Eigenvalues of ``X X'``.
    projected : (rank, w) array
        ``U'[W, y]``, U the eigenvectors.
    gram : (w, w) array
        ``[W, y]'[W, y]``.
    """

    squares: np.ndarray
    projected: np.ndarray
    gram: np.ndarray

    _last: "tuple[float, _RotatedAt] | None" = field(default=None, init=False)

    def eliminate(self, log_lambda: np.ndarray) -> "_RotatedAt":
        """At one lambda, ``log_lambda`` (1,); the last one is remembered, as modes are found at one lambda."""
        value, last = float(log_lambda[0]), self._last
        if last is None or last[0] != value:
            excess = self.squares * np.exp(-value)
            last = self._last = value, _RotatedAt(excess / (1.0 + excess), float(np.sum(np.log1p(excess))), self)
        return last[1]

    @property
    def width(self) -> int:
        return len(self.gram)

    @property
    def column_squares(self) -> np.ndarray:
        """Sums of squares of ``[W, y]``, (w,)."""
        return np.diag(self.gram)


@dataclass(eq=False)
class _RotatedAt:
    """``shrunk = d^2 / (lambda + d^2)``; the parameter is log lambda."""

    shrunk: np.ndarray
    log_det: float
    source: Rotated

    @cached_property
    def Q(self) -> np.ndarray:
        C = self.source.projected
        return self.source.gram - (C.T * self.shrunk) @ C

    def gradient(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        return np.array([_weighted(self.slopes()[0], J, w, scale) - np.sum(self.shrunk)])

    def slopes(self) -> np.ndarray:
        return self._slope[None]

    @cached_property
    def _slope(self) -> np.ndarray:
        C, s = self.source.projected, self.shrunk
        return (C.T * (s * (1.0 - s))) @ C

    def curvature(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        s = self.shrunk
        return np.array([[_weighted(self._second, J, w, scale) + np.sum(s * (1.0 - s))]])

    def seconds(self) -> np.ndarray:
        """Second derivatives of Q, (1, 1, w, w)."""
        return self._second[None, None]

    @cached_property
    def _second(self) -> np.ndarray:
        C, s = self.source.projected, self.shrunk
        return (C.T * (s * (1.0 - s) * (2.0 * s - 1.0))) @ C


@dataclass(eq=False)
class Kernels:
    """Several penalty groups, eliminated through their kernels.

    Attributes
    ----------
    kernels : (g, n, n) array
        ``X_g X_g'`` of each group.
    rows : (n, w) array
        ``[W, y]``.
    """

    kernels: np.ndarray
    rows: np.ndarray

    _last: "tuple[bytes, _KernelsAt] | None" = field(default=None, init=False)

    def eliminate(self, log_lambda: np.ndarray) -> "_KernelsAt":
        """At one lambda a group, ``log_lambda`` (g,); the last ones are remembered."""
        key, last = log_lambda.tobytes(), self._last
        if last is None or last[0] != key:
            last = self._last = key, _KernelsAt(self.kernels * np.exp(-log_lambda)[:, None, None], self.rows)
        return last[1]

    @property
    def width(self) -> int:
        return self.rows.shape[1]

    @property
    def column_squares(self) -> np.ndarray:
        """Sums of squares of ``[W, y]``, (w,)."""
        return np.sum(self.rows**2, axis=0)


@dataclass(eq=False)
class _KernelsAt:
    """``K = I + sum_g scaled_g``; the parameters are log lambda of the groups."""

    scaled: np.ndarray
    rows: np.ndarray

    @cached_property
    def inverse(self) -> np.ndarray:
        return np.linalg.inv(np.eye(len(self.rows)) + self.scaled.sum(axis=0))

    @cached_property
    def log_det(self) -> float:
        return -float(np.linalg.slogdet(self.inverse)[1])

    @cached_property
    def _solved(self) -> np.ndarray:
        return self.inverse @ self.rows

    @cached_property
    def Q(self) -> np.ndarray:
        Q = self.rows.T @ self._solved
        return 0.5 * (Q + Q.T)

    @cached_property
    def _shares(self) -> np.ndarray:
        """``K^{-1} scaled_g``: (g, n, n)."""
        return self.inverse @ self.scaled

    @cached_property
    def _slopes(self) -> np.ndarray:
        return self._solved.T @ self.scaled @ self._solved

    def slopes(self) -> np.ndarray:
        return self._slopes

    def gradient(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        traces = np.trace(self._shares, axis1=1, axis2=2)
        return np.array([_weighted(Q, J, w, scale) for Q in self._slopes]) - traces

    def seconds(self) -> np.ndarray:
        """Second derivatives of Q, (g, g, w, w)."""
        return self._seconds

    @cached_property
    def _seconds(self) -> np.ndarray:
        moved = self.scaled @ self._solved
        cross = np.einsum("gnu,nk,hkv->ghuv", moved, self.inverse, moved, optimize=True)
        seconds = cross + np.swapaxes(cross, 2, 3)
        for g, slope in enumerate(self._slopes):
            seconds[g, g] -= slope
        return seconds

    @cached_property
    def _log_det_curvature(self) -> np.ndarray:
        shares = self._shares
        curvature = -np.tensordot(shares, shares, axes=([1, 2], [2, 1]))
        return curvature + np.diag(np.trace(shares, axis1=1, axis2=2))

    def curvature(self, J: np.ndarray, w: np.ndarray, scale: float) -> np.ndarray:
        groups = range(len(self.scaled))
        weighted = [[_weighted(self._seconds[g, h], J, w, scale) for h in groups] for g in groups]
        return np.array(weighted) + self._log_det_curvature


def _weighted(matrix: np.ndarray, J: np.ndarray, w: np.ndarray, scale: float) -> float:
    """``tr(J matrix_WW) + scale w' matrix w``; J may be of size 0."""
    r = len(J)
    return float(np.sum(J * matrix[:r, :r]) + scale * (w @ matrix @ w))
