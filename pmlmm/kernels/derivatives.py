"""A scalar function's value with its first two derivatives."""

from typing import NamedTuple

import numpy as np

LOG_2PI = float(np.log(2.0 * np.pi))


class Derivatives(NamedTuple):
    """Value, gradient (k,) and Hessian (k, k) of a scalar function."""

    value: float
    gradient: np.ndarray
    hessian: np.ndarray


def nowhere(size: int) -> Derivatives:
    """Of a density where there is none: ``-inf`` and nan."""
    return Derivatives(-np.inf, np.full(size, np.nan), np.full((size, size), np.nan))
