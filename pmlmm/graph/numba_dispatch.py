"""Compiled versions of our Ops for PyTensor's numba backend, so that samplers do not call back into Python.

Registered when a graph for a sampler is built: loading that backend takes seconds, and fitting does not need it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from pytensor.graph.basic import Apply

from pmlmm.graph.ops import CovarianceLogDensity, SampledLogLikelihood
from pmlmm.kernels import likelihood_compiled
from pmlmm.kernels.jit import sources


@cache
def register() -> None:
    """Tell PyTensor how numba computes our Ops up to their gradients.

    PyTensor keeps what it compiles on disk; the key says which kernels are in it, as a later version of this package
    has others.
    """
    from pytensor.link.numba.dispatch import basic

    version = int.from_bytes(sources()[:7])

    @basic.register_funcify_default_op_cache_key(SampledLogLikelihood)
    def likelihood(op: SampledLogLikelihood, node: Apply | None = None, **options: Any) -> tuple[Callable, int]:
        if op.order > 1:
            return basic.generate_fallback_impl(op, node=node, **options), version
        inner, end = likelihood_compiled.FUNCTIONS[op.kind], 1 + len(likelihood_compiled.PLAN)

        @basic.numba_njit
        def function(*inputs):
            return inner(inputs[0], inputs[1:end], inputs[end:])

        return _outputs(basic.numba_njit, function, op.order), version

    @basic.register_funcify_default_op_cache_key(CovarianceLogDensity)
    def covariance(op: CovarianceLogDensity, node: Apply | None = None, **options: Any) -> tuple[Callable, int]:
        if op.order > 1:
            return basic.generate_fallback_impl(op, node=node, **options), version
        return _outputs(basic.numba_njit, op.density.compiled, op.order), version


def _outputs(njit: Callable, function: Callable, order: int) -> Callable:
    """The outputs of an Op of this order from a function that returns value and gradient."""
    if order == 0:

        @njit
        def value(*inputs):
            return np.asarray(function(*inputs)[0])

        return value

    @njit
    def both(*inputs):
        result, gradient = function(*inputs)
        return np.asarray(result), gradient

    return both
