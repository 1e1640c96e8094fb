"""Priors that a user can state; whatever is left ``None`` is learned from the data."""

from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from pmlmm.errors import PriorError

#: Structures of A that can be learned.
STRUCTURES = ("diagonal", "identity", "ar1")
_ADVICE = " Add a little to its diagonal, or learn it with A='diagonal'."
#: Sizes of a random-effect column at which the entries of A can be pooled.
POOLED_AT = ("largest", "mean square")
#: Beyond this b, Sigma is pinned to A for all that can be computed.
LARGEST_B = 0.999


@dataclass(frozen=True)
class Ridge:
    """Normal prior on a group of fixed effects: ``beta_j ~ N(mean, sigma^2 / lambda)``.

    Parameters
    ----------
    lambda_ : float, optional
        Precision in units of 1 / sigma^2, of the standardised column unless the model says
        ``standardize=False``. None: learned. 0: no penalty, a flat prior of density 1.
    mean : float or "response"
        Prior mean, in units of y; only the intercept can have one. "response" is the mean of y.
    """

    lambda_: float | None = None
    mean: float | Literal["response"] = 0.0

    def __post_init__(self) -> None:
        if self.lambda_ is not None and not (_is_finite(self.lambda_) and self.lambda_ >= 0):
            raise PriorError(
                f"Ridge(lambda_={self.lambda_!r}): lambda must be finite and at least 0 (0: unpenalised), "
                "or None to be learned."
            )
        if self.mean != "response" and not _is_finite(self.mean):
            raise PriorError(f"Ridge(mean={self.mean!r}): the mean must be a finite number or 'response'.")
        if self.lambda_ == 0 and self.mean != 0:
            raise PriorError("Ridge(lambda_=0) is flat: it has no mean.")


@dataclass(frozen=True, eq=False)
class InverseWishart:
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

    Raises
    ------
    PriorError
        b outside (0, 1), both b and eta, an A that is no covariance or no known structure.

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

    def __post_init__(self) -> None:
        if self.b is not None and self.eta is not None:
            raise PriorError("InverseWishart takes b or eta, not both.")
        if self.b is not None and not (_is_finite(self.b) and 0 < self.b < 1):
            raise PriorError(f"InverseWishart(b={self.b!r}): b is a weight, above 0 and below 1.")
        if self.b is not None and self.b > LARGEST_B:
            raise PriorError(
                f"InverseWishart(b={self.b!r}) pins Sigma to A beyond what can be computed: use at most {LARGEST_B}."
            )
        if self.eta is not None and not _is_finite(self.eta):
            raise PriorError(f"InverseWishart(eta={self.eta!r}): must be a finite number.")
        if isinstance(self.A, str):
            if self.A not in STRUCTURES:
                raise PriorError(f"InverseWishart(A={self.A!r}): A is a matrix or one of {', '.join(STRUCTURES)}.")
        else:
            object.__setattr__(self, "A", covariance("A", self.A, _ADVICE))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InverseWishart):
            return NotImplemented
        return (self.b, self.eta) == (other.b, other.eta) and np.array_equal(self.A, other.A)

    __hash__ = None

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
        if not (_is_finite(eta) and eta > q - 1):
            raise PriorError(f"from_eta_phi(eta={eta!r}): the prior is proper for eta > q - 1 = {q - 1} only.")
        return cls(A=Phi / (eta + q + 1), eta=float(eta))


@dataclass(frozen=True)
class HalfStudentT:
    """Prior on sigma: a Student-t folded at 0.

    Parameters
    ----------
    nu : float
        Degrees of freedom.
    scale : float, optional
        In units of y; the standard deviation of y by default.

    Raises
    ------
    PriorError
        A value that is not positive and finite.
    """

    nu: float = 4.0
    scale: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("nu", self.nu), ("scale", self.scale)):
            if not (value is None and name == "scale") and not (_is_finite(value) and value > 0):
                raise PriorError(f"HalfStudentT({name}={value!r}): must be positive and finite.")


@dataclass(frozen=True)
class Flat:
    """Density 1: no prior. For sigma, for a covariance, or for a group of fixed effects.

    The evidence of a model with a flat prior is defined up to that prior's unstated constant.
    """


