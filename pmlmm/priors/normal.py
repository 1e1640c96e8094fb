"""What :class:`pmlmm.priors.stated.Normal` means for the columns of one table: means and standard deviations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pmlmm.design.design import Design
from pmlmm.priors.keys import INTERCEPT
from pmlmm.priors.stated import Normal

#: Prior standard deviations that nobody stated, in standard deviations of y over those of the column.
DEFAULT_SDS = 2.5
# Columns that add up to one do so up to this fraction; weights below it are zeros.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class NormalColumns:
    """Columns of X with a Normal prior, in numbers.

    Attributes
    ----------
    columns : tuple of int
    stated : tuple of Normal
    mean, sd : tuples of float
        Of each coefficient; the intercept's where columns are centred if the model centres them.
    unit : float
        ``2.5 sd(y)``, the prior sd of coefficients once their columns are divided by ``unit / sd``.
    about_zero : bool
        Regression through the origin: sizes are root mean squares.
    """

    columns: tuple[int, ...]
    stated: tuple[Normal, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    unit: float
    about_zero: bool


def normal_columns(
    design: Design, stated: dict[int, Normal], flat: tuple[int, ...], centred: bool
) -> NormalColumns | None:
    """Numbers for every Normal prior; None where there is none.

    Parameters
    ----------
    design : Design
    stated : dict
        The prior of each column that has one.
    flat : tuple of int
        Columns with a flat prior.
    centred : bool
        Whether columns are centred where there is an intercept.
    """
    if not stated:
        return None
    columns = tuple(sorted(stated))
    sizes = _Sizes(design, tuple(j for j in columns if stated[j].mean is None) + flat)
    intercept = design.coefficients.index(INTERCEPT) if sizes.has_intercept else -1
    widths = dict(zip(columns, sizes.default_sds(columns), strict=True))
    sd = {j: prior.sd or widths[j] for j, prior in stated.items() if j != intercept}
    mean = {j: sizes.default_mean(j) if prior.mean is None else float(prior.mean) for j, prior in stated.items()}
    if intercept in stated:
        others = [j for j in columns if j != intercept and not centred]
        centre = {j: float(design.mean(design.X[:, j])) for j in others}
        if stated[intercept].mean is None:
            mean[intercept] = sizes.mean - sum(centre[j] * mean[j] for j in others)
        # where columns are not centred: what this is at their means
        spread = [sizes.unit, *(centre[j] * sd[j] for j in others)]
        sd[intercept] = stated[intercept].sd or float(np.linalg.norm(spread))
    return NormalColumns(
        columns,
        tuple(stated[j] for j in columns),
        tuple(float(mean[j]) for j in columns),
        tuple(float(sd[j]) for j in columns),
        sizes.unit,
        sizes.about_zero,
    )


@dataclass(frozen=True)
class _Sizes:
    """Means and sizes of the columns and of y; ``movable`` are the columns whose prior mean is theirs to choose."""

    design: Design
    movable: tuple[int, ...]

    @property
    def has_intercept(self) -> bool:
        return INTERCEPT in self.design.coefficients

    @property
    def about_zero(self) -> bool:
        return not self.has_intercept and self.ones is None

    @property
    def mean(self) -> float:
        return float(self.design.mean(self.design.net))

    @property
    def unit(self) -> float:
        return DEFAULT_SDS * float(self._size(self.design.net))

    @cached_property
    def ones(self) -> np.ndarray | None:
        """Weights with which the movable columns add up to one in every row; None where none do."""
        X = self.design.X[:, list(self.movable)]
        if self.has_intercept or not 0 < X.shape[1] < len(X):
            return None
        size = np.maximum(np.abs(X).max(axis=0), np.finfo(float).tiny)
        weights = np.linalg.lstsq(X / size, np.ones(len(X)), rcond=None)[0]
        if np.abs(X / size @ weights - 1.0).max() > _ROUNDING:
            return None
        return np.where(np.abs(weights) < _ROUNDING, 0.0, weights) / size

    def default_mean(self, column: int) -> float:
        """0, or what makes the prior mean of every row that of y where columns add up to one."""
        if self.ones is None:
            return 0.0
        return self.mean * float(self.ones[self.movable.index(column)])

    def default_sds(self, columns: tuple[int, ...]) -> np.ndarray:
        """Those of all coefficients but the intercept; a constant column is as large as its root mean square."""
        X = self.design.X[:, list(columns)]
        constant = np.ptp(X, axis=0) == 0
        sizes = np.where(constant, np.abs(X[0]), self._size(X))
        return self.unit / np.where(sizes > 0, sizes, 1.0)

    def _size(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(self.design.mean(x**2) if self.about_zero else self.design.variance(x))
