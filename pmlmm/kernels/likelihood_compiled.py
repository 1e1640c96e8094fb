"""The marginal likelihood and its gradient as one compiled function of arrays, for samplers.

The same numbers as :func:`pmlmm.kernels.likelihood.evaluate` without the Hessian, callable from compiled code.
:func:`flatten` turns cross-products into the arrays that it takes; every kind of first elimination has its own
function (:mod:`pmlmm.kernels.eliminate.kinds`), made of common steps.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.eliminate.blocks import Block
from pmlmm.kernels.eliminate.kinds import KINDS, name_of
from pmlmm.kernels.interrupts import interruptible

#: The compiled likelihood of each kind of first elimination: ``(u, plan, first) -> value, gradient``.
FUNCTIONS = {name: kind.log_likelihood for name, kind in KINDS.items()}
#: Types and dimensions of the arrays that every kind has: sizes, levels, grouped, ridges, blocks, counts, absolute,
#: (gammas, n, log_weights).
PLAN = (("int64", 1),) * 4 + (("int64", 2), ("float64", 1), ("float64", 1), ("float64", 1))


def signature(kind: str) -> tuple[tuple[str, int], ...]:
    """Type and number of dimensions of every array of a :class:`FlatCrossproducts` of this kind."""
    return (*PLAN, *KINDS[kind].ARRAYS.values())


class FlatCrossproducts(NamedTuple):
    """Cross-products as arrays, in the order of :func:`signature`; ``kind`` says what is eliminated first."""

    kind: str
    arrays: tuple[np.ndarray, ...]

    @property
    def plan(self) -> tuple[np.ndarray, ...]:
        """Where everything stands: the same arrays for every kind."""
        return self.arrays[: len(PLAN)]

    @property
    def first(self) -> tuple[np.ndarray, ...]:
        """Those of the first elimination."""
        return self.arrays[len(PLAN) :]


def flatten(data: Crossproducts) -> FlatCrossproducts:
    """Cross-products as arrays."""
    whole = [np.array(x, dtype=np.int64) for x in (data.sizes, data.levels, data.grouped, data.ridges)]
    blocks = np.array([tuple(block) for block in data.blocks], dtype=np.int64).reshape(-1, len(Block._fields))
    numbers = [np.array(x, dtype=float) for x in (data.counts, data.absolute, [data.gammas, data.n, data.log_weights])]
    return FlatCrossproducts(name_of(data.first), (*whole, blocks, *numbers, *data.first.flatten()))


def unflatten(flat: FlatCrossproducts) -> Crossproducts:
    """Inverse of :func:`flatten`."""
    sizes, levels, grouped, ridges, blocks, counts, absolute, (gammas, n, log_weights) = (x.tolist() for x in flat.plan)
    return Crossproducts(
        KINDS[flat.kind].unflatten(flat.first, tuple(sizes[k] for k in grouped)),
        tuple(sizes),
        tuple(levels),
        tuple(grouped),
        tuple(ridges),
        tuple(Block(row[0], row[1], row[2], row[3], bool(row[4])) for row in blocks),
        int(gammas),
        np.array(counts),
        np.array(absolute, dtype=bool),
        n,
        log_weights,
    )


def value_and_gradient(u: np.ndarray, flat: FlatCrossproducts) -> tuple[float, np.ndarray]:
    """Marginal log-likelihood and its gradient at u; ``-inf`` and nan outside the support."""
    with interruptible:
        return FUNCTIONS[flat.kind](np.asarray(u, dtype=float), flat.plan, flat.first)
