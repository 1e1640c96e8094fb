"""Centring and scaling of the columns of X and of the response."""

from dataclasses import dataclass, replace

import numpy as np

from pmlmm.design.design import Design
from pmlmm.design.weights import mean_of
from pmlmm.priors.keys import INTERCEPT
from pmlmm.priors.prior_set import PriorSet


@dataclass(frozen=True, eq=False)
class Standardization:
    """How the columns of X and the response were shifted and scaled before the cross-products.

    ``X_used = (X - center) / scale`` and ``y_used = y - offset``, with ``offset`` (n,) the prior mean of every row, the
    user's offset included.
    ``transform`` and ``shift`` lead back: ``beta = transform @ beta_used + shift``. ``intercept`` is the column of the
    intercept, if any.
    """

    center: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    intercept: int | None
    transform: np.ndarray
    shift: np.ndarray


def standardization(
    X: np.ndarray,
    scale: np.ndarray,
    centred: np.ndarray,
    intercept: int | None,
    mean: np.ndarray,
    weights: np.ndarray | None = None,
) -> Standardization:
    """Centre the columns marked in ``centred`` (p,), divide by ``scale`` (p,), and take the prior means off.

    ``mean`` (p,) are those of the coefficients, of the intercept where columns are centred. Columns are centred only
    where there is an intercept to take up the shift, as glmnet does. Unpenalised columns need it too: with the
    intercept's prior at their zero it would be a penalty on them. ``weights`` (n,) are those of the means.
    """
    center = np.zeros(X.shape[1])
    if intercept is not None and centred.any():
        center[centred] = mean_of(X[:, centred], weights)
    transform, shift = np.diag(1.0 / scale), mean.copy()
    if intercept is not None:
        transform[intercept] -= center / scale
        shift[intercept] -= center @ mean
    return Standardization(center, scale, (X - center) @ mean, intercept, transform, shift)


def standardization_of(design: Design, priors: PriorSet) -> Standardization:
    """What the priors of a model ask for."""
    names = design.coefficients
    intercept = names.index(INTERCEPT) if INTERCEPT in names else None
    centred = np.array([priors.standardize and name != INTERCEPT for name in names], dtype=bool)
    means = np.array(priors.means)
    found = standardization(design.X, np.array(priors.scales), centred, intercept, means, design.shares)
    return found if design.offset is None else replace(found, offset=found.offset + design.offset)
