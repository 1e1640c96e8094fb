"""Cross-products: the data are touched once, and every evaluation works on these sums."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pmlmm.design.design import Design
from pmlmm.kernels.coordinates import unvech, vech_indices
from pmlmm.kernels.likelihood import Crossproducts

# Designs whose entries agree to this fraction of their size are one design.
_SAME_DESIGN = 1e-12


@dataclass(frozen=True)
class Standardization:
    """How the columns of X and the response were shifted and scaled before the cross-products.

    ``X_used = (X - center) / scale`` and ``y_used = y - offset``. ``transform`` and ``shift`` lead
    back: ``beta = transform @ beta_used + shift``.
    """

    center: np.ndarray
    scale: np.ndarray
    offset: float
    transform: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Statistics:
    """Cross-products of one design.

    Attributes
    ----------
    S : (m, q, q) array
        ``Z_i'Z_i`` of each group.
    c : (m, q, p + 1) array
        ``Z_i'[X, y]`` of each group.
    gram : (p + 1, p + 1) array
        ``[X, y]'[X, y]``.
    """

    S: np.ndarray
    c: np.ndarray
    gram: np.ndarray
    n_rows: int
    standardization: Standardization

    @property
    def n_groups(self) -> int:
        return len(self.S)

    @cached_property
    def pooled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Distinct designs, their weights, and the cross-products pooled within them."""
        return pool(self.S, self.c)

    def crossproducts(self, penalty: np.ndarray) -> Crossproducts:
        """What the likelihood needs; ``penalty`` (p,) is the penalty group of each column."""
        return Crossproducts(*self.pooled, self.gram, penalty, float(self.n_rows))

    def mean_products_z(self) -> np.ndarray:
        """``Z'Z / n``, (q, q)."""
        return self.S.sum(axis=0) / self.n_rows

    def mean_square_z(self) -> np.ndarray:
        """Mean of z_a^2 over all rows, (q,)."""
        return np.diagonal(self.mean_products_z())


def standardization(X: np.ndarray, scaled: np.ndarray, intercept: int | None, offset: float) -> Standardization:
    """Centre and scale the columns marked in ``scaled`` (p,) to unit standard deviation.

    Columns are centred only where there is an intercept to take up the shift, as glmnet does.
    """
    p = X.shape[1]
    center, scale = np.zeros(p), np.ones(p)
    if scaled.any():
        deviation = X[:, scaled] - X[:, scaled].mean(axis=0)
        scale[scaled] = np.sqrt(np.mean(deviation**2, axis=0))
        if intercept is not None:
            center[scaled] = X[:, scaled].mean(axis=0)
    transform, shift = np.diag(1.0 / scale), np.zeros(p)
    if intercept is not None:
        transform[intercept] -= center / scale
        shift[intercept] = offset
    return Standardization(center, scale, offset, transform, shift)


def build_statistics(design: Design, standard: Standardization) -> Statistics:
    """Cross-products of the standardised design; O(n (q + p)^2)."""
    W = np.column_stack([(design.X - standard.center) / standard.scale, design.y - standard.offset])
    Z, grouping = design.Z, design.grouping
    q, width = Z.shape[1], W.shape[1]
    gram = W.T @ W
    if grouping is None:
        return Statistics(np.empty((0, 0, 0)), np.empty((0, 0, width)), gram, len(W), standard)

    def by_group(values: np.ndarray):
        return np.bincount(grouping.codes, weights=values, minlength=grouping.n_groups)

    rows, cols = vech_indices(q)
    vech_S = np.stack([by_group(Z[:, a] * Z[:, b]) for a, b in zip(rows, cols, strict=True)], axis=1)
    c = np.empty((grouping.n_groups, q, width))
    for a in range(q):
        for u in range(width):
            c[:, a, u] = by_group(Z[:, a] * W[:, u])
    return Statistics(unvech(vech_S, q), c, gram, len(W), standard)


def pool(S: np.ndarray, c: np.ndarray):
    """Merge groups that share a design, exactly.

    All sums over groups are quadratic in c, so the k cross-products of one design, stacked as
    k rows of length q w, may be replaced by the triangular factor of their QR decomposition:
    at most q w rows with the same Gram matrix.

    Returns
    -------
    designs : (D, q, q) array
    weights : (D,) array
        Number of groups of each design.
    starts : (D + 1,) int array
    cross : (K, q, w) array
        ``cross[starts[d]:starts[d + 1]]`` belongs to design d.
    """
    m, q, width = c.shape
    if q == 0:
        return np.empty((0, 0, 0)), np.empty(0), np.zeros(1, dtype=int), np.empty((0, 0, width))
    labels, first = _same_designs(S)
    weights = np.bincount(labels, minlength=len(first)).astype(float)
    if len(first) == m:
        return S, np.ones(m), np.arange(m + 1), c
    order = np.argsort(labels, kind="stable")
    stacks = np.split(c[order].reshape(m, q * width), np.cumsum(weights.astype(int))[:-1])
    reduced = [np.linalg.qr(x, mode="r") if len(x) > q * width else x for x in stacks]
    starts = np.concatenate([[0], np.cumsum([len(x) for x in reduced])])
    return S[first], weights, starts, np.concatenate(reduced).reshape(-1, q, width)


def _same_designs(S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label of each group's design, and one group of each design.

    Groups are sorted by a fixed random projection of vech S; a group joins its predecessor's design
    where all entries agree.
    """
    m, q = S.shape[:2]
    rows, cols = vech_indices(q)
    vech_S = S[:, rows, cols]
    scale = np.sqrt(np.diagonal(S, axis1=1, axis2=2).mean(axis=0))
    scaled = vech_S / np.maximum(scale[rows] * scale[cols], np.finfo(float).tiny)
    order = np.argsort(scaled @ np.random.default_rng(0).normal(size=len(rows)), kind="stable")
    ordered = scaled[order]
    step = np.abs(np.diff(ordered, axis=0))
    new = (step > _SAME_DESIGN * (1.0 + np.abs(ordered[1:]))).any(axis=1)
    label = np.concatenate([[0], np.cumsum(new)])
    labels = np.empty(m, dtype=int)
    labels[order] = label
    first = order[np.concatenate([[0], 1 + np.flatnonzero(new)])]
    return labels, first
