"""Write a model as a PyMC graph: full (beta and gamma explicit) or collapsed (both integrated out)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pytensor.graph.basic import Variable
from pytensor.tensor import TensorVariable

from pmlmm.crossproducts.wide_basis import StandardizedBlock
from pmlmm.design.names import covariance_dims
from pmlmm.graph import numba_dispatch
from pmlmm.graph.covariance import Arguments
from pmlmm.graph.covariances import graph_of
from pmlmm.graph.distributions import vech_graph
from pmlmm.graph.ops import CollapsedLogLikelihood, Differentiable, HalfStudentTLogDensity, SampledLogLikelihood
from pmlmm.kernels.likelihood_compiled import flatten
from pmlmm.priors.flat import Flat
from pmlmm.priors.theta import Theta
from pmlmm.problem import Problem


@dataclass(frozen=True)
class SymbolicTheta:
    """The hyperparameters as the densities use them: log lambda, and the arguments of each covariance's prior.

    Groups in the units of y have ``-log tau^2`` in place of log lambda.
    """

    log_lambda: list[Variable] = field(default_factory=list)
    covariances: list[Arguments] = field(default_factory=list)


@dataclass
class Handles:
    """Variables of a collapsed graph: the free ones, and the shared ones that inference feeds."""

    free: list[Variable] = field(default_factory=list)
    sigma_prior: list[Variable] = field(default_factory=list)
    data: list[Variable] = field(default_factory=list)


def build_graph(problem: Problem, theta: Theta, *, collapsed: bool = False) -> pm.Model:
    """The graph for a user: full, or with beta and gamma integrated out."""
    return build_collapsed(problem, theta)[0] if collapsed else build_full(problem, theta)


def density_graph(function: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int) -> pm.Model:
    """A graph with one vector ``z`` whose log-density, with its gradient, is a Python function's."""
    with pm.Model() as model:
        pm.Potential("density", Differentiable(function)(pm.Flat("z", shape=size)))
    return model


def build_collapsed(
    problem: Problem, theta: Theta, *, symbolic: SymbolicTheta | None = None, profile: bool = False
) -> tuple[pm.Model, Handles]:
    """Graph of p(y, sigma, Sigma | Theta) with beta and gamma integrated out.

    Parameters
    ----------
    problem : Problem
    theta : Theta
        Values of the hyperparameters.
    symbolic : SymbolicTheta, optional
        Use these variables for the hyperparameters, and natural value variables. Without it they are
        data containers ``lambda_*``, ``b_*``, ``A_*``, ... and the values are unconstrained, for a sampler.
    profile : bool
        beta at its maximum instead of integrated out; for the engine, not for samplers.

    Returns
    -------
    model, handles
        ``handles.data`` are the shared variables of the cross-products.
    """
    options = {} if symbolic is None else {"default_transform": None}
    with pm.Model(coords=problem.design.coords()) as model:
        symbols = symbolic or _theta_containers(problem, theta)
        handles = Handles()
        sigma, Sigmas = _covariance_parameters(problem, theta, symbols, handles, options)
        u = pt.concatenate([sigma[None], *(vech_graph(S) for S in Sigmas), *(x[None] for x in symbols.log_lambda)])
        if symbolic is not None:
            op, data = CollapsedLogLikelihood(profile), [problem.statistics.crossproducts(profile)]
        else:
            numba_dispatch.register()
            flat = flatten(problem.statistics.crossproducts())
            op, data = SampledLogLikelihood(flat.kind), flat.arrays
        handles.data = [pytensor.shared(x) for x in data]
        pm.Potential("log_likelihood", op(u, *handles.data))
    return model, handles


def build_full(problem: Problem, theta: Theta) -> pm.Model:
    """Graph of p(y, beta, gamma, sigma, Sigma | Theta): shares no algebra with the kernels.

    ``beta`` is on the user's scale; the sampled ``beta_used`` is on that of the ridge, and the sampled
    ``gamma_*_unit`` are standard: their covariance enters through its Cholesky factor (non-centred). Where columns
    of a term have their zero elsewhere inside (:class:`pmlmm.priors.origin.Origin`) its ``Sigma_*_used`` is sampled,
    and ``Sigma_*`` follows.
    """
    numba_dispatch.register()
    design, standard = problem.design, problem.statistics.standardization
    with pm.Model(coords=design.coords() | {"row": problem.design.table.rows}) as model:
        symbols = _theta_containers(problem, theta)
        sigma, Sigmas = _covariance_parameters(problem, theta, symbols, Handles(), {})
        used = _fixed_effects(problem, symbols, sigma)
        X = (design.X - standard.center) / standard.scale
        mu, moved = standard.offset + pt.dot(X, used), 0.0
        for block in problem.statistics.wide:
            wide = _wide_effects(problem, symbols, sigma, block)
            mu = mu + pt.dot(np.hstack([X for _, X in block.standardized()]), wide)
            on_scale = pm.Deterministic(f"beta_{block.block.name}", wide / block.scale, dims=block.block.name)
            moved = moved + pt.dot(block.center, on_scale)
        beta = pt.dot(standard.transform, used) + standard.shift
        if standard.intercept is not None:
            beta = beta[standard.intercept].inc(-moved)
        pm.Deterministic("beta", beta, dims="coefficient")
        origins = problem.statistics.origins
        for term, origin, Sigma in zip(problem.statistics.terms, origins, Sigmas, strict=True):
            dims = (term.factor, f"{term.name}_effect")
            unit = pm.Normal(f"gamma_{term.name}_unit", dims=dims)
            gamma = unit @ pt.linalg.cholesky(Sigma).T
            pm.Deterministic(f"gamma_{term.name}", origin.users_effects(gamma), dims=dims)
            mu = mu + pt.sum(term.Z * gamma[term.grouping.codes], axis=-1)
        pm.Normal("y", mu, sigma * design.noise_sd, observed=design.y, dims="row")
    return model


