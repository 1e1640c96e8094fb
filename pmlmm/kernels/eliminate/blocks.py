"""Blocks of dense columns with a proper prior, and the change to coordinates in which it is standard.

Effects of a block have prior covariance ``sigma^2 (I x S)``, ``S = L L'``: levels of a grouping factor, or penalised
coefficients with ``S = 1 / lambda``. Whitened by ``Lambda = blockdiag(I x L_1, ..., I x L_k, I)`` they are standard.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels.jit import kernel


class Block(NamedTuple):
    """Columns ``start`` to ``start + levels * q`` of W, level by level.

    ``parameter`` is the number of the random-effect term, or of the penalty group (``ridge``).
    """

    start: int
    levels: int
    q: int
    parameter: int
    ridge: bool

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.levels * self.q)


@kernel
def apply_to_rows(matrix: np.ndarray, start: int, levels: int, roots: np.ndarray):
    """matrix[s, cell] = root' matrix[s, cell] for every cell of q rows, in place; one root, or one a matrix."""
    q, width = roots.shape[1], matrix.shape[2]
    cell = np.empty((q, width))
    for s in range(matrix.shape[0]):
        root = roots[s if roots.shape[0] > 1 else 0]
        for level in range(levels):
            first = start + level * q
            for a in range(q):
                for k in range(width):
                    cell[a, k] = 0.0
                for b in range(q):
                    for k in range(width):
                        cell[a, k] += root[b, a] * matrix[s, first + b, k]
            for a in range(q):
                for k in range(width):
                    matrix[s, first + a, k] = cell[a, k]


@kernel
def apply_to_columns(matrix: np.ndarray, start: int, levels: int, roots: np.ndarray):
    """matrix[s, :, cell] = matrix[s, :, cell] root for every cell of q columns, in place."""
    q = roots.shape[1]
    cell = np.empty(q)
    for s in range(matrix.shape[0]):
        root = roots[s if roots.shape[0] > 1 else 0]
        for row in range(matrix.shape[1]):
            for level in range(levels):
                first = start + level * q
                for a in range(q):
                    cell[a] = 0.0
                    for b in range(q):
                        cell[a] += matrix[s, row, first + b] * root[b, a]
                for a in range(q):
                    matrix[s, row, first + a] = cell[a]


def whiten_rows(matrix: np.ndarray, blocks: tuple[Block, ...], roots: list[np.ndarray]) -> np.ndarray:
    """``Lambda' matrix`` for (r, k) or (draws, r, k): a copy."""
    result = np.array(matrix, dtype=float, order="C")
    stack = result[None] if result.ndim == 2 else result
    for block, root in zip(blocks, roots, strict=True):
        if block.q == 1:
            result[..., block.columns, :] *= root[..., :1, :1]
        else:
            apply_to_rows(stack, block.start, block.levels, _stacked(root))
    return result


def unwhiten(vectors: np.ndarray, blocks: tuple[Block, ...], roots: list[np.ndarray]) -> np.ndarray:
    """``Lambda vectors`` for (r, k) or (draws, r, k): effects on the scale of W from standard ones."""
    return whiten_rows(vectors, blocks, [np.swapaxes(root, -1, -2) for root in roots])


def whiten(matrix: np.ndarray, blocks: tuple[Block, ...], roots: list[np.ndarray]) -> np.ndarray:
    """``Lambda' matrix Lambda`` for (r, r) or (draws, r, r): a copy."""
    result = whiten_rows(matrix, blocks, roots)
    stack = result[None] if result.ndim == 2 else result
    for block, root in zip(blocks, roots, strict=True):
        if block.q == 1:
            result[..., block.columns] *= root[..., :1, :1]
        else:
            apply_to_columns(stack, block.start, block.levels, _stacked(root))
    return result


def _stacked(root: np.ndarray) -> np.ndarray:
    """One root as a stack of one, contiguous."""
    return np.ascontiguousarray(root.reshape(-1, *root.shape[-2:]))


def proper(blocks: tuple[Block, ...], r: int) -> np.ndarray:
    """1 for columns with a proper prior, 0 for flat ones: (r,)."""
    covered = blocks[-1].columns.stop if blocks else 0
    return (np.arange(r) < covered).astype(float)
