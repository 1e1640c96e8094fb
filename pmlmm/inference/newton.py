"""Newton's method on an exact Hessian, for a maximum."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.kernels.derivatives import Derivatives

# Expected gain (nats) below which one more full step ends the search: convergence is quadratic.
_LAST_STEP = 1e-7
# Expected gain (nats) below which not even that step is worth an evaluation: x is within 2e-9 sd of the mode.
NO_STEP = 1e-18
_LARGEST_STEP = 3.0
_ITERATIONS = 200
# So many evaluations lead nowhere either: where every step has to be halved dozens of times.
_MOST_EVALUATIONS = 300
# So many steps in a row shorter than this fraction of Newton's lead nowhere.
_USELESS_STEP, _MOST_CRAWLING = 1e-6, 5


Objective = Callable[[np.ndarray], Derivatives]
Rounding = Callable[[np.ndarray], float]


class Maximum(NamedTuple):
    """Where the search ended, with the derivatives there, its steps, and the last expected gain."""

    x: np.ndarray
    at: Derivatives
    steps: int
    gain: float


class _Bounded:
    """A function that may be evaluated so many times."""

    def __init__(self, function: Objective):
        self._function, self._left = function, _MOST_EVALUATIONS

    def __call__(self, x: np.ndarray) -> Derivatives:
        if not self._left:
            raise ConvergenceError(
                f"The mode was not reached in {_MOST_EVALUATIONS} evaluations: its surroundings are too flat or bent. "
                "Rescale the columns (centre times, poly()), give the covariance a less extreme prior, or leave "
                "coordinates='natural' out."
            )
        self._left -= 1
        return self._function(x)


def _exact(x: np.ndarray) -> float:
    """The error of a function without any."""
    return 0.0


def maximize(function: Objective, start: np.ndarray, enough: float = NO_STEP, rounding: Rounding = _exact) -> Maximum:
    """Maximise ``function``; each step ascends, whatever the signs of the curvature.

    Directions of wrong or little curvature are followed uphill with a bounded step, so the path is
    safe; whether the end is a proper maximum is for the caller to judge from the Hessian. It ends where the
    expected gain is below ``enough`` (nats), or below what rounding hides: ``rounding`` is the error of the function's
    value at x.

    Raises
    ------
    ConvergenceError
        Not finite at the start, no ascent possible, or too many steps.
    """
    function = _Bounded(function)
    x, at = start, function(start)
    if not np.isfinite(at.value):
        raise ConvergenceError("The log-posterior is not finite at the start of the search for its mode.")
    crawling = 0
    for step in range(_ITERATIONS):
        direction, escape = _ascent_directions(at)
        gain, hidden = 0.5 * float(at.gradient @ direction), rounding(x)
        if gain >= max(_LAST_STEP, enough, hidden):
            x, at, length = _line_search(function, x, at, direction, hidden)
            crawling = crawling + 1 if length < _USELESS_STEP else 0
            if crawling == _MOST_CRAWLING:
                break
            continue
        left = None if escape is None else _leave_saddle(function, x, at, escape, hidden)
        if left is not None:
            x, at = left
            continue
        if gain < enough:
            return Maximum(x, at, step, gain)
        final = function(x + direction)
        better = np.isfinite(final.value) and final.value >= at.value - 1e-9 * (1 + abs(at.value)) - hidden
        return Maximum(x + direction, final, step + 1, gain) if better else Maximum(x, at, step, gain)
    raise ConvergenceError(
        f"The mode was not reached in {step + 1} Newton steps (expected gain {gain:.2g} nats). A covariance "
        "may be running to the edge of its space: give it an InverseWishart prior, or simplify the term."
    )


def _ascent_directions(at: Derivatives) -> tuple[np.ndarray, np.ndarray | None]:
    """Newton's direction with the curvature's absolute value, and the way out of a saddle if it is one."""
    if not (np.isfinite(at.gradient).all() and np.isfinite(at.hessian).all()):
        raise ConvergenceError(
            "The derivatives of the log-posterior are not finite: a variance is running to zero or infinity. Perhaps "
            "the response is fitted exactly; simplify the model, or fix the prior of that term."
        )
    curvature = np.abs(np.diag(at.hessian))  # in the units of each coordinate: no number is small for all of them
    scale = 1.0 / np.sqrt(np.where(curvature > 0.0, curvature, 1.0))
    values, vectors = np.linalg.eigh(-at.hessian * np.outer(scale, scale))
    slopes = vectors.T @ (scale * at.gradient)
    steps = slopes / np.maximum(np.abs(values), 1e-8)
    if np.all(values > 0):
        return scale * (vectors @ steps), None
    steps = np.clip(steps, -_LARGEST_STEP, _LARGEST_STEP)
    return scale * (vectors @ steps), scale * vectors[:, 0]


def _leave_saddle(function: Objective, x: np.ndarray, at: Derivatives, escape: np.ndarray, hidden: float):
    """The better side along a direction of wrong curvature; None where neither gains."""
    sides = [x + sign * escape for sign in (0.5, -0.5, 0.05, -0.05)]
    trials = [(side, function(side)) for side in sides]
    side, trial = max(trials, key=lambda pair: np.nan_to_num(pair[1].value, nan=-np.inf))
    return (side, trial) if trial.value > at.value + _LAST_STEP + hidden else None


def _line_search(function: Objective, x: np.ndarray, at: Derivatives, direction: np.ndarray, hidden: float):
    """Halve the step until it gains a fraction of what its slope promises, as far as rounding lets see that."""
    length = 1.0
    slope = float(at.gradient @ direction)
    for _ in range(60):
        with np.errstate(all="ignore"):  # what overflows is rejected
            trial = function(x + length * direction)
        if np.isfinite(trial.value) and trial.value >= at.value + 1e-4 * length * slope - hidden:
            return x + length * direction, trial, length
        length /= 2
    raise ConvergenceError(
        "The search for the mode stopped where no step increases the log-posterior. Rescale the columns "
        "(centre times, poly()), or give the covariance a less extreme prior."
    )