def _theta_containers(problem: Problem, theta: Theta) -> SymbolicTheta:
    """Data containers lambda_*, b_*, A_*, ..., and what the densities use of them."""
    symbols = SymbolicTheta()
    for group, log_lambda in zip(problem.priors.penalty_groups, theta.log_lambda, strict=True):
        if group.absolute:
            symbols.log_lambda.append(pt.constant(float(log_lambda)))
        else:
            symbols.log_lambda.append(pt.log(pm.Data(f"lambda_{group.name}", np.exp(log_lambda))))
    for term, density in zip(problem.design.terms, theta.covariances, strict=True):
        symbols.covariances.append(graph_of(density).containers(term, density))
    return symbols


def _covariance_parameters(problem: Problem, theta: Theta, symbols: SymbolicTheta, handles: Handles, options: dict):
    """The random variables sigma and Sigma_*."""
    prior, q_of = problem.priors.sigma, problem.design.sizes
    if isinstance(prior, Flat):
        sigma = pm.HalfFlat("sigma", **options)
    elif not options:
        sigma = pm.HalfStudentT("sigma", prior.nu, prior.scale)
    else:  # the same density, by an Op whose derivatives are closed-form
        handles.sigma_prior = [pytensor.shared(np.float64(x)) for x in (prior.nu, prior.scale)]
        sigma = pm.HalfFlat("sigma", **options)
        pm.Potential("sigma_prior", HalfStudentTLogDensity()(sigma[None], *handles.sigma_prior))
    Sigmas, variance = [], problem.design.variance(problem.design.net)
    origins = problem.statistics.origins
    parts = zip(problem.design.terms, origins, theta.covariances, symbols.covariances, strict=True)
    for term, origin, density, arguments in parts:
        name, dims = f"Sigma_{term.name}", covariance_dims(term.name)
        start = pt.as_tensor_variable(np.eye(term.q) * variance)
        own = f"{name}_used" if origin.moved else name
        Sigmas.append(graph_of(density).variable(own, arguments, start, dims=dims, **options))
        if origin.moved:
            back = origin.matrix(-1.0)
            pm.Deterministic(name, back @ Sigmas[-1] @ back.T, dims=dims)
    handles.free = [sigma, *Sigmas]
    return sigma, [pt.specify_shape(S, (q, q)) for S, q in zip(Sigmas, q_of, strict=True)]


def _fixed_effects(problem: Problem, symbols: SymbolicTheta, sigma: TensorVariable):
    """Coefficients of X on the scale on which the ridge acts: (p,)."""
    used = pt.zeros(len(problem.design.coefficients))
    ridged = [group for group in problem.priors.penalty_groups if group.block is None]
    if ridged:
        columns = np.concatenate([group.columns for group in ridged])
        which = [problem.priors.penalty_groups.index(group) for group in ridged for _ in group.columns]
        units = pt.stack([1.0 if group.absolute else sigma for group in problem.priors.penalty_groups])
        scale = (units * pt.exp(-0.5 * pt.stack(symbols.log_lambda)))[which]
        used = used[columns].set(pm.Normal("beta_used", 0.0, scale, shape=len(columns)))
    flat = np.array(problem.priors.flat_columns, dtype=int)
    if len(flat):
        used = used[flat].set(pm.Flat("beta_flat", shape=len(flat)))
    return used


def _wide_effects(problem: Problem, symbols: SymbolicTheta, sigma: TensorVariable, block: StandardizedBlock):
    """Coefficients of a wide block on the scale on which the ridge acts, non-centred: (p,)."""
    name = block.block.name
    log_lambda = symbols.log_lambda[[group.name for group in problem.priors.penalty_groups].index(name)]
    return pm.Normal(f"beta_{name}_unit", shape=block.block.p) * sigma * pt.exp(-0.5 * log_lambda)
