"""Mode and Laplace evidence of one model at given hyperparameters.

``log p(y | Theta) ~ l(psi*) + d/2 log 2 pi - 1/2 log|-H(psi*)|`` with l the log-posterior density in
the chosen coordinates; what is integrated exactly is the approximation's choice (design of the
evidence: ``docs/mathematics.md``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from pmlmm.errors import ConvergenceError
from pmlmm.inference import weak_directions as shape
from pmlmm.inference.newton import NO_STEP, maximize
from pmlmm.kernels import coordinates, likelihood
from pmlmm.kernels.coordinates import vech_indices, vech_slices
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.derivatives import LOG_2PI, Derivatives, nowhere
from pmlmm.kernels.layout import SIGMA
from pmlmm.kernels.likelihood_expanded import Expansion

# Step of the one-sided difference of the log-determinant: error about 1e-6 nats per unit. Where rounding would be seen
# in such a difference, it is the root of that, up to the second one.
_DIFFERENCE, _LARGEST_DIFFERENCE = 1e-6, 1e-3

# Parameters beyond this size (their squares overflow) are outside of what is searched.
_ABSURD = 1e140
# Likelihoods with so large an error (nats a row) say nothing.
_NOISE = 1.0

# On the edge of the space the logarithm of a variance has less curvature than this, and Newton would move it by more.
_FLAT, _UPHILL = 1e-3, 0.1

Approximation = Literal["marginal", "joint"]
Coordinates = Literal["unconstrained", "natural"]


class LogPosterior(Protocol):
    """log p(y, sigma, Sigma | Theta), or its profile over beta, of one model: :class:`pmlmm.graph.engine`'s."""

    def __call__(self, theta: np.ndarray, hyper: np.ndarray) -> Derivatives:
        """At natural coordinates and packed hyperparameters, with derivatives in both."""

    def expanded(self, expansion: Expansion) -> "LogPosterior":
        """The same with the likelihood replaced by its expansion."""


@dataclass(frozen=True)
class Mode:
    """A proper maximum of the log-posterior at one Theta.

    Attributes
    ----------
    x : (d,) array
        Unconstrained coordinates of the mode.
    natural : (d,) array
        Natural ones: ``(sigma, vech Sigma_1, ...)``.
    log_posterior : float
        The maximised objective with all constants.
    log_evidence : float
        Laplace approximation.
    precision : (d, d) array
        Minus the Hessian of the log-posterior in the coordinates of the approximation.
    at : Derivatives
        Of the maximised objective in (x, hyperparameters of the graph).
    """

    x: np.ndarray
    natural: np.ndarray
    log_posterior: float
    log_evidence: float
    precision: np.ndarray
    at: Derivatives
    steps: int

    @property
    def curvature(self) -> np.ndarray:
        """Minus the Hessian of the maximised objective in x, (d, d)."""
        d = len(self.x)
        return -self.at.hessian[:d, :d]

    def slopes(self, pack_jacobian: np.ndarray) -> np.ndarray:
        """How the mode moves in x with phi, (d, k), by the implicit function theorem.

        ``pack_jacobian`` (h, k) is the derivative of the hyperparameters of the graph in phi.
        """
        d = len(self.x)
        return np.linalg.solve(self.curvature, self.at.hessian[:d, d:] @ pack_jacobian)


