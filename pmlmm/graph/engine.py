"""Compile the collapsed graph once per structure: log-posterior, gradient, Hessian in one call.

The function's one vector input holds every coordinate that is differentiated::

    z = (sigma, vech Sigma_1, ..., log lambda_1, ..., parameters of the prior of Sigma_1, ...)

so that derivatives in the parameters, in the hyperparameters and across come from the same call,
and one compilation serves all of empirical Bayes and every later model of the same structure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode
from pytensor.gradient import jacobian
from pytensor.graph.replace import graph_replace
from pytensor.graph.rewriting.db import RewriteDatabaseQuery

from pmlmm.graph.build import SymbolicTheta, build_collapsed
from pmlmm.graph.covariances import graph_of
from pmlmm.graph.distributions import unvech_graph
from pmlmm.graph.ops import embed, merge_orders
from pmlmm.kernels.coordinates import vech_size
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.kernels.likelihood_expanded import Expansion
from pmlmm.priors.flat import Flat
from pmlmm.priors.theta import Theta
from pmlmm.problem import Problem

# The Python linker: nothing is compiled to C or numba, the work is inside the Ops.
_MODE = Mode(linker="py", optimizer=RewriteDatabaseQuery(include=["canonicalize", "merge"]))
# With more terms than this sums are left as they are: in one they would have more operands than NumPy takes.
_MOST_TERMS, _MANY_TERMS = 8, Mode(linker="py", optimizer=RewriteDatabaseQuery(include=["merge"]))

_compiled: dict[tuple, "_Reentrant"] = {}
# PyTensor is not made to build graphs in several threads.
_lock = Lock()


class _Reentrant:
    """A compiled function that may be called in many threads at a time.

    A function of PyTensor keeps what it is given and computes within itself, so every call takes a copy that no
    other call has; the kernels inside run side by side. Copies, a millisecond each, are as many as calls were at
    a time.
    """

    def __init__(self, function: Callable):
        self._function, self._idle = function, [function]

    def __call__(self, *arguments: Any) -> list[np.ndarray]:
        try:
            function = self._idle.pop()
        except IndexError:
            with _lock:
                function = self._function.copy()
        try:
            return function(*arguments)
        finally:
            self._idle.append(function)


@dataclass(frozen=True)
class LogPosterior:
    """log p(y, sigma, Sigma | Theta), or its profile over beta, of one model."""

    function: Callable
    arguments: tuple

    def expanded(self, expansion: Expansion) -> "LogPosterior":
        """The same with the likelihood replaced by its expansion."""
        return LogPosterior(self.function, (*self.arguments[:-1], expansion))

    def __call__(self, theta: np.ndarray, hyper: np.ndarray) -> Derivatives:
        """Value, gradient and Hessian in (theta, hyper) = z."""
        value, gradient, hessian = self.function(np.concatenate([theta, hyper]), *self.arguments)
        return Derivatives(float(value), gradient, hessian)


def compile_log_posterior(problem: Problem, theta: Theta, *, profile: bool) -> LogPosterior:
    """The compiled log-posterior of a model; compiles only if no model before had this structure.

    ``theta`` serves as an example: which priors it has, not their values, is what a structure is.
    """
    priors = problem.priors
    key = (
        problem.design.sizes,
        tuple(type(density) for density in theta.covariances),
        len(priors.penalty_groups),
        isinstance(priors.sigma, Flat),
        profile,
    )
    with _lock:
        if key not in _compiled:
            _compiled[key] = _Reentrant(_compile(problem, theta, profile))
    sigma = () if isinstance(priors.sigma, Flat) else (np.float64(priors.sigma.nu), np.float64(priors.sigma.scale))
    return LogPosterior(_compiled[key], (*sigma, problem.statistics.crossproducts(profile)))


def _compile(problem: Problem, theta: Theta, profile: bool) -> Callable:
    z, sizes = pt.dvector("z"), problem.design.sizes
    position = 0

    def take(count: int):
        nonlocal position
        position += count
        return z[position - count : position]

    natural = [take(1)[0], *(unvech_graph(take(vech_size(q)), q) for q in sizes)]
    symbolic = SymbolicTheta([take(1)[0] for _ in problem.priors.penalty_groups])
    for density in theta.covariances:
        symbolic.covariances.append(graph_of(density).unpack(take(len(density.packed)), density.q))
    model, handles = build_collapsed(problem, theta, symbolic=symbolic, profile=profile)
    shared = [*handles.sigma_prior, *handles.data]
    inputs = [variable.type() for variable in shared]
    values = [model.rvs_to_values[rv] for rv in handles.free]
    replace = dict(zip([*values, *shared], [*natural, *inputs], strict=True))
    value = graph_replace([model.logp(jacobian=False)], replace)[0]
    value = embed(value, z, position)
    gradient = pytensor.grad(value, z)
    hessian = jacobian(gradient, z, vectorize=True)
    outputs = merge_orders([value, gradient, hessian])
    function = pytensor.function([z, *inputs], outputs, mode=_MODE if len(sizes) <= _MOST_TERMS else _MANY_TERMS)
    function.trust_input = True
    return function
