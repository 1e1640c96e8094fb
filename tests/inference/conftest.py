"""Pieces of inference for one model, without the front door."""

from dataclasses import dataclass

import numpy as np
import pytest

import pmlmm
from pmlmm.graph.build import Source
from pmlmm.graph.compiled import compile_log_posterior, pack
from pmlmm.inference.empirical_bayes import LaplaceEvidence
from pmlmm.inference.laplace import LaplaceProblem
from pmlmm.inference.space import Space, build_space
from pmlmm.inference.start import crude_start


@dataclass(frozen=True)
class Bench:
    model: pmlmm.Model
    source: Source
    space: Space
    problem: LaplaceProblem
    start: np.ndarray

    def evidence(self):
        return LaplaceEvidence(self.problem, self.space, self.start)

    def mode(self, phi=None):
        phi = self.space.start if phi is None else phi
        return self.problem.find_mode(self.start, pack(self.space.theta(phi)))


@pytest.fixture(scope="session")
def bench():
    def make(model, approximation="marginal", coordinates="unconstrained", hyperprior=None):
        space = build_space(model.design, model.priors, model.statistics, hyperprior)
        source = model._source(space.fixed)
        profile = approximation == "joint"
        function = compile_log_posterior(source, profile=profile)
        problem = LaplaceProblem(function, model.statistics.crossproducts(profile), approximation, coordinates)
        return Bench(model, source, space, problem, crude_start(source, space.fixed, profile))

    return make
