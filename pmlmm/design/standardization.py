"""Centring and scaling of the columns of X and of the response."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Standardization:
    """How the columns of X and the response were shifted and scaled before the cross-products.

    ``X_used = (X - center) / scale`` and ``y_used = y - offset``. ``transform`` and ``shift`` lead
    back: ``beta = transform @ beta_used + shift``. ``intercept`` is the column of the intercept, if any.
    """

    center: np.ndarray
    scale: np.ndarray
    offset: float
    intercept: int | None
    transform: np.ndarray
    shift: np.ndarray


def standardization(X: np.ndarray, scaled: np.ndarray, intercept: int | None, offset: float) -> Standardization:
    """Centre and scale the columns marked in ``scaled`` (p,) to unit standard deviation.

    Columns are centred only where there is an intercept to take up the shift, as glmnet does.
    """
    p = X.shape[1]
    center, scale = np.zeros(p), np.ones(p)
    if scaled.any():
        deviation = X[:, scaled] - X[:, scaled].mean(axis=0)
        scale[scaled] = np.sqrt(np.mean(deviation**2, axis=0))
        if intercept is not None:
            center[scaled] = X[:, scaled].mean(axis=0)
    transform, shift = np.diag(1.0 / scale), np.zeros(p)
    if intercept is not None:
        transform[intercept] -= center / scale
        shift[intercept] = offset
    return Standardization(center, scale, offset, intercept, transform, shift)
