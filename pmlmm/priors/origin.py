"""The zero of random-effect columns at which a covariance's prior is stated: the rule, and the way there and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pmlmm.design.grouping import Grouping
from pmlmm.design.term import Term
from pmlmm.design.weights import mean_of
from pmlmm.errors import PriorError, suggest
from pmlmm.priors.checked import is_finite

#: What a user may say of it beside a number, and numbers by name of the column.
ORIGINS = ("auto", "zero", "mean")
#: A zero that is more than so many of a column's standard deviations within groups from its mean is far away.
FAR = 5.0
# Unless so large a share of the rows is at it.
_ATTAINED = 0.1
# A smaller share of a column's variance within groups is rounding: it does not vary there.
_NO_VARIANCE = 1e-18


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the columns of one term have their zero inside: ``Z_used = Z - shift``, beside an intercept.

    The effects follow, ``gamma_used = M gamma`` and ``Sigma_used = M Sigma M'``, where M is the identity but for the
    intercept's row, which has ``shift`` too. That is exact, and as ``|M| = 1`` densities stay what they are.

    Attributes
    ----------
    shift : (q,) array
        In the columns' units; 0 for the intercept, and for columns that stay.
    intercept : int or None
        The intercept's column.
    """

    shift: np.ndarray
    intercept: int | None

    @property
    def moved(self) -> bool:
        """Whether any column is shifted."""
        return bool(self.shift.any())

    def used(self, covariance: np.ndarray) -> np.ndarray:
        """``M Sigma M'`` of covariances on the user's scale, (..., q, q)."""
        return self._turned(covariance, 1.0)

    def users(self, covariance: np.ndarray) -> np.ndarray:
        """``M^{-1} Sigma_used M^{-T}``, the inverse of :meth:`used`, (..., q, q)."""
        return self._turned(covariance, -1.0)

    def users_effects(self, gamma: np.ndarray) -> np.ndarray:
        """``M^{-1} gamma_used``, (..., q)."""
        return gamma @ self.matrix(-1.0).T if self.moved else gamma

    def matrix(self, sign: float = 1.0) -> np.ndarray:
        """M, or its inverse where ``sign`` is -1, (q, q)."""
        found = np.eye(len(self.shift))
        if self.intercept is not None:
            found[self.intercept] += sign * self.shift
        return found

    def _turned(self, covariance: np.ndarray, sign: float) -> np.ndarray:
        if not self.moved:
            return covariance
        M = self.matrix(sign)
        turned = M @ covariance @ M.T
        return (turned + np.swapaxes(turned, -1, -2)) / 2.0


def origin_of(term: Term, stated: Any, together: Sequence[Term], weights: np.ndarray | None = None) -> Origin:
    """Where a term's columns have their zero, as ``stated`` by its prior: see :class:`pmlmm.InverseWishart`.

    Parameters
    ----------
    term : Term
    stated : "auto", "zero", "mean", float or mapping
        Checked by :func:`check`.
    together : sequence of Term
        Those that have one A with it, itself among them: a column that is far for one of them is moved for all.
    weights : (n,) array, optional
        Of the rows; a column's mean is weighted, what is far is judged by where the rows are.
    """
    shift, intercept = np.zeros(term.q), term.intercept
    if intercept is not None and stated != "zero":
        for name, value in _values(term, stated, together, weights).items():
            shift[term.coefficients.index(name)] = value
    return Origin(shift, intercept)


def _values(term: Term, stated: Any, together: Sequence[Term], weights: np.ndarray | None) -> dict[str, float]:
    """The zero of each column that is moved."""
    if isinstance(stated, Mapping):
        return {name: float(value) for name, value in stated.items()}
    names = _movable(term)
    if stated == "auto":
        names = [name for name in names if any(name in far_columns(other) for other in together)]
    elif stated != "mean":
        return {names[0]: float(stated)}
    return {name: float(mean_of(term.Z[:, term.coefficients.index(name)], weights)) for name in names}


def _movable(term: Term) -> list[str]:
    """All but the intercept."""
    return [name for j, name in enumerate(term.coefficients) if j != term.intercept]


def far_columns(term: Term) -> list[str]:
    """Names of the columns, made of numbers alone, whose zero is far from all that the groups were seen at."""
    found = []
    for j, (name, column) in enumerate(zip(term.coefficients, term.picked, strict=True)):
        z, of_factor = term.Z[:, j], term.recipe.numbers[column] in term.recipe.factors
        if j == term.intercept or of_factor or np.mean(z == 0.0) > _ATTAINED:
            continue
        if distance(z, term.grouping) > FAR:
            found.append(name)
    return found


def distance(z: np.ndarray, grouping: Grouping) -> float:
    """|mean| of a column (n,) over its pooled standard deviation within groups; over the total one where that is 0."""
    mean, codes = float(np.mean(z)), grouping.codes
    sizes = np.bincount(codes, minlength=grouping.n_groups)
    deviation = z - mean
    own = deviation - (np.bincount(codes, weights=deviation, minlength=grouping.n_groups) / sizes)[codes]
    total, within = float(np.mean(deviation**2)), float(np.sum(own**2)) / max(len(z) - grouping.n_groups, 1)
    variance = within if within > _NO_VARIANCE * max(total, mean**2) else total
    return abs(mean) / np.sqrt(variance) if variance > 0.0 else 0.0


def refuse_origin(stated: Any) -> None:
    """An origin is one of :data:`ORIGINS`, a number, or numbers by name of the column.

    Raises
    ------
    PriorError
    """
    if isinstance(stated, Mapping):
        for name, value in stated.items():
            if not (isinstance(name, str) and is_finite(value)):
                raise PriorError(f"InverseWishart(origin={stated!r}): {name!r} needs a finite number.")
    elif not (stated in ORIGINS if isinstance(stated, str) else is_finite(stated)):
        raise PriorError(
            f"InverseWishart(origin={stated!r}): choose one of {', '.join(map(repr, ORIGINS))}, a number, or a dict "
            "from names of columns to numbers."
        )


def check(term: Term, stated: Any, where: str) -> None:
    """Refuse an origin that a term cannot have; ``where`` starts the message.

    Raises
    ------
    PriorError
    """
    names = _movable(term)
    if isinstance(stated, str):
        return
    if term.intercept is None:
        raise PriorError(
            f"{where}: origin={stated!r} needs an intercept that takes up the shift, and the term ({term.expression} | "
            f"{term.factor}) has none: write (1 + ... | {term.factor}), or shift the column in the formula."
        )
    if isinstance(stated, Mapping):
        for name in stated:
            if name not in names:
                hint = suggest(name, names)
                raise PriorError(f"{where}: origin names {name!r}, which is no column of the term." + hint)
    elif len(names) != 1:
        raise PriorError(
            f"{where}: origin={stated!r} is one number, but the term has {len(names)} columns beside the intercept "
            f"({', '.join(names) or 'none'}): give a dict from names to numbers."
        )
