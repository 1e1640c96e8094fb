"""The space that empirical Bayes searches: one coordinate for each learned hyperparameter."""

from dataclasses import dataclass

import numpy as np

from pmlmm.design.design import Design
from pmlmm.design.term import Term
from pmlmm.errors import DataError
from pmlmm.kernels.coordinates import vech, vech_size
from pmlmm.priors.hyperparameters import CovarianceHyperparameters, Theta
from pmlmm.priors.prior_set import PriorSet
from pmlmm.priors.stated import LARGEST_B, Flat, Hyperprior, InverseWishart, eta_from_b

# Bounds: beyond them the evidence is flat to far less than 0.01 nats.
_EXACT = 1e-12
_SMALLEST_ETA_EXCESS = 0.02
_LOG_LAMBDA = (np.log(1e-6), np.log(1e8))
_LOG_A = (np.log(1e-6), np.log(1e4))
_ATANH_RHO = float(np.arctanh(0.999))


@dataclass(frozen=True, eq=False)
class ColumnSizes:
    """How large the columns are that priors act on.

    Attributes
    ----------
    moments : tuple of (q, q) arrays
        ``Z'Z / n`` of each term.
    largest : tuple of (q,) arrays
        Largest |z_a| over the rows, for each term.
    wide : tuple of float
        Mean square of the columns of each wide block as the ridge sees them.
    """

    moments: tuple[np.ndarray, ...]
    largest: tuple[np.ndarray, ...]
    wide: tuple[float, ...]


