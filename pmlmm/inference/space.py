"""The space that empirical Bayes searches: one coordinate for each learned hyperparameter."""

from dataclasses import dataclass

import numpy as np

from pmlmm.design.design import Design, Term
from pmlmm.design.prior_set import PriorSet
from pmlmm.design.statistics import Statistics
from pmlmm.errors import DataError
from pmlmm.kernels.coordinates import vech, vech_size
from pmlmm.priors import LARGEST_B, Flat, Hyperprior, InverseWishart, eta_from_b
from pmlmm.theta import CovarianceHyperparameters, Theta

# Bounds: beyond them the evidence is flat to far less than 0.01 nats.
_EXACT = 1e-12
_SMALLEST_ETA_EXCESS = 0.02
_LOG_LAMBDA = (np.log(1e-6), np.log(1e8))
_LOG_A = (np.log(1e-6), np.log(1e4))


@dataclass(frozen=True)
class Coordinate:
    """One learned hyperparameter on its search scale.

    ``kind`` is "lambda" (log lambda), "eta" (log(eta - q + 1), which carries b) or "A" (log of a
    diagonal entry of A, or of its common factor). ``index`` is the penalty group's or term's.
    """

    name: str
    kind: str
    index: int
    entry: int | None
    start: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Space:
    """Learned coordinates, and the map from them to Theta.

    Attributes
    ----------
    coordinates : tuple of Coordinate
    fixed : Theta
        Values of everything; the learned ones are overwritten.
    m : int
        Number of groups.
    z_square : tuple of (q,) arrays
        Mean of z_a^2 over the rows, for each term.
    hyperprior : Hyperprior or None
    """

    coordinates: tuple[Coordinate, ...]
    fixed: Theta
    m: int
    z_square: tuple[np.ndarray, ...]
    hyperprior: Hyperprior | None

    @property
    def start(self) -> np.ndarray:
        return np.array([c.start for c in self.coordinates])

    @property
    def bounds(self) -> list[tuple[float, float]]:
        return [(c.lower, c.upper) for c in self.coordinates]

    def theta(self, phi: np.ndarray) -> Theta:
        """Hyperparameters at phi."""
        log_lambda = np.array(self.fixed.log_lambda, dtype=float)
        etas = [value and value.eta for value in self.fixed.covariances]
        As = [value and value.A.copy() for value in self.fixed.covariances]
        for coordinate, value in zip(self.coordinates, phi, strict=True):
            k = coordinate.index
            if coordinate.kind == "lambda":
                log_lambda[k] = value
            elif coordinate.kind == "eta":
                etas[k] = len(As[k]) - 1.0 + np.exp(value)
            elif coordinate.entry is None:
                As[k] = np.exp(value) * np.eye(len(As[k]))
            else:
                As[k][coordinate.entry, coordinate.entry] = np.exp(value)
        pairs = zip(etas, As, strict=True)
        return Theta(log_lambda, tuple(A if A is None else CovarianceHyperparameters(eta, A) for eta, A in pairs))

    def pack_jacobian(self, phi: np.ndarray) -> np.ndarray:
        """Derivative of ``pack(theta(phi))`` = (log lambda, eta_1, vech Phi_1, ...) in phi: (h, k)."""
        theta = self.theta(phi)
        offsets, position = {}, len(theta.log_lambda)
        for k, value in enumerate(theta.covariances):
            if value is not None:
                offsets[k] = position
                position += 1 + vech_size(value.q)
        jacobian = np.zeros((position, len(phi)))
        for column, coordinate in enumerate(self.coordinates):
            k = coordinate.index
            if coordinate.kind == "lambda":
                jacobian[k, column] = 1.0
                continue
            value, at = theta.covariances[k], offsets[k]
            rows = slice(at + 1, at + 1 + vech_size(value.q))
            if coordinate.kind == "eta":
                excess = value.eta - value.q + 1.0
                jacobian[at, column] = excess
                jacobian[rows, column] = excess * vech(value.A)
            else:
                direction = np.zeros_like(value.A)
                entries = np.arange(value.q) if coordinate.entry is None else coordinate.entry
                direction[entries, entries] = value.Phi[entries, entries]
                jacobian[rows, column] = vech(direction)
        return jacobian

    def log_hyperprior(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        """Log-density of the hyperprior on phi, and its gradient; (0, 0) without one."""
        gradient = np.zeros(len(phi))
        prior = self.hyperprior
        if prior is None:
            return 0.0, gradient
        total = 0.0
        for column, coordinate in enumerate(self.coordinates):
            if coordinate.kind == "A":
                continue
            mean, sd = (
                (0.0, prior.lambda_sd) if coordinate.kind == "lambda" else (np.log(prior.eta_median), prior.eta_sd)
            )
            residual = (phi[column] - mean) / sd
            total -= 0.5 * residual**2 + np.log(sd) + 0.5 * np.log(2 * np.pi)
            gradient[column] = -residual / sd
        for k in range(len(self.z_square)):
            columns = [
                j for j, c in enumerate(self.coordinates) if c.kind == "A" and c.index == k and c.entry is not None
            ]
            if len(columns) > 1:
                level = phi[columns] + np.log(self.z_square[k])
                residual = (level - level.mean()) / prior.pool_sd
                total -= 0.5 * float(residual @ residual)
                total -= (len(columns) - 1) * (np.log(prior.pool_sd) + 0.5 * np.log(2 * np.pi))
                gradient[columns] = -residual / prior.pool_sd
        return float(total), gradient


def build_space(design: Design, priors: PriorSet, statistics: Statistics, hyperprior: Hyperprior | None) -> Space:
    """What is to be learned of a model's priors, where to start and where to stop."""
    coordinates: list[Coordinate] = []
    log_lambda = []
    for index, group in enumerate(priors.penalty_groups):
        value = group.prior.lambda_
        log_lambda.append(0.0 if value is None else np.log(value))
        if value is None:
            coordinates.append(Coordinate(f"lambda[{group.name}]", "lambda", index, None, 0.0, *_LOG_LAMBDA))
    variance, m = _residual_variance(design), statistics.n_groups
    z_square, first = [], 0
    mean_squares = statistics.mean_square_z()
    covariances: list[CovarianceHyperparameters | None] = []
    for index, (term, prior) in enumerate(zip(design.terms, priors.covariances, strict=True)):
        squares = mean_squares[first : first + term.q]
        first += term.q
        z_square.append(squares)
        if isinstance(prior, Flat):
            covariances.append(None)
            continue
        value = _start(prior, variance, squares, m, design.Z.shape[1])
        covariances.append(value)
        coordinates.extend(_term_coordinates(index, term, prior, value, variance, squares, m))
    fixed = Theta(np.array(log_lambda, dtype=float), tuple(covariances))
    return Space(tuple(coordinates), fixed, m, tuple(z_square), hyperprior)


def _residual_variance(design: Design) -> float:
    """Variance of y that least squares on X leaves, at least a thousandth of it (p may exceed n)."""
    n, p = design.X.shape
    fitted = design.X @ np.linalg.lstsq(design.X, design.y, rcond=None)[0] if p else 0.0
    left = float(np.var(design.y - fitted))
    if p < n and left < _EXACT * np.var(design.y):
        raise DataError(
            f"The fixed effects fit {design.parsed.response!r} exactly: there is no residual variation to model. "
            "Check that the response is not among the predictors."
        )
    return max(left, 1e-3 * float(np.var(design.y)))


def _start(
    prior: InverseWishart, variance: float, squares: np.ndarray, m: int, q_total: int
) -> CovarianceHyperparameters:
    """eta and A where given, else half of the residual variance shared among the effects."""
    q = len(squares)
    eta = prior.eta if prior.eta is not None else q - 1.0 + 10.7
    if prior.b is not None:
        eta = eta_from_b(prior.b, m, q)
    if not isinstance(prior.A, str):
        return CovarianceHyperparameters(eta, prior.A)
    level = 0.5 * variance / (q_total * squares)
    if prior.A == "identity":
        level = np.full(q, np.exp(np.mean(np.log(level))))
    return CovarianceHyperparameters(eta, np.diag(level))


def _term_coordinates(
    index: int,
    term: Term,
    prior: InverseWishart,
    value: CovarianceHyperparameters,
    variance: float,
    squares: np.ndarray,
    m: int,
) -> list[Coordinate]:
    found = []
    if prior.b is None and prior.eta is None:
        largest = eta_from_b(LARGEST_B, m, term.q) - term.q + 1.0
        found.append(
            Coordinate(
                f"b[{term.name}]",
                "eta",
                index,
                None,
                float(np.log(min(value.eta - term.q + 1.0, largest))),
                float(np.log(_SMALLEST_ETA_EXCESS)),
                float(np.log(largest)),
            )
        )
    if not isinstance(prior.A, str):
        return found
    entries = [None] if prior.A == "identity" else range(term.q)
    for entry in entries:
        own = np.exp(np.mean(np.log(squares))) if entry is None else squares[entry]
        label = "" if entry is None else f"[{term.coefficients[entry]}]"
        low, high = (bound + np.log(variance / own) for bound in _LOG_A)
        start = float(np.log(value.A[entry or 0, entry or 0]))
        found.append(Coordinate(f"A[{term.name}]{label}", "A", index, entry, start, low, high))
    return found
