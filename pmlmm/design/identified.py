"""Effects that the data cannot tell apart: columns that are collinear, factors that are one partition."""

from collections.abc import Sequence

import numpy as np

from pmlmm.design.term import Term
from pmlmm.errors import DataError

# Smallest eigenvalue of the correlations of the columns of Z that counts as full rank.
_COLLINEAR = 1e-10
# A standard deviation that is less of a column's mean than this is rounding: the column is constant.
_CONSTANT = 1e-12


def refuse_unidentified(terms: tuple[Term, ...]) -> None:
    """Zero or collinear columns of Z on one factor, and one partition under two names, leave a covariance to its prior.

    Raises
    ------
    DataError
    """
    for factor in {term.factor: None for term in terms}:
        own = [term for term in terms if term.factor == factor]
        names = [name if len(own) == 1 else f"{term.name} {name}" for term in own for name in term.coefficients]
        _refuse_collinear(names, np.hstack([term.Z for term in own]), np.hstack([_centred(term) for term in own]))
    for k, term in enumerate(terms):
        for other in terms[:k]:
            if other.grouping is not term.grouping and _same_effects(term, other):
                raise DataError(
                    f"The factors {other.factor!r} and {term.factor!r} make the same {term.n_groups} groups, and both "
                    "have the same random effects: nothing in the data tells them apart. Keep one of the terms."
                )


def _centred(term: Term) -> np.ndarray:
    """Z with its columns at their means where an intercept makes up for it, (n, q): what they add up to is the same."""
    if term.intercept is None:
        return term.Z
    mean = term.Z.mean(axis=0)
    deviation = term.Z - mean
    constant = np.sqrt(np.mean(deviation**2, axis=0)) <= _CONSTANT * np.abs(mean)
    deviation[:, constant] = 1.0  # as the intercept is
    return deviation


def _same_effects(term: Term, other: Term) -> bool:
    """Whether two factors are one partition of the rows, with a column of Z in common."""
    if other.n_groups != term.n_groups or not term.grouping.within(other.grouping):
        return False
    return any(np.array_equal(a, b) for a in term.Z.T for b in other.Z.T)


def empty_cell(name: str) -> str:
    """What to do about a combination of levels that no row has; empty where the column is none."""
    if ":" not in name or "[" not in name:
        return ""
    return (
        "no row has that combination of levels. Join the factors into one, of the combinations that occur: "
        "data['cell'] = data['a'].astype(str) + ':' + data['b'].astype(str); or leave their interaction out."
    )


def collinear(names: Sequence[str], columns: np.ndarray, smallest: float) -> str:
    """The columns (n, k) that add up to zero, quoted in a row; empty where none do.

    They do where the smallest eigenvalue of their correlations about zero is below ``smallest``.
    """
    if not columns.shape[1]:
        return ""
    unit = columns / np.maximum(np.sqrt(np.mean(columns**2, axis=0)), np.finfo(float).tiny)
    values, vectors = np.linalg.eigh(unit.T @ unit / len(unit))
    if values[0] >= smallest:
        return ""
    return ", ".join(repr(name) for name, x in zip(names, vectors[:, 0], strict=True) if abs(x) > 1e-3)


def _refuse_collinear(names: list[str], Z: np.ndarray, centred: np.ndarray) -> None:
    scale = np.sqrt(np.mean(Z**2, axis=0))
    if not scale.all():
        name = names[int(np.argmin(scale))]
        raise DataError(
            f"The random-effect column {name!r} is zero in every row: " + (empty_cell(name) or "take it out.")
        )
    if involved := collinear(names, centred, _COLLINEAR):
        raise DataError(
            f"The random-effect columns {involved} are collinear over all rows (a "
            "constant column is collinear with the intercept): take one out, or centre and rescale "
            "them (poly() does)."
        )
