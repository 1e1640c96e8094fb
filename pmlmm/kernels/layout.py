"""Where everything stands: the parameters in u, and the columns of ``[W Y]``."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from pmlmm.kernels.coordinates import vech_slices
from pmlmm.kernels.jit import kernel

#: Position of sigma among the parameters.
SIGMA = 0
#: Responses, the last columns of ``[W Y]``.
RESPONSES = 1


def columns(width: int) -> tuple[slice, slice]:
    """The columns of effects, W, and of responses, Y, among ``width`` columns of ``[W Y]``."""
    return slice(0, width - RESPONSES), slice(width - RESPONSES, width)


@dataclass(frozen=True)
class Layout:
    """Positions in ``u = (sigma, vech Sigma_1, ..., vech Sigma_K, log lambda_1, ..., log lambda_G)``.

    Parameters
    ----------
    sizes : tuple of int
        q of each random-effect term.
    penalties : int
        Number of penalty groups, G.
    """

    sizes: tuple[int, ...]
    penalties: int = 0

    #: Position of sigma.
    sigma: ClassVar[int] = SIGMA

    @cached_property
    def Sigmas(self) -> list[slice]:
        """Lower triangles of the terms' covariances."""
        return vech_slices(self.sizes)

    def Sigma(self, k: int) -> slice:
        """Lower triangle of term k's covariance."""
        return self.Sigmas[k]

    @cached_property
    def covariances(self) -> slice:
        """All covariances."""
        return slice(1, self.parameters)

    @cached_property
    def parameters(self) -> int:
        """Length of theta = (sigma, vech Sigma_1, ..., vech Sigma_K)."""
        return self.Sigmas[-1].stop if self.sizes else 1

    @property
    def log_lambda(self) -> slice:
        """Log penalties."""
        return slice(self.parameters, self.size)

    @property
    def size(self) -> int:
        """Length of u."""
        return self.parameters + self.penalties


@kernel
def term_starts(sizes: np.ndarray):
    """Compiled: where each term's covariance starts in u, and at the end where log lambda does, (K + 1,)."""
    starts = np.ones(sizes.shape[0] + 1, dtype=np.int64)
    for k in range(sizes.shape[0]):
        starts[k + 1] = starts[k] + sizes[k] * (sizes[k] + 1) // 2
    return starts
