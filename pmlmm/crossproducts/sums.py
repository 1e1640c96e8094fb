"""Sums of products over the rows of each group, and their merging where designs are the same."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy import sparse

from pmlmm.design.grouping import Grouping
from pmlmm.kernels.coordinates import unvech, vech_indices

# Designs whose entries agree to this fraction of their size are one design.
_SAME_DESIGN = 1e-12


class GroupedColumns(Protocol):
    """Columns whose effects differ between groups: a random-effect term, or several on one factor."""

    @property
    def Z(self) -> np.ndarray:
        """(n, q)."""

    @property
    def grouping(self) -> Grouping:
        """Of the rows."""

    @property
    def n_groups(self) -> int:
        """m."""

    @property
    def q(self) -> int:
        """Columns."""


class Joint(NamedTuple):
    """The columns of all terms on one factor side by side."""

    Z: np.ndarray
    grouping: Grouping

    @property
    def n_groups(self) -> int:
        return self.grouping.n_groups

    @property
    def q(self) -> int:
        return self.Z.shape[1]


def products_by_group(term: GroupedColumns) -> np.ndarray:
    """``Z_i'Z_i`` of each group, (m, q, q)."""
    Z, codes, m = term.Z, term.grouping.codes, term.n_groups
    rows, cols = vech_indices(term.q)
    entries = [np.bincount(codes, weights=Z[:, a] * Z[:, b], minlength=m) for a, b in zip(rows, cols, strict=True)]
    return unvech(np.stack(entries, axis=1), term.q)


def by_level(term: GroupedColumns, M: np.ndarray) -> np.ndarray:
    """``Z_i'M_i`` of each group, (m, q, columns of M)."""
    codes, m = term.grouping.codes, term.n_groups
    order = np.argsort(codes, kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=m))])
    sums = [sparse.csr_array((term.Z[order, a], order, edges), shape=(m, len(codes))) @ M for a in range(term.q)]
    return np.stack(sums, axis=1)


def between(left: GroupedColumns, right: GroupedColumns) -> np.ndarray:
    """``Z_1'Z_2`` of two terms with a column for every effect of every group: (m_1 q_1, m_2 q_2)."""
    m, k = left.n_groups, right.n_groups
    key = left.grouping.codes * k + right.grouping.codes
    result = np.empty((m, left.q, k, right.q))
    for a in range(left.q):
        for b in range(right.q):
            sums = np.bincount(key, weights=left.Z[:, a] * right.Z[:, b], minlength=m * k)
            result[:, a, :, b] = sums.reshape(m, k)
    return result.reshape(m * left.q, k * right.q)


def touched(
    term: GroupedColumns, others: Sequence[GroupedColumns], M: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cross-products of each group with the columns of ``[Z_2, ..., M]`` that it touches.

    Returns
    -------
    starts : (m + 1,) int array
    columns : (entries,) int array
        Ascending within groups.
    cross : (entries, q) array
    """
    m, codes = term.n_groups, term.grouping.codes
    groups, columns, cross, offset = [], [], [], 0
    for other in others:
        key, inverse = np.unique(codes * other.n_groups + other.grouping.codes, return_inverse=True)
        group, level = np.divmod(key, other.n_groups)
        for b in range(other.q):
            weights = (term.Z[:, a] * other.Z[:, b] for a in range(term.q))
            cross.append(np.stack([np.bincount(inverse, weights=x, minlength=len(key)) for x in weights], axis=1))
            groups.append(group)
            columns.append(offset + level * other.q + b)
        offset += other.n_groups * other.q
    width = M.shape[1]
    cross.append(by_level(term, M).transpose(0, 2, 1).reshape(m * width, term.q))
    groups.append(np.repeat(np.arange(m), width))
    columns.append(offset + np.tile(np.arange(width), m))
    group, column = np.concatenate(groups), np.concatenate(columns)
    order = np.lexsort((column, group))
    starts = np.concatenate([[0], np.cumsum(np.bincount(group, minlength=m))])
    return starts, column[order], np.concatenate(cross)[order]


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
