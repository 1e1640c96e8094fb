"""Mixtures of multivariate Student-t as proposals: draws, densities, and how they are fitted to weighted draws."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaincinv, gammaln, ndtri
from scipy.stats import qmc

# Degrees of freedom: heavy tails, at little cost in effective draws, for skew posteriors.
_NU = 5.0
# Quasi-random numbers keep so far from 0 and 1.
_EDGE = 1e-10
# A direction in which weighted draws do not spread at all still gets this variance.
_LEAST_VARIANCE = 1e-12
# Share of the draws that a new component starts from; least share of any; steps of EM.
_NEW_SHARE, _LEAST_SHARE, _STEPS = 0.1, 0.02, 10


@dataclass(frozen=True, eq=False)
class Student:
    """Student-t around ``centre`` (k,); ``root`` (k, k) is the lower factor of its scale matrix."""

    centre: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, centre: np.ndarray, scale: np.ndarray) -> "Student":
        """With the scale matrix (k, k)."""
        return cls(centre, np.linalg.cholesky(scale + _LEAST_VARIANCE * np.eye(len(centre))))

    @classmethod
    def matched(cls, points: np.ndarray, weights: np.ndarray) -> "Student":
        """With the weighted mean of points (draws, k), and their covariance as its scale."""
        centre = weights @ points
        deviations = points - centre
        return cls.of(centre, (deviations.T * weights) @ deviations)

    def wider(self, factor: float) -> "Student":
        """Its scale matrix multiplied by a factor."""
        return Student(self.centre, np.sqrt(factor) * self.root)

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """(number, k)."""
        normal = rng.standard_normal((number, len(self.centre)))
        return self._placed(normal, np.sqrt(_NU / rng.chisquare(_NU, size=(number, 1))))

    def spread(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Scrambled Sobol points, ``number`` a power of two: (number, k)."""
        k = len(self.centre)
        uniform = np.clip(qmc.Sobol(k + 1, rng=rng).random(number), _EDGE, 1.0 - _EDGE)
        return self._placed(ndtri(uniform[:, :k]), np.sqrt(0.5 * _NU / gammaincinv(0.5 * _NU, uniform[:, k:])))

    def _placed(self, normal: np.ndarray, stretch: np.ndarray) -> np.ndarray:
        return self.centre + (normal * stretch) @ self.root.T

    def squares(self, points: np.ndarray) -> np.ndarray:
        """Squared distances of points (draws, k) from the centre, in its scale: (draws,)."""
        z = (points - self.centre) @ self._inverse.T
        return np.einsum("sk,sk->s", z, z)

    @cached_property
    def _inverse(self) -> np.ndarray:
        return np.linalg.inv(self.root)

    def log_density(self, squares: np.ndarray) -> np.ndarray:
        """At points with these :meth:`squares`: (draws,)."""
        k = len(self.centre)
        constant = gammaln((_NU + k) / 2) - gammaln(_NU / 2) - k / 2 * np.log(_NU * np.pi)
        constant -= np.sum(np.log(np.diag(self.root)))
        return constant - (_NU + k) / 2 * np.log1p(squares / _NU)

    def pull(self, squares: np.ndarray) -> np.ndarray:
        """What such points count in its maximum-likelihood equations: less, far out."""
        return (_NU + len(self.centre)) / (_NU + squares)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Student-t components with their ``shares``."""

    components: tuple[Student, ...]
    shares: np.ndarray

    @classmethod
    def of(cls, student: Student) -> "Mixture":
        """A single one."""
        return cls((student,), np.ones(1))

    def draw(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """(number, k), of which each component has its share."""
        edges = np.rint(np.cumsum([0.0, *self.shares]) * number).astype(int)
        pairs = zip(self.components, np.diff(edges).tolist(), strict=True)
        return np.concatenate([student.draw(count, rng) for student, count in pairs])

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Of points (draws, k): (draws,)."""
        return np.logaddexp.reduce(self._joint([student.squares(points) for student in self.components]), axis=0)

    def wider(self, factor: float) -> "Mixture":
        """Scales multiplied by a factor."""
        return Mixture(tuple(student.wider(factor) for student in self.components), self.shares)

    def defended(self, share: float, factor: float) -> "Mixture":
        """A share of it with its scales multiplied by a factor, for tails that no draw has reached.

        Hesterberg (1995), Technometrics 37.
        """
        wide = self.wider(factor).components
        return Mixture((*self.components, *wide), np.append(self.shares * (1.0 - share), self.shares * share))

    def with_one_more(self, points: np.ndarray, weights: np.ndarray) -> "Mixture":
        """With a component more, which starts where the weights are largest, fitted to the weighted points by EM.

        Hoogerheide, Opschoor and van Dijk (2012), Journal of Econometrics 171.
        """
        largest = np.where(weights >= np.quantile(weights, 1.0 - _NEW_SHARE), weights, 0.0)
        new = Student.matched(points, largest / np.sum(largest))
        found = Mixture((*self.components, new), np.append(self.shares * (1.0 - _NEW_SHARE), _NEW_SHARE))
        for _ in range(_STEPS):
            found = found._step(points, weights)
        return found

    def _joint(self, squares: list[np.ndarray]) -> np.ndarray:
        """log(share times density) of each component, (components, draws)."""
        densities = [student.log_density(own) for student, own in zip(self.components, squares, strict=True)]
        return np.log(self.shares)[:, None] + np.array(densities)

    def _step(self, points: np.ndarray, weights: np.ndarray) -> "Mixture":
        squares = [student.squares(points) for student in self.components]
        joint = self._joint(squares)
        own = np.exp(joint - np.logaddexp.reduce(joint, axis=0)) * weights
        shares = np.maximum(np.sum(own, axis=1), _LEAST_SHARE)
        components = []
        for student, mine, square, share in zip(self.components, own, squares, shares, strict=True):
            pulled = mine * student.pull(square)
            centre = pulled @ points / np.sum(pulled)
            deviations = points - centre
            components.append(Student.of(centre, (deviations.T * pulled) @ deviations / share))
        return Mixture(tuple(components), shares / np.sum(shares))
