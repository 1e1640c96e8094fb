"""How the covariance priors that there are enter a PyMC graph."""

from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor import TensorVariable

from pmlmm.design.names import covariance_dims
from pmlmm.design.term import Term
from pmlmm.graph.covariance import Arguments, CovarianceGraph
from pmlmm.graph.distributions import FlatCovariance, InverseWishart, unvech_graph
from pmlmm.graph.half_t import HalfTGraph
from pmlmm.priors.covariance import CovarianceDensity
from pmlmm.priors.flat import FlatDensity
from pmlmm.priors.half_t import HalfTDensity
from pmlmm.priors.inverse_wishart import InverseWishartDensity


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
    HalfTDensity: HalfTGraph(),
}


def graph_of(density: CovarianceDensity) -> CovarianceGraph:
    """How a prior of this class enters a graph."""
    return _GRAPHS[type(density)]
