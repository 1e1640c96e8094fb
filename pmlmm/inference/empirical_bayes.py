"""Maximise the evidence over the hyperparameters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from pmlmm.errors import ConvergenceError
from pmlmm.inference.laplace import Laplace, Mode, evidence_gradient
from pmlmm.inference.newton import NO_STEP
from pmlmm.kernels import coordinates
from pmlmm.kernels.coordinates import vech, vech_slices
from pmlmm.priors.search_space import Space
from pmlmm.priors.theta import Theta

# A failed evaluation counts as this many nats below the best.
_PENALTY = 1e3
AT_BOUND = 1e-6
_FIRST_STEP = 0.5
# Gain of an evaluation (nats) that counts as one.
_SMALLEST_GAIN = 1e-6
#: Expected gain (nats) at which the search for a mode ends where an evaluation is costly.
ENOUGH = 1e-9
# So many evaluations in a row without such a gain end it too.
_MOST_IDLE = 8
# So many in a row without a proper mode end it as well.
_MOST_FAILED = 12


Progress = Callable[[str], None] | None
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass
class SearchRecord:
    """What an optimiser did.

    Attributes
    ----------
    objective : str
        What was maximised.
    names : list of str
        Learned hyperparameters.
    start, end : (k,) arrays
        On the search scale: log lambda, log(eta - q + 1), log A, ...
    path : list of (array, float)
        Every evaluated point with its value (log evidence + log hyperprior; nan where it failed).
    gradient_norm : float
        Largest entry of the gradient at the end, in directions that no bound blocks.
    reason : str
        Why it stopped.
    """

    objective: str
    names: list[str]
    start: np.ndarray
    end: np.ndarray = field(default_factory=lambda: np.empty(0))
    path: list[tuple[np.ndarray, float]] = field(default_factory=list)
    gradient_norm: float = 0.0
    reason: str = "nothing to learn"

    @property
    def evaluations(self) -> int:
        return len(self.path)

    @property
    def gain(self) -> float:
        """From the start to the best point (nats); 0 where nothing was evaluated."""
        values = [value for _, value in self.path if np.isfinite(value)]
        return max(values) - values[0] if values else 0.0

    @property
    def failures(self) -> int:
        """Evaluations without a proper mode."""
        return int(sum(np.isnan(value) for _, value in self.path))


class Position(NamedTuple):
    """Where the modes of a :class:`LaplaceEvidence` are searched from.

    Attributes
    ----------
    x : (d,) array
    moved : ((k,) array, (d, k) array) or None
        The last phi, and how the mode moves with it there.
    was_proper : bool
        Whether there was a mode that is not near-singular.
    """

    x: np.ndarray
    moved: tuple[np.ndarray, np.ndarray] | None
    was_proper: bool


class LaplaceEvidence:
    """Laplace evidence plus hyperprior as a function of phi, warm-started from its last mode.

    Where an evaluation of the likelihood is ``costly``, modes are found to ``ENOUGH`` nats only.
    """

    def __init__(
        self,
        laplace: Laplace,
        space: Space,
        start: np.ndarray,
        find_mode: Callable[[np.ndarray, Theta], Mode] | None = None,
        costly: bool = False,
    ):
        self.laplace, self.space, self.find, self.costly = laplace, space, find_mode, costly
        self._x = start
        self._moved: tuple[np.ndarray, np.ndarray] | None = None
        self._was_proper = False

    @property
    def last_x(self) -> np.ndarray:
        """Mode of the last evaluation (unconstrained)."""
        return self._x

    @property
    def last_slopes(self) -> np.ndarray:
        """How it moves with phi, (d, k)."""
        assert self._moved is not None  # there was an evaluation
        return self._moved[1]

    def restart(self, x: np.ndarray) -> None:
        """Search the next mode from x."""
        self._x, self._moved = x, None

    @property
    def position(self) -> Position:
        """Where the next mode is searched from."""
        return Position(self._x, self._moved, self._was_proper)

    def resume(self, position: Position) -> None:
        """Search the next mode from there."""
        self._x, self._moved, self._was_proper = position

    def from_start(self, x: np.ndarray) -> "LaplaceEvidence":
        """The same function, searching its modes from x."""
        return LaplaceEvidence(self.laplace, self.space, x, self.find, self.costly)

    def mode(self, phi: np.ndarray) -> Mode:
        """The mode at phi, searched from where the last one should have moved, then from safer starts."""
        theta = self.space.theta(phi)
        if self.find is not None:
            return self.find(self._x, theta)
        hyper, failures = theta.packed, []
        for start in self._starts(phi, theta):
            try:
                return self.laplace.find_mode(start, hyper, ENOUGH if self.costly else NO_STEP)
            except ConvergenceError as failure:
                failures.append(failure)
        raise failures[-1]

    def _starts(self, phi: np.ndarray, theta: Theta) -> Iterator[np.ndarray]:
        if self._moved is not None and np.max(np.abs(phi - self._moved[0]), initial=0.0) < 1.0:
            yield self._x + self._moved[1] @ (phi - self._moved[0])
        yield self._x
        natural = coordinates.to_natural(self._x, self.laplace.sizes)
        for part, density in zip(vech_slices(self.laplace.sizes), theta.covariances, strict=True):
            if (typical := density.typical) is not None:
                natural[part] = vech(typical)
        yield coordinates.from_natural(natural, self.laplace.sizes)

    def proposal_precision(self, mode: Mode, phi: np.ndarray) -> np.ndarray:
        """Precision of draws around the mode at phi, (d, d)."""
        return self.laplace.measured_precision(mode, self.space.theta(phi).packed)

    def __call__(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; raises ConvergenceError where there is no proper mode.

        Near-singular modes count as none, once there was a better one: the evidence there is an artefact.
        """
        mode = self.mode(phi)
        degenerate = self.laplace.degenerate(mode, self.space.theta(phi).packed)
        if degenerate and self._was_proper:
            raise ConvergenceError(
                "Two modes of the covariance parameters merge there, and Laplace's approximation breaks down."
            )
        self._was_proper = self._was_proper or not degenerate
        gradient, slopes = evidence_gradient(
            self.laplace,
            mode,
            phi,
            lambda point: self.space.theta(point).packed,
            self.space.pack_jacobian(phi),
        )
        self._x, self._moved = mode.x, (phi.copy(), slopes)
        log_prior, slope = self.space.log_prior(phi)
        return mode.log_evidence + log_prior, gradient + slope


