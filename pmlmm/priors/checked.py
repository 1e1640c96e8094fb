"""Checks of the numbers and matrices that priors are stated with."""

import math
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from pmlmm.errors import PriorError


def is_finite(value: object) -> TypeGuard[float]:
    """Whether value is one real, finite number."""
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def covariance(name: str, matrix: Any, advice: str = "") -> np.ndarray:
    """A checked symmetric positive definite matrix; ``advice`` ends the message where it is not definite."""
    try:
        values = np.array(matrix, dtype=float)
    except (TypeError, ValueError) as error:
        raise PriorError(f"{name} must be a square matrix of numbers.") from error
    if values.ndim == 0:
        values = values.reshape(1, 1)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        raise PriorError(f"{name} has shape {values.shape}; it must be square, one row a random effect.")
    if not np.isfinite(values).all() or not np.allclose(values, values.T, rtol=1e-10, atol=0):
        raise PriorError(f"{name} must be finite and symmetric; it is {values.tolist()}.")
    smallest = float(np.linalg.eigvalsh(values)[0])
    if smallest <= 0:
        raise PriorError(
            f"{name} is not positive definite (smallest eigenvalue {smallest:.3g}): it is a covariance.{advice}"
        )
    return (values + values.T) / 2
