"""Natural cubic splines with the basis of R's ``ns``, so that a formula from R has the same coefficients here."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from formulaic.materializers.types import FactorValues
from formulaic.utils.stateful_transforms import stateful_transform
from scipy.interpolate import BSpline

from pmlmm.errors import DataError


@stateful_transform
def ns(
    x: Any,
    df: int | None = None,
    knots: Iterable[float] | None = None,
    intercept: bool = False,
    boundary_knots: Iterable[float] | None = None,
    _state: dict | None = None,
) -> Any:
    """Basis of natural cubic splines: linear beyond the boundary knots, as in R's splines package.

    Parameters
    ----------
    x : (rows,) array
    df : int, optional
        Columns. ``df - 1`` knots (``df - 2`` with ``intercept``) lie between the boundary ones, at quantiles of x.
    knots : sequence of float, optional
        These knots themselves.
    intercept : bool
        Span the constant too.
    boundary_knots : two floats, optional
        The range of x by default. In R ``Boundary.knots``.

    Raises
    ------
    DataError
        Knots that coincide, or fewer distinct values of x than columns.
    """
    values = np.asarray(x, dtype=float)
    state = {} if _state is None else _state
    if not state:
        ends = np.array([values.min(), values.max()] if boundary_knots is None else sorted(boundary_knots), dtype=float)
        inner = (
            _quantiles(values, ends, df, intercept) if knots is None else np.sort(np.array(list(knots), dtype=float))
        )
        _refuse_coinciding(inner, ends, np.unique(values), intercept)
        state |= {"knots": inner, "ends": ends}
    basis = _natural(values, state["knots"], state["ends"], intercept)
    return FactorValues(
        {j + 1: column for j, column in enumerate(basis.T)},
        kind="numerical",
        spans_intercept=intercept,
        drop_field=1,
        format="{name}[{field}]",
        encoded=False,
    )


def _quantiles(values: np.ndarray, ends: np.ndarray, df: int | None, intercept: bool) -> np.ndarray:
    """Knots between the boundary ones, where x has equal shares."""
    fewest = 1 + bool(intercept)
    df = fewest if df is None else df
    if int(df) != df or df < fewest:
        raise DataError(f"ns(df={df}): a whole number of at least {fewest}.")
    inside = values[(values >= ends[0]) & (values <= ends[1])]
    return np.quantile(inside, np.linspace(0, 1, int(df) - fewest + 2)[1:-1])


def _refuse_coinciding(inner: np.ndarray, ends: np.ndarray, distinct: np.ndarray, intercept: bool) -> None:
    columns = len(inner) + 1 + bool(intercept)
    if len(distinct) < len(inner) + 2 or not (np.diff([ends[0], *inner, ends[1]]) > 0).all():
        raise DataError(
            f"ns() of {columns} columns has the knots {', '.join(f'{knot:g}' for knot in [ends[0], *inner, ends[1]])} "
            f"and {len(distinct)} distinct values: knots must differ, and be fewer. Take a smaller df, or factor(x)."
        )


def _natural(values: np.ndarray, inner: np.ndarray, ends: np.ndarray, intercept: bool) -> np.ndarray:
    """(rows, columns): B-splines, projected to where their second derivatives at the boundaries vanish."""
    whole = np.r_[[ends[0]] * 4, inner, [ends[1]] * 4]
    first = 0 if intercept else 1
    cubic = BSpline(whole, np.eye(len(whole) - 4)[:, first:], 3)
    projection = np.linalg.qr(cubic.derivative(2)(ends).T, mode="complete")[0][:, 2:]
    spline = BSpline(whole, cubic.c @ projection, 3)
    within = np.clip(values, *ends)
    return spline(within) + (values - within)[:, None] * spline.derivative()(within)