@dataclass(frozen=True)
class Laplace:
    """The log-posterior of a model in the coordinates of one Laplace approximation.

    Attributes
    ----------
    log_posterior : LogPosterior
        ``(theta, hyper) -> Derivatives`` in both.
    data : Crossproducts
    approximation : "marginal" or "joint"
        beta integrated exactly, or part of the Laplace approximation. Must match log_posterior.
    coordinates : "unconstrained" or "natural"
    names : tuple of str
        Of the terms, for messages.
    """

    log_posterior: LogPosterior
    data: Crossproducts
    approximation: Approximation
    coordinates: Coordinates
    names: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """q of each term."""
        return self.data.sizes

    @property
    def size(self) -> int:
        return self.data.parameters

    def evaluate(self, x: np.ndarray, hyper: np.ndarray) -> tuple[Derivatives, Derivatives]:
        """Derivatives of the density that is maximised, in (x, hyper), and in (theta, hyper).

        In natural coordinates x is only a way of moving: the density is that of theta, without
        Jacobian.
        """
        d = self.size
        size = d + len(hyper)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                theta = coordinates.to_natural(x, self.sizes)
        except np.linalg.LinAlgError:  # a factor that underflows
            theta = np.full(d, np.inf)
        if not (np.abs(theta).max() < _ABSURD and self._computable(theta[SIGMA])):
            return nowhere(size), nowhere(size)
        natural = self.log_posterior(theta, hyper)
        if not np.isfinite(natural.value):
            return natural, natural
        gradient, hessian = natural.gradient.copy(), natural.hessian.copy()
        gradient[:d], hessian[:d, :d], jacobian = coordinates.pull_back(
            x, self.sizes, natural.gradient[:d], natural.hessian[:d, :d]
        )
        hessian[:d, d:] = jacobian.T @ natural.hessian[:d, d:]
        hessian[d:, :d] = hessian[:d, d:].T
        value = natural.value
        if self.coordinates == "unconstrained":
            value += float(coordinates.log_jacobian(x, self.sizes))
            gradient[:d] += coordinates.log_jacobian_gradient(self.sizes)
        return Derivatives(value, gradient, hessian), natural

    def expanded(self, mode: Mode, hyper: np.ndarray) -> "Laplace":
        """The same with the likelihood replaced by its expansion around a mode."""
        expansion = Expansion(mode.x, hyper[: len(self.data.counts)], self.data)
        return replace(self, log_posterior=self.log_posterior.expanded(expansion))

    def find_mode(self, start: np.ndarray, hyper: np.ndarray, enough: float = NO_STEP) -> Mode:
        """Newton from ``start`` (unconstrained), then Laplace's approximation there.

        It ends where the expected gain is below ``enough`` nats.

        Raises
        ------
        ConvergenceError
            No mode, or minus the Hessian is not positive definite there.
        """
        d = self.size

        def objective(x: np.ndarray):
            at = self.evaluate(x, hyper)[0]
            return Derivatives(at.value, at.gradient[:d], at.hessian[:d, :d])

        found = maximize(objective, start, enough, self._rounding)
        self._refuse_lost(found.x)
        at, natural = self.evaluate(found.x, hyper)
        self._refuse_edge(at)
        volume, precision = self._log_volume(found.x, hyper, at, natural)
        theta = coordinates.to_natural(found.x, self.sizes)
        return Mode(found.x, theta, at.value, at.value + volume, precision, at, found.steps)

    def accept_mode(self, theta: np.ndarray, hyper: np.ndarray, steps: int) -> Mode:
        """Laplace's approximation at a mode found elsewhere (EM), in natural coordinates."""
        x = coordinates.from_natural(theta, self.sizes)
        self._refuse_lost(x)
        at, natural = self.evaluate(x, hyper)
        self._refuse_edge(at)
        volume, precision = self._log_volume(x, hyper, at, natural)
        return Mode(x, theta, at.value, at.value + volume, precision, at, steps)

    def _computable(self, sigma: float) -> bool:
        """Whether the likelihood at sigma is more than rounding, which a long step would take for an ascent."""
        return sigma > 1.0 / _ABSURD and self.data.rounding(sigma) < _NOISE * self.data.n

    def _rounding(self, x: np.ndarray) -> float:
        """Error of the log-posterior at x (nats); where it is a nat the search has lost its way."""
        error = self.data.rounding(float(np.exp(x[SIGMA])))
        if error > 1.0:
            self._refuse_lost(x)
        return error

    def _refuse_lost(self, x: np.ndarray) -> None:
        sigma = float(np.exp(x[SIGMA]))
        if self.data.lost(sigma):
            share = sigma / np.sqrt(self.data.response_squares / self.data.n)
            raise ConvergenceError(
                f"sigma is running to zero: at {share:.1g} of the size of the response, what its effects leave of it "
                "is lost in rounding. Check that the response is not fitted exactly; otherwise subtract from it what "
                "is known (its mean, a trend, the means of the groups), or take effects out."
            )

    def _refuse_edge(self, at: Derivatives) -> None:
        """A covariance that shrinks to nothing for no gain to speak of: moving it by its own size is still uphill."""
        slopes, curvature = np.abs(at.gradient[: self.size]), -np.diag(at.hessian)[: self.size]
        for k, (q, part) in enumerate(zip(self.sizes, vech_slices(self.sizes), strict=True)):
            logs = part.start + np.flatnonzero(np.equal(*vech_indices(q)))
            if np.any((curvature[logs] < _FLAT) & (slopes[logs] > _UPHILL * np.abs(curvature[logs]))):
                name = repr(self.names[k]) if self.names else "a term"
                raise ConvergenceError(
                    f"There is no mode in {self.coordinates} coordinates: the log-posterior is highest where the "
                    f"covariance of {name} is singular (a variance of 0, or a correlation of +-1), on the edge of what "
                    "is possible. Give it an InverseWishart prior, or take effects out."
                )

    def log_volume(self, x: np.ndarray, hyper: np.ndarray) -> float:
        """``d/2 log 2 pi - 1/2 log|-H|`` (with beta's share for "joint").

        Raises
        ------
        ConvergenceError
            Minus the Hessian is not positive definite.
        """
        return self._log_volume(x, hyper, *self.evaluate(x, hyper))[0]

    def _log_volume(
        self, x: np.ndarray, hyper: np.ndarray, at: Derivatives, natural: Derivatives
    ) -> tuple[float, np.ndarray]:
        """The same of known derivatives, and ``-H``."""
        d = self.size
        precision = -(at if self.coordinates == "unconstrained" else natural).hessian[:d, :d]
        try:
            factor = np.linalg.cholesky(precision)
        except np.linalg.LinAlgError:
            smallest = float(np.linalg.eigvalsh(precision)[0]) if np.isfinite(precision).all() else np.nan
            raise ConvergenceError(
                f"Minus the Hessian at the mode is not positive definite in {self.coordinates} coordinates "
                f"(smallest eigenvalue {smallest:.3g}): Laplace's approximation does not exist there. "
                + ("Use coordinates='unconstrained', or give" if self.coordinates == "natural" else "Give")
                + " the covariance a proper prior."
            ) from None
        volume = d / 2 * LOG_2PI - float(np.sum(np.log(np.diag(factor))))
        if self.approximation == "joint":
            volume += self._beta_volume(x, hyper)
        return volume, precision

    def degenerate(self, mode: Mode, hyper: np.ndarray) -> bool:
        """Whether Laplace's approximation at the mode is of a direction many times narrower than it says."""
        return shape.degenerate(self._log_density(hyper), mode.x, mode.curvature)

    def measured_precision(self, mode: Mode, hyper: np.ndarray) -> np.ndarray:
        """Minus the Hessian in x, raised where the density is narrower than that: (d, d)."""
        return shape.measured_precision(self._log_density(hyper), mode.x, mode.curvature)

    def _log_density(self, hyper: np.ndarray) -> shape.LogDensity:
        return lambda x: self.evaluate(x, hyper)[0].value

    def _beta_volume(self, x: np.ndarray, hyper: np.ndarray) -> float:
        """The Gaussian integral over beta: what the marginal likelihood has and the profile has not."""
        theta = coordinates.to_natural(x, self.sizes)
        u = np.concatenate([theta, hyper[: len(self.data.counts)]])
        values = [likelihood.evaluate(u, self.data, profile=profile, order=0).value for profile in (False, True)]
        return values[0] - values[1]


