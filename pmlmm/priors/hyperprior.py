"""The weak prior on the hyperparameters themselves, with its densities on the scale on which they are searched."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import gammaln

from pmlmm.errors import PriorError
from pmlmm.kernels.derivatives import LOG_2PI
from pmlmm.priors.checked import is_finite
from pmlmm.priors.univariate import LogRatio

#: Sizes of a random-effect column at which the entries of A can be pooled.
POOLED_AT = ("largest", "mean square")


@dataclass(frozen=True)
class Hyperprior:
    """Weak prior on the hyperparameters themselves, on the scale on which they are searched.

    ``eta_median``, ``eta_sd``, ``pool_sd`` and ``pool_df`` were settled by the largest regret over simulated
    settings; see "The hyperprior" in the documentation's page on priors.

    Parameters
    ----------
    eta_median, eta_sd : float
        ``log(eta - q + 1) ~ N(log eta_median, eta_sd^2)``: the degrees of freedom of Sigma's diagonal entries.
    signal : float
        ``log(V / sigma^2) ~ t_3(0, signal^2)`` with ``V = p u sigma^2 / lambda``, the variance that p penalised
        columns of mean square u (1 where they are standardised) carry together: log lambda is around log(p u). The
        units of y and of the columns change nothing, and far out the slope dies away, so that precise measurements win.
    pool_sd, pool_df : float
        For a diagonal A, ``log(A_a s_a^2) ~ t(common level, pool_sd^2)``, s_a the size of column z_a: the effects are
        expected to contribute alike, whatever the units of their columns. Jointly a Student t of ``pool_df`` degrees
        of freedom: the same as normal with a variance that the effects share and that is learned from them, so that
        alike ones are pooled strongly and unlike ones hardly. ``inf`` is normal.
    pool_at : "largest" or "mean square"
        s_a is the largest absolute value, or the root of the mean square, which an outlying row moves less.
    rho_sd : float
        For an AR(1) A, ``atanh rho ~ N(0, rho_sd^2)``.
    level : float
        ``W / (W + W_0) ~ Beta(level, level)`` with W the common level of A (the geometric mean of its variances), and
        W_0 that at which the effects of all terms together carry half of the variance that the fixed effects leave.
        With 1/2 the level of standard deviations is half-Cauchy with the square root of W_0 as its scale.

    Raises
    ------
    PriorError
        A value that is not positive and finite, or an unknown ``pool_at``.
    """

    eta_median: float = 3.0
    eta_sd: float = 1.5
    signal: float = 4.0
    pool_sd: float = 1.3
    pool_df: float = 1.0
    pool_at: Literal["largest", "mean square"] = "largest"
    rho_sd: float = 1.0
    level: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "pool_at" or (name == "pool_df" and value == np.inf):
                continue
            if not (is_finite(value) and value > 0):
                valid = "positive, or inf for normal" if name == "pool_df" else "positive and finite"
                raise PriorError(f"Hyperprior({name}={value!r}): must be {valid}.")
        if self.pool_at not in POOLED_AT:
            raise PriorError(f"Hyperprior(pool_at={self.pool_at!r}): choose one of {', '.join(map(repr, POOLED_AT))}.")

    def __str__(self) -> str:
        size = self.pool_at if self.pool_at == "largest" else "of mean size"
        law = "normal" if self.pool_df == np.inf else f"t_{self.pool_df:g}"
        pooled = f"diagonal A pooled where its columns are {size}, {law} with sd {self.pool_sd:g} on the log scale"
        level = "half-Cauchy as an sd" if self.level == 0.5 else f"odds of Beta({self.level:g}, {self.level:g})"
        return (
            f"eta - q + 1 ~ LogNormal(log {self.eta_median:g}, {self.eta_sd:g}); level of A ~ {level}, around half of "
            f"the residual variance; {pooled}"
        )


@dataclass(frozen=True, eq=False)
class Pool:
    r"""Log variances of one term's effects that the hyperprior draws towards each other.

    With v the ``power`` times the hyperparameters on their search scale, so that v are log variances (``power`` is 2
    where log standard deviations are searched), ``v_a - shape_a`` are multivariate t of ``pool_df`` degrees of freedom
    around their mean, with scale ``pool_sd``; the mean of v is the log of a ratio
    (:class:`pmlmm.priors.univariate.LogRatio`) to that of the start.

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
        count, sd, df = len(self.columns) - 1, prior.pool_sd / self.power, prior.pool_df
        relative = phi[..., self.columns] - self.shape
        residual = (relative - relative.mean(axis=-1, keepdims=True)) / sd
        squares = np.sum(residual**2, axis=-1)
        if df == np.inf:
            return -0.5 * squares - count * (float(np.log(sd)) + 0.5 * LOG_2PI), -residual / sd
        constant = gammaln(0.5 * (df + count)) - gammaln(0.5 * df) - count * np.log(sd * np.sqrt(np.pi * df))
        slope = -(df + count) / (df + squares)[..., None] * residual / sd
        return constant - 0.5 * (df + count) * np.log1p(squares / df), slope

    def level(self, phi: np.ndarray, prior: Hyperprior) -> tuple[np.ndarray, np.ndarray]:
        """The same of their mean, as one of an axis of unit length."""
        count, power = len(self.columns), self.power
        mean = np.mean(phi[..., self.columns] - self.start, axis=-1)
        value, slope = LogRatio(prior.level).log_density(power * mean)
        constant = float(np.log(power) - 0.5 * np.log(count))
        return value + constant, np.repeat(slope[..., None] * power / count, count, axis=-1)

    def draw(self, number: int, prior: Hyperprior, rng: np.random.Generator) -> np.ndarray:
        """Entries from both, (number, q)."""
        level = LogRatio(prior.level).draw(number, rng)[:, None]
        spread = prior.pool_sd * rng.standard_normal((number, len(self.columns)))
        spread -= spread.mean(axis=1, keepdims=True)
        if prior.pool_df != np.inf:
            spread *= np.sqrt(prior.pool_df / rng.chisquare(prior.pool_df, number))[:, None]
        return self.start.mean() + self.shape + (level + spread) / self.power
