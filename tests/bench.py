"""Pieces of inference for one model, without the front door."""

from dataclasses import dataclass

import numpy as np

import pmlmm
from pmlmm.graph.engine import compile_log_posterior
from pmlmm.inference.empirical_bayes import LaplaceEvidence
from pmlmm.inference.laplace import Laplace
from pmlmm.inference.start import crude_start
from pmlmm.kernels import coordinates
from pmlmm.priors.search_space import Space
from pmlmm.problem import Problem

#: Models of sleepstudy of every structure.
FORMULAS = [
    "Reaction ~ Days + (Days | Subject)",
    "Reaction ~ Days + (Days || Subject)",
    "Reaction ~ 1 + (1 | Subject)",
    "Reaction ~ Days",
]


@dataclass(frozen=True)
class Bench:
    model: pmlmm.Model
    problem: Problem
    space: Space
    laplace: Laplace
    start: np.ndarray

    def evidence(self):
        return LaplaceEvidence(self.laplace, self.space, self.start)

    def mode(self, phi=None):
        phi = self.space.start if phi is None else phi
        return self.laplace.find_mode(self.start, self.space.theta(phi).packed)


def bench(model, approximation="marginal", coordinates="unconstrained", hyperprior=None):
    """The pieces for one model and one way to approximate."""
    space, problem = model._space(hyperprior), model._problem
    profile = approximation == "joint"
    function = compile_log_posterior(problem, space.fixed, profile=profile)
    laplace = Laplace(function, model.statistics.crossproducts(profile), approximation, coordinates)
    return Bench(model, problem, space, laplace, crude_start(problem, space.fixed, profile))


def quadrature(b, hyper):
    """Mode, and log of the integral over (log sigma, x) by the trapezoidal rule, for q = 1.

    On an analytic density that has died off at the ends the rule converges geometrically.
    """
    mode = b.laplace.find_mode(b.start, hyper)
    sd = 1 / np.sqrt(np.diag(mode.precision))
    grid = np.linspace(-10, 10, 45)
    values = [
        b.laplace.evaluate(mode.x + np.array([first, second]) * sd, hyper)[0].value for first in grid for second in grid
    ]
    total = np.sum(np.exp(np.array(values) - mode.log_posterior)) * (grid[1] - grid[0]) ** 2
    return mode, mode.log_posterior + np.log(total * sd[0] * sd[1])


def parts_of(model):
    """The problem of a model, and its hyperparameters at their start."""
    return model._problem, model._space(None).fixed


def random_point(problem, seed=0):
    """Unconstrained coordinates that sleepstudy finds possible."""
    rng = np.random.default_rng(seed)
    sizes = problem.design.sizes
    d = 1 + sum(coordinates.vech_size(q) for q in sizes)
    x = 0.2 * rng.normal(size=d)
    x[0] += np.log(30.0)
    for q, part in zip(sizes, coordinates.vech_slices(sizes), strict=True):
        x[part][coordinates.vech_indices(q)[0] == coordinates.vech_indices(q)[1]] -= np.log(20.0)
    return x
