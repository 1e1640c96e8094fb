"""A random-effect term: its columns, its groups, and how to make the columns again."""

from dataclasses import dataclass

import numpy as np

from pmlmm.design.grouping import Grouping
from pmlmm.design.matrix import Recipe


@dataclass(frozen=True, eq=False)
class Term:
    """One random-effect term: its columns Z (n, q), with one covariance Sigma for its factor's groups.

    ``picked`` (q,) says which columns of the ``recipe`` they are: those of a ``||`` share one recipe.
    """

    name: str
    expression: str
    grouping: Grouping
    coefficients: tuple[str, ...]
    Z: np.ndarray
    recipe: Recipe
    picked: tuple[int, ...]

    @property
    def factor(self) -> str:
        return self.grouping.factor

    @property
    def intercept(self) -> int | None:
        """Position of the intercept's column; None without one."""
        return self.coefficients.index("Intercept") if "Intercept" in self.coefficients else None

    @property
    def q(self) -> int:
        return len(self.coefficients)

    @property
    def n_groups(self) -> int:
        return self.grouping.n_groups
