"""What a covariance prior must have to enter a PyMC graph."""

from abc import ABC, abstractmethod
from typing import Any

from pytensor.tensor import TensorVariable

from pmlmm.design.term import Term
from pmlmm.priors.covariance import CovarianceDensity

Arguments = tuple[TensorVariable, ...]


class CovarianceGraph[D: CovarianceDensity](ABC):
    """One kind of prior; its arguments are those of the distribution."""

    @abstractmethod
    def containers(self, term: Term, density: D) -> Arguments:
        """Data containers with the hyperparameters, and the arguments made of them."""

    @abstractmethod
    def unpack(self, packed: TensorVariable, q: int) -> Arguments:
        """The arguments from ``density.packed``: every entry as it is, so that derivatives are closed-form."""

    @abstractmethod
    def variable(self, name: str, arguments: Arguments, start: TensorVariable, **options: Any) -> TensorVariable:
        """The random variable Sigma; ``start`` (q, q) is where it may begin if the prior does not say."""
