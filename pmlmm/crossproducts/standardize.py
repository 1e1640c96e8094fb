"""Centring and scaling of the columns of X and of the response."""

from dataclasses import dataclass

import numpy as np

from pmlmm.design.design import Design
from pmlmm.priors.keys import INTERCEPT
from pmlmm.priors.prior_set import PriorSet


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


def standardization(
    X: np.ndarray, scaled: np.ndarray, centred: np.ndarray, intercept: int | None, offset: float
) -> Standardization:
    """Centre the columns marked in ``centred`` (p,), and scale those in ``scaled`` to unit standard deviation.

    Columns are centred only where there is an intercept to take up the shift, as glmnet does. Unpenalised
    columns need it too: with the intercept's prior at their zero it would be a penalty on them.
    """
    p = X.shape[1]
    center, scale = np.zeros(p), np.ones(p)
    if scaled.any():
        deviation = X[:, scaled] - X[:, scaled].mean(axis=0)
        scale[scaled] = np.sqrt(np.mean(deviation**2, axis=0))
    if intercept is not None and centred.any():
        center[centred] = X[:, centred].mean(axis=0)
    transform, shift = np.diag(1.0 / scale), np.zeros(p)
    if intercept is not None:
        transform[intercept] -= center / scale
        shift[intercept] = offset
    return Standardization(center, scale, offset, intercept, transform, shift)


def standardization_of(design: Design, priors: PriorSet) -> Standardization:
    """What the priors of a model ask for."""
    names = design.coefficients
    intercept = names.index(INTERCEPT) if INTERCEPT in names else None
    centred = np.array([priors.standardize and name != INTERCEPT for name in names], dtype=bool)
    return standardization(design.X, np.array(priors.standardized), centred, intercept, priors.intercept_mean)
