"""The space that empirical Bayes searches: one coordinate for each learned hyperparameter."""

from dataclasses import dataclass, replace

import numpy as np

from pmlmm.design.design import Design
from pmlmm.errors import DataError
from pmlmm.priors.covariance import CovarianceFamily, TermScale
from pmlmm.priors.hyperparameters import LOG_LAMBDA, Hyperparameter, LogLambda
from pmlmm.priors.hyperprior import Hyperprior, Pool
from pmlmm.priors.prior_set import PenaltyGroup, PriorSet
from pmlmm.priors.theta import Theta

_EXACT = 1e-12


@dataclass(frozen=True, eq=False)
class ColumnSizes:
    """How large the columns are that priors act on.

    Attributes
    ----------
    moments : tuple of (q, q) arrays
        ``Z'Z / n`` of each term, from the origin of its columns.
    largest : tuple of (q,) arrays
        Largest |z_a| over the rows, for each term.
    wide : tuple of float
        Mean square of the columns of each wide block as the ridge sees them.
    """

    moments: tuple[np.ndarray, ...]
    largest: tuple[np.ndarray, ...]
    wide: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Space:
    """Learned hyperparameters, and the map from them to Theta.

    Attributes
    ----------
    coordinates : tuple of Hyperparameter
        In the order of phi: first log lambda of the ``learned_groups``, then those of the terms.
    learned_groups : (l,) int array
        Numbers of the penalty groups whose lambda is learned.
    fixed : Theta
        Values of everything; the learned ones are starts.
    families : tuple of CovarianceFamily
        Prior of each term's covariance as a function of ``phi[columns]``.
    columns : tuple of int arrays
    pools : tuple of Pool
        Coordinates that have a joint hyperprior.
    levels : tuple of int
        Number of groups of each term.
    group_names : tuple of str
        Of the penalty groups.
    absolute : tuple of bool
        Which of them have a prior in the units of y, and no lambda.
    group_sizes : tuple of int
        Number of coefficients of each penalty group.
    group_units : tuple of float
        Mean square of its columns as the ridge sees them: 1 where they are standardised.
    hyperprior : Hyperprior or None
    """

    coordinates: tuple[Hyperparameter, ...]
    learned_groups: np.ndarray
    fixed: Theta
    families: tuple[CovarianceFamily, ...]
    columns: tuple[np.ndarray, ...]
    pools: tuple[Pool, ...]
    levels: tuple[int, ...]
    group_names: tuple[str, ...]
    absolute: tuple[bool, ...]
    group_sizes: tuple[int, ...]
    group_units: tuple[float, ...]
    hyperprior: Hyperprior | None

    @property
    def start(self) -> np.ndarray:
        return np.array([c.start for c in self.coordinates])

    @property
    def bounds(self) -> list[tuple[float, float]]:
        return [(c.lower, c.upper) for c in self.coordinates]

    @property
    def sizes(self) -> tuple[int, ...]:
        """q of each term."""
        return tuple(family.start.q for family in self.families)

    @property
    def fewest_groups(self) -> int:
        """Groups of the factor that has fewest; 0 without random effects."""
        return min(self.levels, default=0)

    def near(self, phi: np.ndarray, distance: float) -> list[tuple[float, float]]:
        """The bounds, drawn in to a box around phi."""
        pairs = zip(self.bounds, phi, strict=True)
        return [(max(low, v - distance), min(high, v + distance)) for (low, high), v in pairs]

    def held(self, column: int, value: float) -> "Space":
        """The same with one coordinate held at a value."""
        coordinates = list(self.coordinates)
        coordinates[column] = replace(coordinates[column], lower=value, upper=value)
        return replace(self, coordinates=tuple(coordinates))

    def theta(self, phi: np.ndarray) -> Theta:
        """Hyperparameters at phi."""
        log_lambda = np.array(self.fixed.log_lambda, dtype=float)
        log_lambda[self.learned_groups] = phi[: len(self.learned_groups)]
        pairs = zip(self.families, self.columns, strict=True)
        return Theta(log_lambda, tuple(family.at(phi[columns]) for family, columns in pairs))

    def pack_jacobian(self, phi: np.ndarray) -> np.ndarray:
        """Derivative of ``theta(phi).packed`` in phi: (h, k)."""
        blocks = [np.zeros((len(self.fixed.log_lambda), len(phi)))]
        blocks[0][self.learned_groups, np.arange(len(self.learned_groups))] = 1.0
        for family, columns in zip(self.families, self.columns, strict=True):
            slopes = family.slopes(phi[columns])
            block = np.zeros((len(slopes), len(phi)))
            block[:, columns] = slopes
            blocks.append(block)
        return np.concatenate(blocks)

    def log_prior(self, phi: np.ndarray) -> tuple[float, np.ndarray]:
        """The hyperprior: a proper, normalised log-density on phi, and its gradient; (0, 0) without one."""
        gradient, total = np.zeros(len(phi)), 0.0
        if self.hyperprior is None:
            return total, gradient
        for column, coordinate in enumerate(self.coordinates):
            if (own := coordinate.density(self.hyperprior)) is not None:
                value, gradient[column] = own.log_density(phi[column])
                total += float(value)
        for pool in self.pools:
            for part in (pool.spread, pool.level):
                value, slope = part(phi, self.hyperprior)
                total += float(value)
                gradient[pool.columns] += slope
        return total, gradient

    def log_prior_of_lambda(self, phi: np.ndarray) -> np.ndarray:
        """The part of :meth:`log_prior` that the learned lambdas have, of which the rest is independent: (draws,).

        ``phi`` (draws, l) has the first columns of phi.
        """
        return self._log_densities(phi, 0)

    def log_prior_of_covariances(self, phi: np.ndarray) -> np.ndarray:
        """The rest of it; ``phi`` (draws, k - l) has the other columns of phi: (draws,)."""
        first = len(self.learned_groups)
        total = self._log_densities(phi, first)
        whole = np.hstack([np.zeros((len(phi), first)), phi])
        assert self.hyperprior is not None
        for pool in self.pools:
            total += pool.spread(whole, self.hyperprior)[0] + pool.level(whole, self.hyperprior)[0]
        return total

    def _log_densities(self, phi: np.ndarray, first: int) -> np.ndarray:
        """Log-densities of the coordinates from ``first`` on that have a hyperprior of their own."""
        total = np.zeros(len(phi))
        assert self.hyperprior is not None
        for coordinate, values in zip(self.coordinates[first : first + phi.shape[1]], phi.T, strict=True):
            if (own := coordinate.density(self.hyperprior)) is not None:
                total += own.log_density(values)[0]
        return total

    def draw_prior(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """phi from :meth:`log_prior`, (number, k)."""
        phi = np.empty((number, len(self.coordinates)))
        assert self.hyperprior is not None
        for column, coordinate in enumerate(self.coordinates):
            if (own := coordinate.density(self.hyperprior)) is not None:
                phi[:, column] = own.draw(number, rng)
        for pool in self.pools:
            phi[:, pool.columns] = pool.draw(number, self.hyperprior, rng)
        return phi


def build_space(design: Design, priors: PriorSet, columns: ColumnSizes, hyperprior: Hyperprior | None) -> Space:
    """What is to be learned of a model's priors, where to start and where to stop."""
    groups = priors.penalty_groups
    sizes = tuple(group.size for group in groups)
    units = tuple(_unit(group, design, priors, columns) for group in groups)
    known = [group.log_lambda for group in groups]
    starts = [float(np.log(s * u)) if v is None else v for v, s, u in zip(known, sizes, units, strict=True)]
    learned = [g for g, group in enumerate(groups) if group.learned]
    penalties = tuple(_log_lambda(groups[g].name, sizes[g], units[g]) for g in learned)
    families = _families(design, priors, columns, hyperprior)
    terms, where, shared = _columns(families, priors.shared, len(penalties))
    pools = (families[k].pool(at) for k, at in shared.items())
    return Space(
        coordinates=(*penalties, *terms),
        learned_groups=np.array(learned, dtype=int),
        fixed=Theta(np.array(starts, dtype=float), tuple(family.start for family in families)),
        families=families,
        columns=where,
        pools=tuple(pool for pool in pools if pool is not None),
        levels=tuple(term.n_groups for term in design.terms),
        group_names=tuple(group.name for group in groups),
        absolute=tuple(group.absolute for group in groups),
        group_sizes=sizes,
        group_units=units,
        hyperprior=hyperprior,
    )


def _unit(group: PenaltyGroup, design: Design, priors: PriorSet, columns: ColumnSizes) -> float:
    """Mean square of a group's columns as the ridge sees them, times what a typical row weighs."""
    if group.block is not None:
        return columns.wide[group.block] * design.typical_weight
    raw = [j for j in group.columns if not priors.standardized[j]]
    squares = float(np.sum(design.mean(np.square(design.X[:, raw]))))
    unit = (len(group.columns) - len(raw) + squares) / len(group.columns)
    return max(unit * design.typical_weight, np.finfo(float).tiny)


def _log_lambda(name: str, size: int, unit: float) -> LogLambda:
    start = float(np.log(size * unit))
    low, high = (bound + start for bound in LOG_LAMBDA)
    return LogLambda(f"lambda[{name}]", start, low, high, name, size, unit)


def _families(
    design: Design, priors: PriorSet, columns: ColumnSizes, hyperprior: Hyperprior | None
) -> tuple[CovarianceFamily, ...]:
    """The prior of each term, on the scale of the data."""
    variance, effects = _residual_variance(design), sum(design.sizes)
    by_mean = hyperprior is not None and hyperprior.pool_at == "mean square"
    found = []
    for k, (term, prior, origin) in enumerate(zip(design.terms, priors.covariances, priors.origins, strict=True)):
        squares = np.diagonal(columns.moments[k])
        sizes = np.sqrt(squares) if by_mean else columns.largest[k]
        together = [t.name for t, first in zip(design.terms, priors.shared, strict=True) if first == priors.shared[k]]
        found.append(prior.family(TermScale(term, ", ".join(together), variance, effects, squares, sizes, origin)))
    return tuple(found)


def _columns(
    families: tuple[CovarianceFamily, ...], leaders: tuple[int, ...], position: int
) -> tuple[list[Hyperparameter], tuple[np.ndarray, ...], dict[int, np.ndarray]]:
    """The terms' hyperparameters, from ``position`` on; which each term depends on; and the shared ones by leader."""
    found: list[Hyperparameter] = []
    where: list[np.ndarray] = []
    shared: dict[int, np.ndarray] = {}
    for k, family in enumerate(families):
        leads = leaders[k] == k
        own = position + len(found) + np.arange(len(family.own))
        found.extend(family.own)
        if leads:
            shared[k] = position + len(found) + np.arange(len(family.shared))
            found.extend(family.shared)
        where.append(np.concatenate([own, shared[leaders[k]]]).astype(int))
    return found, tuple(where), shared


def _residual_variance(design: Design) -> float:
    """Variance of y that least squares on X leaves, at least a thousandth of it (p may exceed n)."""
    n, p = design.X.shape
    unit = design.X / np.abs(design.X).max(axis=0, initial=np.finfo(float).tiny)  # whatever the units of a column
    rows, net = unit, design.net
    if design.shares is not None:
        root = np.sqrt(design.shares)
        rows, net = unit * root[:, None], net * root
    found = np.linalg.lstsq(rows, net, rcond=None)[0]
    left, total = float(design.variance(design.net - unit @ found)), float(design.variance(design.net))
    if p < n and left < _EXACT * total:
        raise DataError(
            f"The fixed effects fit {design.parsed.response!r} exactly: there is no residual variation to model. "
            "Check that the response is not among the predictors."
        )
    return max(left, 1e-3 * total)