def evidence_gradient(
    laplace: Laplace,
    mode: Mode,
    phi: np.ndarray,
    pack: Callable[[np.ndarray], np.ndarray],
    pack_jacobian: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient of the Laplace evidence in the search coordinates phi, and d mode / d phi.

    With v = d psi*/d phi = (-H)^{-1} d2l/dpsi dphi (implicit function theorem), the gradient is
    dl/dphi + d(volume) along (v, e): the log-determinant of the closed-form Hessian is differenced
    once along that line, all else is exact.

    Parameters
    ----------
    laplace, mode
        The approximation, and its mode at phi.
    phi : (k,) array
    pack : callable
        phi to the hyperparameters of the graph.
    pack_jacobian : (h, k) array
        Its derivative at phi.

    Returns
    -------
    gradient : (k,) array
        In nats per unit of phi.
    slopes : (d, k) array
        How the mode moves, in unconstrained coordinates.
    """
    d = laplace.size
    slopes = mode.slopes(pack_jacobian)
    gradient = mode.at.gradient[d:] @ pack_jacobian
    volume = mode.log_evidence - mode.log_posterior
    step = float(np.clip(np.sqrt(laplace.data.rounding(mode.natural[SIGMA])), _DIFFERENCE, _LARGEST_DIFFERENCE))
    for j, unit in enumerate(np.eye(len(phi)) * step):
        moved = laplace.log_volume(mode.x + step * slopes[:, j], pack(phi + unit))
        gradient[j] += (moved - volume) / step
    return gradient, slopes


def volume_slope(laplace: Laplace, mode: Mode, hyper: np.ndarray, which: list[int]) -> np.ndarray:
    """Derivatives of the log-volume at the mode, by one-sided differences: (len(which),).

    ``which`` counts the entries of x first, then those of ``hyper`` (log lambda are its first ones).
    """
    d = laplace.size
    volume = mode.log_evidence - mode.log_posterior
    at = np.concatenate([mode.x, hyper])
    steps = np.full(len(at), 1e-5)
    steps[:d] /= np.sqrt(np.diag(mode.curvature))
    slopes = []
    for j in which:
        moved = at.copy()
        moved[j] += steps[j]
        slopes.append((laplace.log_volume(moved[:d], moved[d:]) - volume) / steps[j])
    return np.array(slopes)
