"""Priors on fixed effects and on sigma that a user can state; whatever is left ``None`` is learned from the data."""

from dataclasses import dataclass
from typing import Literal

from pmlmm.errors import PriorError
from pmlmm.priors.checked import is_finite


@dataclass(frozen=True)
class Ridge:
    """Normal prior on a group of fixed effects in units of sigma: ``beta_j ~ N(mean, sigma^2 / lambda)``.

    The default of wide blocks; for columns of the formula by name, e.g. ``priors={"common": pmlmm.Ridge()}``.

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
        if self.lambda_ is not None and not (is_finite(self.lambda_) and self.lambda_ >= 0):
            raise PriorError(
                f"Ridge(lambda_={self.lambda_!r}): lambda must be finite and at least 0 (0: unpenalised), "
                "or None to be learned."
            )
        if self.mean != "response" and not is_finite(self.mean):
            raise PriorError(f"Ridge(mean={self.mean!r}): the mean must be a finite number or 'response'.")
        if self.lambda_ == 0 and self.mean != 0:
            raise PriorError("Ridge(lambda_=0) is flat: it has no mean.")


@dataclass(frozen=True)
class Normal:
    """Normal prior on fixed effects of the formula, in the units of y: ``beta_j ~ N(mean, sd^2)``.

    Parameters
    ----------
    mean : float, optional
        In units of y over those of the column. None: 0, and of the intercept the mean of y. Where there is no intercept
        but the columns add up to one (``0 + f``), None lets the prior mean of every row be the mean of y.
    sd : float, optional
        In the same units. None: ``2.5 sd(y) / sd(x_j)``, and of the intercept ``2.5 sd(y)``, as in rstanarm and Bambi.
        Where the model goes through the origin (``0 + x``), sd is root mean square.

    Notes
    -----
    Unless the model says ``standardize=False`` columns are centred, and the prior of the intercept is that of the
    expected response where every column is at its mean.
    """

    mean: float | None = None
    sd: float | None = None

    def __post_init__(self) -> None:
        if not (self.mean is None or is_finite(self.mean)):
            raise PriorError(f"Normal(mean={self.mean!r}): the mean must be a finite number, or None for the default.")
        if not (self.sd is None or (is_finite(self.sd) and self.sd > 0)):
            raise PriorError(
                f"Normal(sd={self.sd!r}): the standard deviation must be positive and finite, or None for the default; "
                "pmlmm.Flat() is a flat prior."
            )


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
            if not (value is None and name == "scale") and not (is_finite(value) and value > 0):
                raise PriorError(f"HalfStudentT({name}={value!r}): must be positive and finite.")

    @property
    def student(self) -> tuple[float, float]:
        """nu and scale, once a model has said what is not given."""
        assert self.scale is not None
        return float(self.nu), float(self.scale)
