"""Derivatives of the fixed effects' columns and the offset with respect to a column of the table, by differences."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pmlmm.errors import DataError, OptionError
from pmlmm.report.grid import Grid

# A jump or a kink is taken for one if steps down to 4^-8 of the first one find different derivatives: by more than this
# share, a share of the column's range over that of x, and what rounding does.
_SHORTENED, _AGREE, _NEGLIGIBLE, _ROUNDING = 8, 1e-3, 1e-6, 4 * np.finfo(float).eps
#: Steps of a derivative in spreads of the column, and the weights of five points: in the middle, at either end.
_STEP = 1e-3
_MIDDLE = (-2, (1 / 12, -8 / 12, 0.0, 8 / 12, -1 / 12))
_LOWER = (0, (-25 / 12, 48 / 12, -36 / 12, 16 / 12, -3 / 12))
_UPPER = (-4, (3 / 12, -16 / 12, 36 / 12, -48 / 12, 25 / 12))


def derivative_of(grid: Grid, column: str) -> Callable[[pd.DataFrame], np.ndarray]:
    """How the fixed effects' columns and the offset of some rows change with one column of the table.

    Steps are shortened where a shorter one finds something else: it may go over a jump or a kink.

    Raises
    ------
    OptionError
        There is a jump at a row, or the formula is not defined next to it.
    """
    five, sizes = _FivePoints.of(grid, column), np.ptp(grid.evaluated(grid.frame), axis=0)
    negligible = _NEGLIGIBLE * sizes / max(np.ptp(grid.numbers(column)), five.spread)

    def derivative(rows: pd.DataFrame) -> np.ndarray:
        step, left = five.steps(rows), np.arange(len(rows))
        slope, _ = five.slopes(rows, step)
        for _ in range(_SHORTENED):
            step = step / 4
            shorter, noise = five.slopes(rows.iloc[left], step)
            apart = np.abs(shorter - slope[left]) > _AGREE * np.abs(shorter) + negligible + noise
            again = apart.any(axis=1)
            left, step = left[again], step[again]
            slope[left] = shorter[again]
            if not len(left):
                return slope
        place = rows[column].iloc[left[0]]
        raise OptionError(
            f"There is no slope of {column!r} at {place:g}, as the formula is not smooth in it: compare values "
            f"instead, contrast({{{column!r}: [...]}})."
        )

    return derivative


@dataclass(frozen=True, eq=False)
class _FivePoints:
    """Differences of five points, exact for polynomials of degree four.

    Within the data's range, beyond which splines do not go.
    """

    grid: Grid
    column: str
    low: float
    high: float
    spread: float

    @classmethod
    def of(cls, grid: Grid, column: str) -> "_FivePoints":
        x = grid.numbers(column)
        return cls(grid, column, float(x.min()), float(x.max()), float(np.std(x)) or max(1.0, abs(x[0])))

    def steps(self, rows: pd.DataFrame) -> np.ndarray:
        """The first ones, (rows,): where the data do not go to 0, no longer than suits a logarithm."""
        x = np.abs(rows[self.column].to_numpy(dtype=float))
        near = (x > 0) & (self.low > 0 or self.high < 0)
        return _STEP * np.where(near, np.minimum(self.spread, x), self.spread)

    def slopes(self, rows: pd.DataFrame, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives, 0 where they are rounding, and the size of rounding errors; (rows, p + 1) each."""
        x = rows[self.column].to_numpy(dtype=float)
        lower = (x >= self.low) & (x - 2 * step < self.low)
        upper = (x <= self.high) & (x + 2 * step > self.high)
        first = np.select([lower, upper], [_LOWER[0], _UPPER[0]], _MIDDLE[0])
        weights = np.where(lower[:, None], _LOWER[1], np.where(upper[:, None], _UPPER[1], _MIDDLE[1]))
        total, noise = 0.0, 0.0
        for k in range(5):
            weight, values = (weights[:, k] / step)[:, None], self._moved(rows, x + (first + k) * step)
            total, noise = total + weight * values, noise + np.abs(weight * values)
        noise = _ROUNDING * noise
        return np.where(np.abs(total) <= noise, 0.0, total), noise + _ROUNDING * np.abs(total * (x / step)[:, None])

    def _moved(self, rows: pd.DataFrame, x: np.ndarray) -> np.ndarray:
        try:
            return self.grid.evaluated(rows.assign(**{self.column: x}))
        except DataError as error:
            raise OptionError(
                f"The slope of {self.column!r} needs the formula next to the values asked for, which fails: {error}"
            ) from error
