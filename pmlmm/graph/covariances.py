"""How each covariance prior enters a PyMC graph: its containers, its random variable, its parameters from a vector."""

from abc import ABC, abstractmethod
from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor import TensorVariable

from pmlmm.design.names import covariance_dims
from pmlmm.design.term import Term
from pmlmm.graph.distributions import FlatCovariance, InverseWishart, unvech_graph
from pmlmm.priors.covariance import CovarianceDensity
from pmlmm.priors.flat import FlatDensity
from pmlmm.priors.inverse_wishart import InverseWishartDensity

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


class _InverseWishart(CovarianceGraph[InverseWishartDensity]):
    def containers(self, term: Term, density: InverseWishartDensity) -> Arguments:
        m, q = term.n_groups, term.q
        b = pm.Data(f"b_{term.name}", density.b(m))
        A = pm.Data(f"A_{term.name}", density.A, dims=covariance_dims(term.name))
        weight = m * b / (1.0 - b)
        return weight - q - 1.0, pt.specify_shape(weight * A, (q, q))

    def unpack(self, packed: TensorVariable, q: int) -> Arguments:
        return packed[0], unvech_graph(packed[1:], q)

    def variable(self, name: str, arguments: Arguments, start: TensorVariable, **options: Any) -> TensorVariable:
        return InverseWishart(name, *arguments, **options)


class _Flat(CovarianceGraph[FlatDensity]):
    def containers(self, term: Term, density: FlatDensity) -> Arguments:
        return ()

    def unpack(self, packed: TensorVariable, q: int) -> Arguments:
        return ()

    def variable(self, name: str, arguments: Arguments, start: TensorVariable, **options: Any) -> TensorVariable:
        return FlatCovariance(name, start, **options)


_GRAPHS: dict[type[CovarianceDensity], CovarianceGraph] = {
    InverseWishartDensity: _InverseWishart(),
    FlatDensity: _Flat(),
}


def graph_of(density: CovarianceDensity) -> CovarianceGraph:
    """How a prior of this class enters a graph."""
    return _GRAPHS[type(density)]
