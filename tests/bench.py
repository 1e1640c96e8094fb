"""Pieces of inference for one model, without the front door."""

from dataclasses import dataclass

import numpy as np
import pytest

import pmlmm
from pmlmm.graph.engine import compile_log_posterior
from pmlmm.inference.empirical_bayes import LaplaceEvidence
from pmlmm.inference.laplace import Laplace
from pmlmm.inference.start import crude_start
from pmlmm.priors.search_space import Space
from pmlmm.problem import Problem


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


@pytest.fixture(scope="session")
def bench():
    def make(model, approximation="marginal", coordinates="unconstrained", hyperprior=None):
        space, problem = model._space(hyperprior), model._problem
        profile = approximation == "joint"
        function = compile_log_posterior(problem, space.fixed, profile=profile)
        laplace = Laplace(function, model.statistics.crossproducts(profile), approximation, coordinates)
        return Bench(model, problem, space, laplace, crude_start(problem, space.fixed, profile))

    return make
