"""The half-t covariance prior of Huang and Wand as a PyMC distribution."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.distribution import Continuous
from pymc.distributions.transforms import _default_transform
from pytensor.graph.op import Op
from pytensor.tensor import TensorLike, TensorVariable
from pytensor.tensor.random.op import RandomVariable

from pmlmm.design.names import covariance_dims
from pmlmm.design.term import Term
from pmlmm.graph.covariance import Arguments, CovarianceGraph
from pmlmm.graph.distributions import PrecisionLogCholesky, vech_graph
from pmlmm.graph.ops import CovarianceLogDensity
from pmlmm.priors.half_t import HalfTDensity


class HalfTCovarianceRV(RandomVariable):
    """Random generation by way of the inverse-Wishart."""

    name = "half_t_covariance"
    signature = "(n)->(n,n)"
    dtype = "floatX"
    _print_name = ("HalfTCovariance", "\\operatorname{HalfTCovariance}")

    @classmethod
    def rng_fn(cls, rng: np.random.Generator, log_s: np.ndarray, size: Any):
        batch = tuple(size) if size is not None else log_s.shape[:-1]
        log_s = np.broadcast_to(log_s, (*batch, log_s.shape[-1]))
        draws = np.empty((*log_s.shape, log_s.shape[-1]))
        for index in np.ndindex(*batch):
            draws[index] = HalfTDensity(log_s[index]).draw(rng)
        return draws


half_t_covariance = HalfTCovarianceRV()


class HalfTCovariance(Continuous):
    """Half-t standard deviations with 2 degrees of freedom and log scales ``log_s`` (q,)."""

    rv_op = half_t_covariance

    @classmethod
    def dist(cls, log_s: TensorLike, **kwargs):
        return super().dist([pt.as_tensor_variable(log_s)], **kwargs)

    def support_point(rv, size: Any, log_s: TensorVariable):
        return pt.diag(pt.exp(2.0 * log_s))

    def logp(value, log_s: TensorVariable):
        core = _core_log_density
        if value.type.ndim > 2 or log_s.type.ndim > 1:
            core = pt.vectorize(core, signature="(n,n),(n)->()")
        return core(value, log_s)


def _core_log_density(value: TensorVariable, log_s: TensorVariable):
    return CovarianceLogDensity(HalfTDensity)(pt.concatenate([vech_graph(value), log_s]))


@_default_transform.register(HalfTCovarianceRV)
def _transform(op: Op, rv: TensorVariable):
    return PrecisionLogCholesky(rv.owner.inputs[-1].type.shape[-1])


class HalfTGraph(CovarianceGraph[HalfTDensity]):
    """Its container is ``s_*``."""

    def containers(self, term: Term, density: HalfTDensity) -> Arguments:
        s = pm.Data(f"s_{term.name}", np.exp(density.log_s), dims=covariance_dims(term.name)[0])
        return (pt.specify_shape(pt.log(s), (term.q,)),)

    def unpack(self, packed: TensorVariable, q: int) -> Arguments:
        return (pt.specify_shape(packed, (q,)),)

    def variable(self, name: str, arguments: Arguments, start: TensorVariable, **options: Any) -> TensorVariable:
        return HalfTCovariance(name, *arguments, **options)
