"""The weak prior on the hyperparameters themselves, with its densities on the scale on which they are searched."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pmlmm.errors import PriorError
from pmlmm.kernels.derivatives import LOG_2PI
from pmlmm.priors.checked import is_finite

#: Sizes of a random-effect column at which the entries of A can be pooled.
POOLED_AT = ("largest", "mean square")


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
            if name != "pool_at" and not (is_finite(value) and value > 0):
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


def normal[X: (float, np.ndarray)](value: X, mean: float, sd: float) -> tuple[X, X]:
    """Log-density of N(mean, sd^2) at a value or several, and its slope."""
    residual = (value - mean) / sd
    return -(0.5 * residual**2 + float(np.log(sd)) + 0.5 * LOG_2PI), -residual / sd


@dataclass(frozen=True, eq=False)
class Pool:
    r"""Log variances of one term's effects that the hyperprior draws towards each other.

    With v the ``power`` times the hyperparameters on their search scale, so that v are log variances (``power`` is 2
    where log standard deviations are searched), ``v_a - shape_a`` are normal around their mean with sd ``pool_sd``;
    the mean of v itself is flat, or normal around that of the start with sd ``level_sd``.

    Attributes
    ----------
    name : str
        What the hyperparameters are called.
    columns : (q,) int array
        Where the hyperparameters stand in phi.
    start : (q,) array
        Theirs, on the search scale.
    sizes : (q,) array
        |z_a| at which the effects are expected to contribute alike.
    power : float
    """

    name: str
    columns: np.ndarray
    start: np.ndarray
    sizes: np.ndarray
    power: float = 1.0

    @property
    def shape(self) -> np.ndarray:
        """Where the hyperprior centres the entries, on the search scale, but for their level; (q,)."""
        shape = -2.0 * np.log(self.sizes) / self.power
        return shape - shape.mean()

    def spread(self, phi: np.ndarray, prior: Hyperprior) -> tuple[np.ndarray, np.ndarray]:
        """Log-density at phi (..., k) of the entries given their mean, and its gradient in them; 0 for a single one."""
        sd = prior.pool_sd / self.power
        relative = phi[..., self.columns] - self.shape
        residual = (relative - relative.mean(axis=-1, keepdims=True)) / sd
        constant = (len(self.columns) - 1) * (float(np.log(sd)) + 0.5 * LOG_2PI)
        return -0.5 * np.sum(residual**2, axis=-1) - constant, -residual / sd

    def level(self, phi: np.ndarray, prior: Hyperprior) -> tuple[np.ndarray, np.ndarray]:
        """The same of their mean, as one of an axis of unit length."""
        count, sd = len(self.columns), self.level_sd(prior)
        value, slope = normal(np.mean(phi[..., self.columns] - self.start, axis=-1), 0.0, sd)
        return value - 0.5 * float(np.log(count)), np.repeat(slope[..., None] / count, count, axis=-1)

    def level_sd(self, prior: Hyperprior) -> float:
        """Standard deviation of their mean on the search scale."""
        return prior.level_sd / self.power

    def draw(self, number: int, prior: Hyperprior, rng: np.random.Generator) -> np.ndarray:
        """Entries from both, (number, q)."""
        level, spread = rng.standard_normal((number, 1)), rng.standard_normal((number, len(self.columns)))
        spread -= spread.mean(axis=1, keepdims=True)
        return self.start.mean() + self.shape + (prior.level_sd * level + prior.pool_sd * spread) / self.power