@dataclass(frozen=True)
class Hyperprior:
    """Weak prior on the hyperparameters themselves, on the scale on which they are searched.

    Its shape and its default values were settled on simulated and real data; see "Which structure of A?" in the
    documentation's page on the talk.

    Parameters
    ----------
    eta_median, eta_sd : float
        ``log(eta - q + 1) ~ N(log eta_median, eta_sd^2)``: the degrees of freedom of Sigma's diagonal entries.
    lambda_sd : float
        ``log lambda ~ N(0, lambda_sd^2)``, and for a wide block of p columns
        ``N(log(p) / 2, (lambda_sd + log(p) / 2)^2)``: lambda may be of the order of 1, where every column carries
        as much as the noise, or of p, where all together do.
    pool_sd : float
        For a diagonal A, ``log(A_a s_a^2) ~ N(common mean, pool_sd^2)`` with the common mean flat, s_a the size of
        column z_a: the effects are expected to contribute alike, whatever the units of their columns.
    pool_at : "largest" or "mean square"
        s_a is the largest absolute value, or the root of the mean square, which an outlying row moves less.
    rho_sd : float
        For an AR(1) A, ``atanh rho ~ N(0, rho_sd^2)``.
    level_sd : float
        Where hyperparameters are integrated over or sampled, the common level of A needs a proper prior as well:
        ``log level ~ N(log half of the residual variance shared by all effects, level_sd^2)``. Maximising the
        evidence does without it.

    Raises
    ------
    PriorError
        A value that is not positive and finite, or an unknown ``pool_at``.
    """

    eta_median: float = 7.0
    eta_sd: float = 1.0
    lambda_sd: float = 2.0
    pool_sd: float = 0.5
    pool_at: Literal["largest", "mean square"] = "largest"
    rho_sd: float = 1.0
    level_sd: float = 3.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "pool_at" and not (_is_finite(value) and value > 0):
                raise PriorError(f"Hyperprior({name}={value!r}): must be positive and finite.")
        if self.pool_at not in POOLED_AT:
            raise PriorError(f"Hyperprior(pool_at={self.pool_at!r}): choose one of {', '.join(map(repr, POOLED_AT))}.")

    def __str__(self) -> str:
        size = "largest" if self.pool_at == "largest" else "of mean size"
        return (
            f"eta - q + 1 ~ LogNormal(log {self.eta_median:g}, {self.eta_sd:g}); "
            f"log lambda ~ Normal(0, {self.lambda_sd:g}); diagonal A pooled where its columns are {size}, "
            f"sd {self.pool_sd:g} on the log scale"
        )


def _is_finite(value: object) -> bool:
    """Whether value is one real, finite number."""
    return isinstance(value, Real) and bool(np.isfinite(value))


def covariance(name: str, matrix: ArrayLike, advice: str = "") -> np.ndarray:
    """A checked symmetric positive definite matrix; ``advice`` ends the message where it is not definite."""
    try:
        values = np.array(matrix, dtype=float)
    except (TypeError, ValueError) as error:
        raise PriorError(f"{name} must be a square matrix of numbers.") from error
    if values.ndim == 0:
        values = values.reshape(1, 1)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
        raise PriorError(f"{name} has shape {values.shape}; it must be square, one row a random effect.")
    if not np.isfinite(values).all() or not np.allclose(values, values.T, rtol=1e-10, atol=0):
        raise PriorError(f"{name} must be finite and symmetric; it is {values.tolist()}.")
    smallest = float(np.linalg.eigvalsh(values)[0])
    if smallest <= 0:
        raise PriorError(
            f"{name} is not positive definite (smallest eigenvalue {smallest:.3g}): it is a covariance.{advice}"
        )
    return (values + values.T) / 2


def eta_from_b(b: float, m: int, q: int) -> float:
    """Degrees of freedom of IW(b, A) for m groups and q effects."""
    return m * b / (1.0 - b) - q - 1.0


def b_from_eta(eta: float, m: int, q: int) -> float:
    """Weight of A in the EM update; inverse of :func:`eta_from_b`."""
    return (eta + q + 1.0) / (m + eta + q + 1.0)


def smallest_b(m: int, q: int) -> float:
    """IW(b, A) is proper above this b."""
    return 2.0 * q / (m + 2.0 * q)