@dataclass(frozen=True)
class Coordinate:
    """One learned hyperparameter on its search scale.

    ``kind`` is "lambda" (log lambda), "eta" (log(eta - q + 1), which carries b), "A" (log of a
    diagonal entry of A, or of its common factor) or "rho" (atanh of an AR(1) correlation). ``index`` is
    the penalty group's or term's; of terms that share A, the first one's.
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
    levels : tuple of int
        Number of groups of each term.
    shared : tuple of int
        For each term, the first of the terms that share its A.
    group_names : tuple of str
        Of the penalty groups.
    group_sizes : tuple of int
        Number of coefficients of each penalty group that is a wide block, 1 for others.
    group_units : tuple of float
        Mean square of its columns as the ridge sees them: 1 where they are standardised, and for others.
    z_size : tuple of (q,) arrays
        For each term, the sizes |z_a| at which the hyperprior compares the entries of a diagonal A.
    hyperprior : Hyperprior or None
    """

    coordinates: tuple[Coordinate, ...]
    fixed: Theta
    levels: tuple[int, ...]
    shared: tuple[int, ...]
    group_names: tuple[str, ...]
    group_sizes: tuple[int, ...]
    group_units: tuple[float, ...]
    z_size: tuple[np.ndarray, ...]
    hyperprior: Hyperprior | None

    @property
    def start(self) -> np.ndarray:
        return np.array([c.start for c in self.coordinates])

    @property
    def bounds(self) -> list[tuple[float, float]]:
        return [(c.lower, c.upper) for c in self.coordinates]

    def near(self, phi: np.ndarray, distance: float) -> list[tuple[float, float]]:
        """The bounds, drawn in to a box around phi."""
        pairs = zip(self.bounds, phi, strict=True)
        return [(max(low, v - distance), min(high, v + distance)) for (low, high), v in pairs]

    @property
    def fewest_groups(self) -> int:
        """Groups of the factor that has fewest; 0 without random effects."""
        return min(self.levels, default=0)

    def theta(self, phi: np.ndarray) -> Theta:
        """Hyperparameters at phi."""
        log_lambda = np.array(self.fixed.log_lambda, dtype=float)
        etas = [value and value.eta for value in self.fixed.covariances]
        for coordinate, value in zip(self.coordinates, phi, strict=True):
            if coordinate.kind == "lambda":
                log_lambda[coordinate.index] = value
            elif coordinate.kind == "eta":
                etas[coordinate.index] = len(self.z_size[coordinate.index]) - 1.0 + np.exp(value)
        As = [None if eta is None else self._A(k, phi) for k, eta in enumerate(etas)]
        pairs = zip(etas, As, strict=True)
        return Theta(log_lambda, tuple(A if A is None else CovarianceHyperparameters(eta, A) for eta, A in pairs))

    def _own(self, k: int) -> list[tuple[int, Coordinate]]:
        """Columns of phi that A of term k depends on."""
        leader = self.shared[k]
        return [(j, c) for j, c in enumerate(self.coordinates) if c.index == leader and c.kind in ("A", "rho")]

    def _A(self, k: int, phi: np.ndarray) -> np.ndarray:
        fixed = self.fixed.covariances[k].A
        values = {(c.kind, c.entry): phi[j] for j, c in self._own(k)}
        if not values:
            return fixed
        if ("A", None) in values:
            correlations = ar1(len(fixed), float(np.tanh(values[("rho", None)]))) if ("rho", None) in values else None
            return np.exp(values[("A", None)]) * (np.eye(len(fixed)) if correlations is None else correlations)
        return np.diag(np.exp([values[("A", a)] for a in range(len(fixed))]))

    def pack_jacobian(self, phi: np.ndarray) -> np.ndarray:
        """Derivative of ``theta(phi).packed`` = (log lambda, eta_1, vech Phi_1, ...) in phi: (h, k)."""
        theta = self.theta(phi)
        columns = [np.zeros((len(theta.log_lambda), len(phi)))]
        for j, c in enumerate(self.coordinates):
            if c.kind == "lambda":
                columns[0][c.index, j] = 1.0
        for k, value in enumerate(theta.covariances):
            if value is None:
                continue
            part = np.zeros((1 + vech_size(value.q), len(phi)))
            for j, c in enumerate(self.coordinates):
                if c.kind == "eta" and c.index == k:
                    excess = value.eta - value.q + 1.0
                    part[:, j] = excess * np.concatenate([[1.0], vech(value.A)])
            for j, c in self._own(k):
                part[1:, j] = (value.eta + value.q + 1.0) * vech(_A_slope(c, value.A, phi[j]))
            columns.append(part)
        return np.concatenate(columns)

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
            mean, sd = self.normal(coordinate, prior)
            residual = (phi[column] - mean) / sd
            total -= 0.5 * residual**2 + np.log(sd) + 0.5 * np.log(2 * np.pi)
            gradient[column] = -residual / sd
        for k in range(len(self.z_size)):
            columns = [
                j for j, c in enumerate(self.coordinates) if c.kind == "A" and c.index == k and c.entry is not None
            ]
            if len(columns) > 1:
                level = phi[columns] - self.pooled_shape(k)
                residual = (level - level.mean()) / prior.pool_sd
                total -= 0.5 * float(residual @ residual)
                total -= (len(columns) - 1) * (np.log(prior.pool_sd) + 0.5 * np.log(2 * np.pi))
                gradient[columns] = -residual / prior.pool_sd
        return float(total), gradient

    def log_prior(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        """The hyperprior with the level of every A: a proper, normalised log-density on phi, and its gradient."""
        total, gradient = self.log_hyperprior(phi)
        sd = self.hyperprior.level_sd
        for k in range(len(self.z_size)):
            columns = [j for j, c in enumerate(self.coordinates) if c.kind == "A" and c.index == k]
            if columns:
                start = np.array([self.coordinates[j].start for j in columns])
                residual = float(np.mean(phi[columns] - start)) / sd
                # the density of the mean, as one of an axis of unit length
                total -= 0.5 * residual**2 + np.log(sd) + 0.5 * np.log(2 * np.pi * len(columns))
                gradient[columns] -= residual / sd / len(columns)
        return total, gradient

    def draw_prior(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """phi from :meth:`log_prior`, (number, k)."""
        prior, phi = self.hyperprior, np.empty((number, len(self.coordinates)))
        for j, c in enumerate(self.coordinates):
            if c.kind != "A":
                mean, sd = self.normal(c, prior)
                phi[:, j] = mean + sd * rng.standard_normal(number)
        for k in range(len(self.z_size)):
            own = [j for j, c in enumerate(self.coordinates) if c.kind == "A" and c.index == k]
            if not own:
                continue
            level, spread = rng.standard_normal((number, 1)), rng.standard_normal((number, len(own)))
            spread -= spread.mean(axis=1, keepdims=True)
            centre = np.mean([self.coordinates[j].start for j in own])
            shape = self.pooled_shape(k) if len(own) > 1 else 0.0
            phi[:, own] = centre + shape + prior.level_sd * level + prior.pool_sd * spread
        return phi

    def pooled_shape(self, k: int) -> np.ndarray:
        """Where the hyperprior centres the entries of a diagonal log A of term k, but for their level; (q,).

        Effects that contribute alike where their columns have the size ``z_size``, whatever the units of these.
        """
        shape = -2.0 * np.log(self.z_size[k])
        return shape - shape.mean()

    def normal(self, c: Coordinate, prior: Hyperprior) -> tuple[float, float]:
        """Mean and sd of the hyperprior on one coordinate."""
        if c.kind == "lambda":
            half = 0.5 * float(np.log(self.group_sizes[c.index]))
            return half + float(np.log(self.group_units[c.index])), prior.lambda_sd + half
        return (float(np.log(prior.eta_median)), prior.eta_sd) if c.kind == "eta" else (0.0, prior.rho_sd)


def ar1(q: int, rho: float) -> np.ndarray:
    """Correlations ``rho^|i - j|``, (q, q)."""
    return rho ** np.abs(np.subtract.outer(np.arange(q), np.arange(q))).astype(float)


def _A_slope(c: Coordinate, A: np.ndarray, value: float) -> np.ndarray:
    """Derivative of A in one of its coordinates."""
    if c.kind == "rho":
        q, rho = len(A), float(np.tanh(value))
        lag = np.abs(np.subtract.outer(np.arange(q), np.arange(q))).astype(float)
        return A[0, 0] * lag * rho ** np.maximum(lag - 1.0, 0.0) * (1.0 - rho**2)
    if c.entry is None:
        return A
    slope = np.zeros_like(A)
    slope[c.entry, c.entry] = A[c.entry, c.entry]
    return slope


def build_space(design: Design, priors: PriorSet, columns: ColumnSizes, hyperprior: Hyperprior | None) -> Space:
    """What is to be learned of a model's priors, where to start and where to stop."""
    coordinates: list[Coordinate] = []
    log_lambda, sizes, units = [], [], []
    for index, group in enumerate(priors.penalty_groups):
        value, size, unit = group.prior.lambda_, 1, 1.0
        if group.block is not None:
            size, unit = group.size, columns.wide[group.block]
        start = float(np.log(size * unit)) if value is None else float(np.log(value))
        log_lambda.append(start)
        sizes.append(size)
        units.append(unit)
        if value is None:
            low, high = (bound + np.log(size * unit) for bound in _LOG_LAMBDA)
            coordinates.append(Coordinate(f"lambda[{group.name}]", "lambda", index, None, start, low, high))
    variance, effects = _residual_variance(design), sum(design.sizes)
    squares = tuple(np.diagonal(moments) for moments in columns.moments)
    covariances: list[CovarianceHyperparameters | None] = []
    for index, (term, prior) in enumerate(zip(design.terms, priors.covariances, strict=True)):
        if isinstance(prior, Flat):
            covariances.append(None)
            continue
        value = _start(prior, variance, squares[index], term.n_groups, effects)
        covariances.append(value)
        coordinates.extend(_b_coordinate(index, term, prior, value))
        if priors.shared[index] == index:
            names = [t.name for t, leader in zip(design.terms, priors.shared, strict=True) if leader == index]
            coordinates.extend(_A_coordinates(index, ", ".join(names), term, prior, value, variance, squares[index]))
    fixed = Theta(np.array(log_lambda, dtype=float), tuple(covariances))
    levels = tuple(term.n_groups for term in design.terms)
    names = tuple(group.name for group in priors.penalty_groups)
    shared = priors.shared
    by_mean = hyperprior is not None and hyperprior.pool_at == "mean square"
    z_size = tuple(np.sqrt(square) for square in squares) if by_mean else columns.largest
    return Space(
        tuple(coordinates),
        fixed,
        levels,
        shared,
        names,
        tuple(sizes),
        tuple(units),
        z_size,
        hyperprior,
    )


def _residual_variance(design: Design) -> float:
    """Variance of y that least squares on X leaves, at least a thousandth of it (p may exceed n)."""
    n, p = design.X.shape
    unit = design.X / np.abs(design.X).max(axis=0, initial=np.finfo(float).tiny)  # whatever the units of a column
    fitted = unit @ np.linalg.lstsq(unit, design.y, rcond=None)[0] if p else 0.0
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
    eta = prior.eta if prior.eta is not None else q - 1.0 + Hyperprior.eta_median
    if prior.b is not None:
        eta = eta_from_b(prior.b, m, q)
    if not isinstance(prior.A, str):
        return CovarianceHyperparameters(eta, prior.A)
    level = 0.5 * variance / (q_total * squares)
    if prior.A != "diagonal":
        level = np.full(q, np.exp(np.mean(np.log(level))))
    return CovarianceHyperparameters(eta, np.diag(level))


def _b_coordinate(index: int, term: Term, prior: InverseWishart, value: CovarianceHyperparameters) -> list[Coordinate]:
    if prior.b is not None or prior.eta is not None:
        return []
    largest = eta_from_b(LARGEST_B, term.n_groups, term.q) - term.q + 1.0
    start = float(np.log(min(value.eta - term.q + 1.0, largest)))
    bounds = float(np.log(_SMALLEST_ETA_EXCESS)), float(np.log(largest))
    return [Coordinate(f"b[{term.name}]", "eta", index, None, start, *bounds)]


def _A_coordinates(
    index: int,
    name: str,
    term: Term,
    prior: InverseWishart,
    value: CovarianceHyperparameters,
    variance: float,
    squares: np.ndarray,
) -> list[Coordinate]:
    if not isinstance(prior.A, str):
        return []
    found = []
    for entry in range(term.q) if prior.A == "diagonal" else [None]:
        own = np.exp(np.mean(np.log(squares))) if entry is None else squares[entry]
        label = "" if entry is None else f"[{term.coefficients[entry]}]"
        low, high = (bound + np.log(variance / own) for bound in _LOG_A)
        start = float(np.log(value.A[entry or 0, entry or 0]))
        found.append(Coordinate(f"A[{name}]{label}", "A", index, entry, start, low, high))
    if prior.A == "ar1" and term.q > 1:
        found.append(Coordinate(f"rho[{name}]", "rho", index, None, 0.0, -_ATANH_RHO, _ATANH_RHO))
    return found