def maximize_evidence(
    function: Objective,
    space: Space,
    start: np.ndarray,
    objective: str,
    *,
    tolerance: float = 1e-3,
    bounds: list[tuple[float, float]] | None = None,
    progress: Progress = None,
) -> tuple[np.ndarray, SearchRecord]:
    """Bounded quasi-Newton (L-BFGS-B) ascent; the best point and the record.

    It stops where no free entry of the gradient exceeds ``tolerance`` (nats per unit of phi);
    ``bounds`` are the space's unless narrower ones are given.

    Raises
    ------
    ConvergenceError
        No evaluation succeeded.
    """
    bounds = bounds or space.bounds
    record = SearchRecord(objective, [c.name for c in space.coordinates], start.copy())
    if len(start) == 0:
        return start, record
    ascent = _Ascent(function, bounds, tolerance, record, progress)
    options = {"gtol": 0.0, "ftol": 1e-12, "maxiter": 200, "maxls": 30}
    try:
        result = minimize(ascent, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        record.reason = str(result.message)
    except _Settled as settled:
        record.reason = str(settled)
    if ascent.best is None:
        raise ConvergenceError(f"No evaluation of the evidence succeeded. The last one: {ascent.error}")
    record.end = ascent.best.phi
    record.gradient_norm = ascent.steepness
    return record.end, record


class _Best(NamedTuple):
    """The best point so far."""

    phi: np.ndarray
    value: float
    gradient: np.ndarray


class _Ascent:
    """The function that SciPy minimises: it keeps the record and the best point, and ends the search from within."""

    def __init__(
        self,
        function: Objective,
        bounds: list[tuple[float, float]],
        tolerance: float,
        record: SearchRecord,
        progress: Progress,
    ):
        self._function, self._bounds, self._tolerance = function, bounds, tolerance
        self._record, self._progress = record, progress
        self._scale: float | None = None
        self._idle = self._failed = 0
        self.best: _Best | None = None
        self.error: ConvergenceError | None = None

    def __call__(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        try:
            value, gradient = self._function(phi)
        except ConvergenceError as error:
            return self._without_mode(phi, error)
        self._keep(phi, value, gradient)
        if self.steepness < self._tolerance:
            raise _Settled("gradient below its tolerance")
        if self._idle >= _MOST_IDLE:
            raise _Settled("no further gain")
        # Inside bounds L-BFGS-B starts with a full gradient step: scaled, it is a short one.
        self._scale = self._scale or max(1.0, float(np.max(np.abs(gradient))) / _FIRST_STEP)
        return -value / self._scale, -gradient / self._scale

    @property
    def steepness(self) -> float:
        """Largest entry of the gradient at the best point, in directions that no bound blocks."""
        if self.best is None:
            return np.inf
        return float(np.max(np.abs(free_gradient(self.best.phi, self.best.gradient, self._bounds))))

    def _without_mode(self, phi: np.ndarray, error: ConvergenceError) -> tuple[float, np.ndarray]:
        """What a failed evaluation counts as: far below the best, and flat."""
        self.error, self._failed = error, self._failed + 1
        self._record.path.append((phi.copy(), np.nan))
        if self._failed >= _MOST_FAILED:
            raise _Settled("no proper mode in sight") from error
        worst = (0.0 if self.best is None else self.best.value) - _PENALTY
        return -worst / (self._scale or 1.0), np.zeros(len(phi))

    def _keep(self, phi: np.ndarray, value: float, gradient: np.ndarray) -> None:
        record, highest = self._record, -np.inf if self.best is None else self.best.value
        record.path.append((phi.copy(), value))
        self._idle, self._failed = 0 if value > highest + _SMALLEST_GAIN else self._idle + 1, 0
        if value > highest:
            self.best = _Best(phi.copy(), value, gradient)
        if self._progress is not None:
            self._progress(f"{record.objective}: {len(record.path)} evaluations, {value:.4f}")


class _Settled(Exception):
    """Ends a search from within: SciPy's callback only runs between iterations, not in a line search."""


def free_gradient(phi: np.ndarray, gradient: np.ndarray, bounds: list[tuple[float, float]]) -> np.ndarray:
    """Gradient with the directions that lead out of the bounds set to zero."""
    lower, upper = np.array(bounds).T
    blocked = ((phi <= lower + AT_BOUND) & (gradient < 0)) | ((phi >= upper - AT_BOUND) & (gradient > 0))
    return np.where(blocked, 0.0, gradient)
