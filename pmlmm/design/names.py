"""Names of the dimensions and variables that the results make of a design, and clashes among them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from pmlmm.errors import FormulaError

#: Names that the results and the PyMC graph use themselves.
RESERVED = (
    *("beta", "beta_flat", "beta_used", "chain", "coefficient", "design_matrix", "draw", "log_likelihood"),
    *("fixed effects", "proposal_draw", "residual", "row", "sigma", "sigma_prior", "weight", "y"),
)


class Named(Protocol):
    """A random-effect term, as far as names are concerned."""

    @property
    def name(self) -> str:
        """Of the term."""

    @property
    def factor(self) -> str:
        """Of its groups."""


def covariance_dims(term: str) -> tuple[str, str]:
    """Dimensions of a term's Sigma, and the first of them of its A.

    Others than those of gamma: where two variables share dimensions, ``Dataset.to_stacked_array``, and with it
    ``arviz.summary`` (ArviZ 1.1 to 1.3 at least), takes values in the Dataset's order of dimensions and labels in the
    variable's, so that the effects of one subject come out under another's name.
    """
    return f"{term}_effect1", f"{term}_effect2"


def result_names(terms: Sequence[Named]) -> list[str]:
    """Dimensions and variables that the results make of the terms."""
    names = list({term.factor: None for term in terms})
    for term in terms:
        own = [f"{kind}_{term.name}" for kind in ("Sigma", "gamma", "A", "b", "rho")]
        own += [f"{term.name}_effect", *covariance_dims(term.name), f"gamma_{term.name}_unit"]
        names += [term.name, *own] if term.name != term.factor else own
    return names


def refuse_same_names(terms: Sequence[Named], coefficients: Iterable[str]) -> None:
    """Two parts of the results under one name would overwrite each other.

    Raises
    ------
    FormulaError
    """
    penalties = {f"lambda_{name}" for name in ("common", *coefficients)}
    counts = Counter([*result_names(terms), *penalties])
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        factors = ", ".join(repr(factor) for factor in dict.fromkeys(term.factor for term in terms))
        raise FormulaError(
            f"Two parts of the results would be called {twice[0]!r}, from the factors {factors}: rename a column."
        )
