"""The kinds of first elimination by name."""

from pmlmm.kernels.eliminate.eigenbasis import EigenbasisRidge
from pmlmm.kernels.eliminate.groups import Groups
from pmlmm.kernels.eliminate.nested import Nested
from pmlmm.kernels.eliminate.protocol import Elimination
from pmlmm.kernels.eliminate.row_kernels import RowKernelRidge
from pmlmm.kernels.eliminate.sparse_groups import SparseGroups

KINDS: dict[str, type[Elimination]] = {
    "groups": Groups,
    "sparse_groups": SparseGroups,
    "nested": Nested,
    "eigenbasis": EigenbasisRidge,
    "row_kernels": RowKernelRidge,
}


def name_of(first: Elimination) -> str:
    """The name of what is eliminated first."""
    return next(name for name, kind in KINDS.items() if isinstance(first, kind))
