"""How wide a log-density is where its Hessian says little.

Between two modes that merge, minus the Hessian is nearly singular: Laplace's approximation then takes a direction
to be hundreds of times wider than it is, and an optimiser of the evidence runs there. Along such directions the
density itself tells.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

LogDensity = Callable[[np.ndarray], float]

# Directions with less curvature than this share of what each coordinate has alone are looked at. Well-determined
# posteriors have .04 and more; what lies below may also be collinear, and is then as wide as the Hessian says.
_WEAK, _NEARLY_SINGULAR = 0.1, 0.02
# The density falls by half a nat at one standard deviation of a normal law; one that falls by more than this
# on some side is not as wide as Laplace has it.
_HALF, _NARROW, _FAR_TOO_WIDE = 0.5, 1.0, 3.0
_BISECTIONS = 12


class Direction(NamedTuple):
    """A direction of little curvature: ``step`` (d,) is one standard deviation as the Hessian has it.

    ``scaled`` (d,) is its unit vector in coordinates of unit curvature, ``curvature`` its eigenvalue there;
    ``drops`` are how much the log-density falls, one step to either side.
    """

    step: np.ndarray
    scaled: np.ndarray
    curvature: float
    drops: tuple[float, float]


def weak_directions(log_density: LogDensity, x: np.ndarray, precision: np.ndarray, below: float) -> list[Direction]:
    """Eigenvectors of the scaled precision with eigenvalues under ``below``, and the density along them."""
    scale = 1.0 / np.sqrt(np.diag(precision))
    values, vectors = np.linalg.eigh(precision * np.outer(scale, scale))
    top, found = None, []
    for value, vector in zip(values, vectors.T, strict=True):
        if value >= below:
            break
        top = log_density(x) if top is None else top
        step = scale * vector / np.sqrt(max(value, 1e-12))
        up, down = (top - _value(log_density, x + sign * step) for sign in (1.0, -1.0))
        found.append(Direction(step, vector, float(value), (up, down)))
    return found


def degenerate(log_density: LogDensity, x: np.ndarray, precision: np.ndarray) -> bool:
    """Whether minus the Hessian is nearly singular at a mode where the density is not nearly flat."""
    if not (np.diag(precision) > 0.0).all():
        return True
    return any(max(d.drops) > _FAR_TOO_WIDE for d in weak_directions(log_density, x, precision, _NEARLY_SINGULAR))


def measured_precision(log_density: LogDensity, x: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """The precision, raised along weak directions to the width that the density has there.

    That width is where the density has fallen by half a nat, on the side where this is farther.
    """
    if not (np.diag(precision) > 0.0).all():
        return precision
    scale = np.sqrt(np.diag(precision))
    corrected = precision
    for weak in weak_directions(log_density, x, precision, _WEAK):
        if max(weak.drops) <= _NARROW:
            continue
        width = max(
            _width(log_density, x, sign * weak.step, drop) for sign, drop in zip((1, -1), weak.drops, strict=True)
        )
        along = scale * weak.scaled
        corrected = corrected + weak.curvature * (width**-2 - 1.0) * np.outer(along, along)
    return corrected


def _width(log_density: LogDensity, x: np.ndarray, step: np.ndarray, drop: float) -> float:
    """The share of ``step``, at most 1, at which the density has fallen by half a nat."""
    if drop <= _HALF:
        return 1.0
    top, low, high = log_density(x), 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = high / 8.0 if low == 0.0 else np.sqrt(low * high)
        if top - _value(log_density, x + middle * step) > _HALF:
            high = middle
        else:
            low = middle
    return high


def _value(log_density: LogDensity, x: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float(np.nan_to_num(log_density(x), nan=-np.inf))
