"""Maximise the evidence over the hyperparameters."""

from collections.abc import Callable
from dataclasses import dataclass, field

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
        self._x, self._phi, self._slopes = start, None, None
        self._was_proper = False

    @property
    def last_x(self) -> np.ndarray:
        """Mode of the last evaluation (unconstrained)."""
        return self._x

    @property
    def last_slopes(self) -> np.ndarray:
        """How it moves with phi, (d, k)."""
        return self._slopes

    def restart(self, x: np.ndarray) -> None:
        """Search the next mode from x."""
        self._x, self._phi, self._slopes = x, None, None

    def from_start(self, x: np.ndarray) -> "LaplaceEvidence":
        """The same function, searching its modes from x."""
        return LaplaceEvidence(self.laplace, self.space, x, self.find, self.costly)

    def mode(self, phi: np.ndarray) -> Mode:
        """The mode at phi, searched from where the last one should have moved, then from safer starts."""
        theta = self.space.theta(phi)
        if self.find is not None:
            return self.find(self._x, theta)
        hyper, error = theta.packed, None
        for start in self._starts(phi, theta):
            try:
                return self.laplace.find_mode(start, hyper, ENOUGH if self.costly else NO_STEP)
            except ConvergenceError as failure:
                error = failure
        raise error

    def _starts(self, phi: np.ndarray, theta: Theta):
        if self._slopes is not None and np.max(np.abs(phi - self._phi), initial=0.0) < 1.0:
            yield self._x + self._slopes @ (phi - self._phi)
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
        self._x, self._phi, self._slopes = mode.x, phi.copy(), slopes
        log_prior, slope = self.space.log_hyperprior(phi)
        return mode.log_evidence + log_prior, gradient + slope


def maximize_evidence(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
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
    best = [-np.inf, start, np.full(len(start), np.nan)]
    scale, last_error, idle, failed = None, None, 0, 0

    def negative(phi: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal scale, last_error, idle, failed
        try:
            value, gradient = function(phi)
        except ConvergenceError as error:
            last_error, failed = error, failed + 1
            record.path.append((phi.copy(), np.nan))
            if failed >= _MOST_FAILED:
                raise _Settled("no proper mode in sight") from error
            worst = best[0] - _PENALTY if np.isfinite(best[0]) else -_PENALTY
            return -worst / (scale or 1.0), np.zeros(len(phi))
        record.path.append((phi.copy(), value))
        idle, failed = 0 if value > best[0] + _SMALLEST_GAIN else idle + 1, 0
        if value > best[0]:
            best[:] = [value, phi.copy(), gradient]
        if progress is not None:
            progress(f"{objective}: {len(record.path)} evaluations, {value:.4f}")
        if np.max(np.abs(free_gradient(best[1], best[2], bounds))) < tolerance:
            raise _Settled("gradient below its tolerance")
        if idle >= _MOST_IDLE:
            raise _Settled("no further gain")
        # Inside bounds L-BFGS-B starts with a full gradient step: scaled, it is a short one.
        scale = scale or max(1.0, float(np.max(np.abs(gradient))) / _FIRST_STEP)
        return -value / scale, -gradient / scale

    options = {"gtol": 0.0, "ftol": 1e-12, "maxiter": 200, "maxls": 30}
    try:
        result = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        record.reason = str(result.message)
    except _Settled as settled:
        record.reason = str(settled)
    if not np.isfinite(best[0]):
        raise ConvergenceError(f"No evaluation of the evidence succeeded. The last one: {last_error}")
    record.end = best[1]
    record.gradient_norm = float(np.max(np.abs(free_gradient(best[1], best[2], bounds))))
    return best[1], record


class _Settled(Exception):
    """Ends a search from within: SciPy's callback only runs between iterations, not in a line search."""


def free_gradient(phi: np.ndarray, gradient: np.ndarray, bounds: list[tuple[float, float]]) -> np.ndarray:
    """Gradient with the directions that lead out of the bounds set to zero."""
    lower, upper = np.array(bounds).T
    blocked = ((phi <= lower + AT_BOUND) & (gradient < 0)) | ((phi >= upper - AT_BOUND) & (gradient > 0))
    return np.where(blocked, 0.0, gradient)
