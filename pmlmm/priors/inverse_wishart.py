"""The inverse-Wishart prior IW(b, A) on the covariance of a random-effect term."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pmlmm.design.term import Term
from pmlmm.errors import PriorError
from pmlmm.kernels import inverse_wishart
from pmlmm.kernels.coordinates import vech
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.priors.checked import covariance, is_finite
from pmlmm.priors.covariance import (
    CovarianceDensity,
    CovarianceFamily,
    CovariancePrior,
    TermScale,
    refuse_single_group,
)
from pmlmm.priors.hyperparameters import Hyperparameter
from pmlmm.priors.hyperprior import Hyperprior, Pool
from pmlmm.priors.origin import check, refuse_origin
from pmlmm.priors.targets import STRUCTURES, Target, target_of
from pmlmm.priors.univariate import Normal

#: Beyond this b, Sigma is pinned to A for all that can be computed.
LARGEST_B = 0.999
_ADVICE = " Add a little to its diagonal, or learn it with A='diagonal'."
_SMALLEST_ETA_EXCESS = 0.02
# So near to its upper bound b says that Sigma hardly leaves A, and importance draws of Sigma hardly spread.
_NEAR_BOUND, _PINNED = float(np.log(20.0)), float(np.log(10.0))


@dataclass(frozen=True, eq=False)
class InverseWishart(CovariancePrior):
    r"""Inverse-Wishart prior on the covariance of a random-effect term, Sigma ~ IW(b, A).

    ``A`` is the prior mode of Sigma and ``b`` in (0, 1) its weight in the EM update
    ``Sigma <- b A + (1 - b) mean_i E[gamma_i gamma_i']``. With the usual degrees of freedom eta and
    scale Phi, for m groups and q effects: ``eta + q + 1 = m b / (1 - b)``, ``Phi = (eta + q + 1) A``.
    Proper for ``b > 2q / (m + 2q)``.

    Parameters
    ----------
    b : float, optional
        None: learned.
    A : "diagonal", "identity", "ar1" or (q, q) array
        A structure to be learned, or the matrix itself, in units of y^2 over units of the
        random-effect columns. "identity" is a common variance times I; "ar1" is a common variance times
        rho^|i - j|, for effects in order and on one scale (occasions, dose levels).
    eta : float, optional
        Degrees of freedom, above q - 1, instead of b: the same for any number of groups.

    origin : "auto", "zero", "mean", float or mapping
        Where a structure A is stated: at which value of the term's columns intercept and slopes are uncorrelated. The
        user's zero, the columns' means, a number for the one column beside the intercept, or numbers by name of the
        column. "auto" is the mean of a column whose zero is far from where its groups were seen: more than 5 of its
        standard deviations within groups (years, Julian days, ages); zero otherwise. A matrix A is meant at
        the user's zero unless an origin is given. Terms without an intercept stay as they are.

    Raises
    ------
    PriorError
        b outside (0, 1), both b and eta, an A that is no covariance or no known structure, no known origin.

    Notes
    -----
    The inverse-Wishart couples variances and correlations [1]_: large variances go with correlations near
    -1 and 1, small ones with correlations near 0.

    References
    ----------
    .. [1] Chung, Gelman, Rabe-Hesketh, Liu, Dorie (2015). Weakly informative prior for point
       estimation of covariance matrices in hierarchical models. JEBS 40(2).
    """

    b: float | None = None
    A: str | np.ndarray | list = "diagonal"
    eta: float | None = None
    origin: str | float | Mapping[str, float] = "auto"
    per_effect = ("A",)

    def __post_init__(self) -> None:
        if self.b is not None and self.eta is not None:
            raise PriorError("InverseWishart takes b or eta, not both.")
        if self.b is not None and not (is_finite(self.b) and 0 < self.b < 1):
            raise PriorError(f"InverseWishart(b={self.b!r}): b is a weight, above 0 and below 1.")
        if self.b is not None and self.b > LARGEST_B:
            raise PriorError(
                f"InverseWishart(b={self.b!r}) pins Sigma to A beyond what can be computed: use at most {LARGEST_B}."
            )
        if self.eta is not None and not is_finite(self.eta):
            raise PriorError(f"InverseWishart(eta={self.eta!r}): must be a finite number.")
        if isinstance(self.A, str):
            if self.A not in STRUCTURES:
                raise PriorError(f"InverseWishart(A={self.A!r}): A is a matrix or one of {', '.join(STRUCTURES)}.")
        else:
            object.__setattr__(self, "A", covariance("A", self.A, _ADVICE))
        refuse_origin(self.origin)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InverseWishart):
            return NotImplemented
        own, others = (self.b, self.eta, self.origin), (other.b, other.eta, other.origin)
        return own == others and np.array_equal(self.A, other.A)

    @classmethod
    def from_eta_phi(cls, eta: float, Phi: np.ndarray | list) -> "InverseWishart":
        """The prior with ``eta`` degrees of freedom and scale ``Phi``, both fixed.

        Its density is proportional to ``|Sigma|^{-(eta+q+1)/2} exp(-tr(Phi Sigma^{-1})/2)``.

        Parameters
        ----------
        eta : float
            Above q - 1.
        Phi : (q, q) array
            Symmetric and positive definite, in units of y^2 over units of the random-effect columns.

        Raises
        ------
        PriorError
            eta too small for a proper prior, or a Phi that is no covariance.
        """
        Phi = covariance("Phi", Phi, _ADVICE)
        q = len(Phi)
        if not (is_finite(eta) and eta > q - 1):
            raise PriorError(f"from_eta_phi(eta={eta!r}): the prior is proper for eta > q - 1 = {q - 1} only.")
        return cls(A=Phi / (eta + q + 1), eta=float(eta))

    @property
    def words(self) -> str:
        weight = "learned" if self.b is None else f"{self.b:g}"
        if self.eta is not None:
            weight = f"from eta = {self.eta:g}"
        target = f"{self.A}, learned" if isinstance(self.A, str) else np.array2string(np.asarray(self.A), precision=4)
        return f"IW(b, A), b {weight}, A {target}".replace("\n", "")

    @property
    def stated_origin(self) -> Any:
        return self.origin

    @property
    def at_origin(self) -> bool:
        return isinstance(self.A, str) or self.origin != "auto"

    def check(self, term: Term, where: str) -> None:
        check(term, self.origin, where)
        m, q = term.n_groups, term.q
        if isinstance(self.A, str) or (self.b is None and self.eta is None):
            refuse_single_group(term)
        if not isinstance(self.A, str) and len(self.A) != q:
            raise PriorError(
                f"{where}: A is {len(self.A)} x {len(self.A)}, but the term has {q} effects "
                f"({', '.join(term.coefficients)}): it must be {q} x {q}."
            )
        if self.eta is not None and self.eta <= q - 1:
            raise PriorError(f"{where}: eta = {self.eta:g} is improper; it must be above q - 1 = {q - 1}.")
        if self.b is not None and self.b <= smallest_b(m, q):
            raise PriorError(
                f"{where}: b = {self.b:g} is improper. With m = {m} groups and q = {q} effects b must be above "
                f"2q / (m + 2q) = {smallest_b(m, q):.4g}, and below 1."
            )

    def family(self, scale: TermScale) -> "InverseWishartFamily":
        m, q = scale.term.n_groups, scale.term.q
        A = self.A if isinstance(self.A, str) else np.asarray(self.A)
        target, weight = target_of(A, scale, at_origin=self.at_origin), None
        eta = self.eta if self.eta is not None else q - 1.0 + Hyperprior.eta_median
        if self.b is not None:
            eta = eta_from_b(self.b, m, q)
        elif self.eta is None:
            largest = eta_from_b(LARGEST_B, m, q) - q + 1.0
            start, low, high = (float(np.log(x)) for x in (min(eta - q + 1.0, largest), _SMALLEST_ETA_EXCESS, largest))
            weight = LogExcess(f"b[{scale.term.name}]", start, low, high, scale.term.name, m, q)
        return InverseWishartFamily(scale, weight, target, InverseWishartDensity(eta, target.start))


@dataclass(frozen=True)
class LogExcess(Hyperparameter):
    """log(eta - q + 1), the degrees of freedom of a variance, shown as the weight b."""

    term: str
    m: int
    q: int

    @property
    def variable(self) -> str:
        return f"b_{self.term}"

    def shown(self, values: np.ndarray) -> np.ndarray:
        return b_from_eta(np.exp(values) + self.q - 1.0, self.m, self.q)

    def searched(self, shown: np.ndarray) -> np.ndarray:
        return np.log(eta_from_b(shown, self.m, self.q) - self.q + 1.0)

    def density(self, hyperprior: Hyperprior) -> Normal:
        return Normal(float(np.log(hyperprior.eta_median)), hyperprior.eta_sd)

    @property
    def bound_words(self) -> tuple[str, str]:
        return (
            f"the data ask for no shrinkage of Sigma of {self.term}",
            f"Sigma of {self.term} sits on its prior target A, where the evidence is highest",
        )

    def flat_words(self, value: float, rows: int) -> str:
        if self.upper - value < _NEAR_BOUND:
            return f"flat towards its upper bound: Sigma of {self.term} hardly leaves its prior target A"
        return ""

    def pinned(self, value: float) -> str:
        return "b near its upper bound: Sigma is pinned to A" if value >= self.upper - _PINNED else ""


class InverseWishartFamily(CovarianceFamily["InverseWishartDensity"]):
    """IW(b, A) of one term, as a function of log(eta - q + 1) and of what A is made of."""

    def __init__(self, scale: TermScale, weight: LogExcess | None, target: Target, start: "InverseWishartDensity"):
        self.scale, self.target, self.start = scale, target, start
        self.own, self.shared = (() if weight is None else (weight,)), target.hyperparameters

    def at(self, values: np.ndarray) -> "InverseWishartDensity":
        eta = self.start.q - 1.0 + float(np.exp(values[0])) if self.own else self.start.eta
        return InverseWishartDensity(eta, self.target.matrix(values[len(self.own) :]))

    def slopes(self, values: np.ndarray) -> np.ndarray:
        at, own = self.at(values), len(self.own)
        slopes = np.zeros((len(at.packed), len(values)))
        if own:
            slopes[:, 0] = (at.eta - at.q + 1.0) * np.concatenate([[1.0], vech(at.A)])
        for j, slope in enumerate(self.target.slopes(values[own:])):
            slopes[1:, own + j] = (at.eta + at.q + 1.0) * vech(slope)
        return slopes

    def pool(self, columns: np.ndarray) -> Pool | None:
        count = self.target.variances
        start = np.array([h.start for h in self.shared[:count]])
        sizes = self.scale.sizes if count == len(self.scale.sizes) else np.ones(count)
        return Pool("A", columns[:count], start, sizes) if count else None

    def table(self, density: "InverseWishartDensity") -> dict[str, float]:
        term = self.scale.term
        rows = {f"b[{term.name}]": density.b(term.n_groups)} | {h.name: np.nan for h in self.shared}
        if not self.shared:
            variances = self.target.variances_of(density.A).tolist()
            rows |= {f"A[{term.name}][{name}]": v for name, v in zip(term.coefficients, variances, strict=True)}
        return rows

    def variables(self, density: "InverseWishartDensity") -> dict[str, np.ndarray]:
        b = np.array(density.b(self.scale.term.n_groups))
        return {"b": b, "A": self.target.variances_of(density.A)} | self.target.variables(density.A)


@dataclass(frozen=True, eq=False)
class InverseWishartDensity(CovarianceDensity):
    """IW with eta degrees of freedom around its mode A, (q, q)."""

    eta: float
    A: np.ndarray
    compiled = staticmethod(inverse_wishart.value_and_gradient)
    sampled = staticmethod(inverse_wishart.add_to_slope)

    @property
    def q(self) -> int:
        return len(self.A)

    @property
    def Phi(self) -> np.ndarray:
        return (self.eta + self.q + 1.0) * self.A

    def b(self, m: int) -> float:
        """Weight of A in the EM update, for m groups."""
        return b_from_eta(self.eta, m, self.q)

    @property
    def packed(self) -> np.ndarray:
        """(eta, vech Phi)."""
        return np.concatenate([[self.eta], vech(self.Phi)])

    @property
    def typical(self) -> np.ndarray:
        return self.A

    @property
    def log_constant(self) -> float:
        return inverse_wishart.log_normaliser(self.eta, float(np.linalg.slogdet(self.Phi)[1]), self.q)

    @staticmethod
    def derivatives(w: np.ndarray) -> Derivatives:
        # q(q+1) + 1 entries
        return inverse_wishart.log_density(w, int((np.sqrt(4 * len(w) - 3) - 1) / 2 + 0.5))

    def log_densities(self, precision: np.ndarray, log_det: np.ndarray | float) -> np.ndarray:
        return inverse_wishart.log_densities(self.eta, self.Phi, precision, log_det)

    @classmethod
    def log_density_pairs(cls, densities: Sequence[Self], precision: np.ndarray, log_det: np.ndarray) -> np.ndarray:
        eta, Phi = np.array([d.eta for d in densities]), np.stack([d.Phi for d in densities])
        return inverse_wishart.log_density_pairs(eta, Phi, precision, log_det)

    def weighted_gradient(self, precision: np.ndarray, log_det: np.ndarray, weights: np.ndarray) -> np.ndarray:
        mean = np.tensordot(weights, precision, axes=1)  # linear in the precision and in log|Sigma|
        return inverse_wishart.hyperparameter_gradient(self.eta, self.Phi, mean, float(weights @ log_det))

    def gradient(self, precision: np.ndarray, log_det: float) -> np.ndarray:
        return inverse_wishart.hyperparameter_gradient(self.eta, self.Phi, precision, log_det)

    def em_step(self, Sigma: np.ndarray, moment: np.ndarray, m: int) -> np.ndarray:
        """The talk's: b A + (1 - b) moment."""
        weight = self.b(m)
        return weight * self.A + (1.0 - weight) * moment

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        from scipy.stats import invwishart  # slow to import, and only needed here

        return np.reshape(invwishart.rvs(self.eta, self.Phi, random_state=rng), (self.q, self.q))


def eta_from_b[X: (float, np.ndarray)](b: X, m: int, q: int) -> X:
    """Degrees of freedom of IW(b, A) for m groups and q effects."""
    return m * b / (1.0 - b) - q - 1.0


def b_from_eta[X: (float, np.ndarray)](eta: X, m: int, q: int) -> X:
    """Weight of A in the EM update; inverse of :func:`eta_from_b`."""
    return (eta + q + 1.0) / (m + eta + q + 1.0)


def smallest_b(m: int, q: int) -> float:
    """IW(b, A) is proper above this b."""
    return 2.0 * q / (m + 2.0 * q)
