"""Scalar functions of a vector with closed-form gradient and Hessian, as PyTensor Ops.

Each ``pullback`` returns the Op of the next order, so that PyTensor differentiates twice without
ever looking inside, and one node gives value, gradient and Hessian (:func:`merge_orders`).
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytensor.tensor as pt
from pytensor import function
from pytensor.compile.mode import Mode
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.replace import _vectorize_node, clone_replace, graph_replace
from pytensor.graph.traversal import ancestors
from pytensor.link.c.type import generic
from pytensor.tensor import TensorLike
from pytensor.tensor.blockwise import vectorize_node_fallback

from pmlmm.kernels import half_student_t, likelihood
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.kernels.likelihood_compiled import FlatCrossproducts, signature, unflatten, value_and_gradient
from pmlmm.kernels.likelihood_expanded import Expansion
from pmlmm.priors.covariance import CovarianceDensity


class SmoothOp(Op):
    """f(u; data) with its first ``order`` derivatives in the vector u as further outputs."""

    order: int
    data_types: tuple = ()

    def derivatives(self, u: np.ndarray, *data: np.ndarray) -> Derivatives:
        """Value, gradient and Hessian, at least up to ``self.order``."""
        raise NotImplementedError

    def with_order(self, order: int) -> "SmoothOp":
        """The same function with another number of derivatives."""
        props = self._props_dict() | {"order": order}
        return type(self)(**props)

    def make_node(self, u: TensorLike, *data):
        u = pt.as_tensor_variable(u, dtype="float64", ndim=1)
        data = [
            x if kind is generic else kind.filter_variable(pt.as_tensor_variable(x))
            for kind, x in zip(self.data_types, data, strict=True)
        ]
        outputs = [pt.dscalar(), pt.dvector(), pt.dmatrix()][: self.order + 1]
        return Apply(self, [u, *data], outputs)

    def perform(self, node: Apply, inputs: Sequence, output_storage: list):
        for storage, value in zip(output_storage, self.derivatives(*inputs), strict=False):
            storage[0] = np.asarray(value)

    def connection_pattern(self, node: Apply):
        outputs = len(node.outputs)
        return [[True] * outputs] + [[False] * outputs for _ in node.inputs[1:]]

    def pullback(self, inputs: Sequence[Variable], outputs: Sequence[Variable], cotangents: Sequence[Variable]):
        disconnected = [DisconnectedType()() for _ in inputs[1:]]
        connected = [not isinstance(c.type, DisconnectedType) for c in cotangents]
        if len(connected) == 3 and connected[2]:
            return [grad_not_implemented(self, 0, inputs[0], "third derivatives"), *disconnected]
        second = len(connected) > 1 and connected[1]
        derivatives = self.with_order(2 if second else 1)(*inputs)
        total = cotangents[0] * derivatives[1] if connected[0] else pt.zeros_like(inputs[0])
        if second:
            total = total + derivatives[2] @ cotangents[1]
        return [total, *disconnected]


@_vectorize_node.register(SmoothOp)
def _vectorize_smooth(op: SmoothOp, node: Apply, *inputs):
    """Leave the Op as it is where nothing is batched, so that a vectorised Jacobian can merge it."""
    if all(new.type.ndim == old.type.ndim for new, old in zip(inputs, node.inputs, strict=True)):
        return op.make_node(*inputs)
    return vectorize_node_fallback(op, node, *inputs)


class CollapsedLogLikelihood(SmoothOp):
    """Log-likelihood of u = (sigma, vech Sigma_1, ..., log lambda) with gamma (and beta) eliminated.

    Its data, an input so that one compiled function serves many models, is a
    :class:`pmlmm.kernels.crossproducts.Crossproducts`, or an expansion of the likelihood.
    """

    __props__ = ("profile", "order")
    data_types = (generic,)

    def __init__(self, profile: bool, order: int = 0):
        self.profile, self.order = profile, order

    def derivatives(self, u: TensorLike, data: Crossproducts | Expansion):
        if isinstance(data, Expansion):
            return data.evaluate(u)
        return likelihood.evaluate(u, data, profile=self.profile, order=self.order)


class SampledLogLikelihood(SmoothOp):
    """The marginal one for samplers: its data are arrays (:func:`pmlmm.kernels.likelihood_compiled.flatten`).

    Numba compiles it with its gradient (:mod:`pmlmm.graph.numba_dispatch`); the Hessian is the engine's.
    """

    __props__ = ("kind", "order")

    def __init__(self, kind: str, order: int = 0):
        self.kind, self.order = kind, order
        self.data_types = tuple(pt.TensorType(dtype, (None,) * ndim) for dtype, ndim in signature(kind))

    def derivatives(self, u: TensorLike, *arrays: np.ndarray):
        flat = FlatCrossproducts(self.kind, arrays)
        if self.order < 2:
            return value_and_gradient(u, flat)[: self.order + 1]
        return likelihood.evaluate(u, unflatten(flat), profile=False, order=2)


class Differentiable(SmoothOp):
    """Any Python function that returns its value and gradient, for a sampler."""

    __props__ = ("function", "order")

    def __init__(self, function: Callable[[np.ndarray], tuple[float, np.ndarray]], order: int = 0):
        self.function, self.order = function, order

    def derivatives(self, u: TensorLike, *data):
        if self.order > 1:
            raise NotImplementedError("A function with its gradient alone has no Hessian.")
        return (*self.function(u), None)[: self.order + 1]


class CovarianceLogDensity(SmoothOp):
    """Log-density of w = (vech Sigma, parameters), for one class of priors on a covariance."""

    __props__ = ("density", "order")

    def __init__(self, density: type[CovarianceDensity], order: int = 0):
        self.density, self.order = density, order

    def derivatives(self, u: TensorLike, *data):
        return self.density.derivatives(u)


class HalfStudentTLogDensity(SmoothOp):
    """Log-density of a half Student-t at u = (sigma,), given its degrees of freedom and scale."""

    __props__ = ("order",)
    data_types = (pt.TensorType("float64", ()), pt.TensorType("float64", ()))

    def __init__(self, order: int = 0):
        self.order = order

    def derivatives(self, u: TensorLike, *data):
        return half_student_t.log_density(np.float64(u[0]), *map(float, data))


class Embedded(SmoothOp):
    """``op`` at the entries ``take`` of a longer vector z: its derivatives in z are scattered zeros.

    It stands for slices, concatenations and their derivatives, which would be most of the graph.
    """

    __props__ = ("op", "take", "order")

    def __init__(self, op: SmoothOp, take: tuple[int, ...], order: int = 0):
        self.op, self.take, self.order = op.with_order(order), take, order
        self.data_types = op.data_types
        self._index = np.array(take, dtype=int)

    def derivatives(self, u: TensorLike, *data):
        inner = self.op.derivatives(u[self._index], *data)
        gradient, hessian = np.zeros(len(u)), np.zeros((len(u),) * 2)
        if self.order > 0:
            gradient[self._index] = inner.gradient
        if self.order > 1:
            hessian[np.ix_(self._index, self._index)] = inner.hessian
        return Derivatives(inner.value, gradient, hessian)


def embed(output: Variable, z: Variable, size: int) -> Variable:
    """Let the Ops behind ``output`` read their entries straight from the vector z of length ``size``.

    Every input vector must be a selection of entries of z, repeated or reordered at will.
    """
    nodes = [v.owner for v in ancestors([output]) if v.owner and isinstance(v.owner.op, SmoothOp)]
    select = function([z], [node.inputs[0] for node in nodes], mode=Mode("py", None))
    probe = np.random.default_rng(0).normal(size=size)
    replace = {}
    for node, take, check in zip(nodes, select(np.arange(float(size))), select(probe), strict=True):
        index = take.astype(int)
        if not np.array_equal(check, probe[index]):
            raise ValueError(f"The input of {node.op} is not a selection of entries of z.")
        replace[node.outputs[0]] = Embedded(node.op, tuple(index.tolist()))(z, *node.inputs[1:])
    return graph_replace([output], replace)[0]


def merge_orders(outputs: list[Variable]) -> list[Variable]:
    """Let the application with the most derivatives stand for those of lower order on the same inputs.

    Inputs are compared by name, as differentiating and vectorising clone them.
    """
    best: dict[tuple, Apply] = {}
    nodes = {v.owner for v in ancestors(outputs) if v.owner is not None and isinstance(v.owner.op, SmoothOp)}
    for node in nodes:
        key = (node.op.with_order(0), tuple(node.inputs))
        if key not in best or best[key].op.order < node.op.order:
            best[key] = node
    replace = {}
    for node in nodes:
        chosen = best[(node.op.with_order(0), tuple(node.inputs))]
        if chosen is not node:
            replace.update(zip(node.outputs, chosen.outputs, strict=False))
    return clone_replace(outputs, replace)
