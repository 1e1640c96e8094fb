"""The posterior with the hyperparameters integrated out."""

from typing import Any

import numpy as np

from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.inference.integrate import Integrated
from pmlmm.inference.learned import Learned
from pmlmm.posterior.draws import WeightedDraws, resample
from pmlmm.posterior.source import Evidence, Posterior
from pmlmm.posterior.tree import hyperparameter_draws
from pmlmm.priors.draw import draw_covariance_parameters

# A larger share of settings without a proper mode leaves out too much of the hyperparameters' posterior.
_MOST_LOST = 0.05


class IntegratedPosterior(Posterior):
    """Weighted draws of (phi, sigma, Sigma), node by node."""

    about_hyperparameters = "posterior medians and 95% intervals"
    about_intervals = "Estimates and intervals carry the uncertainty of the hyperparameters."
    given = "hyperparameters integrated out"
    integrated: Integrated

    def __init__(self, learned: Learned, integrated: Integrated):
        super().__init__(learned)
        self.integrated = integrated

    @property
    def evidence(self) -> Evidence:
        result = self.integrated
        return Evidence(result.log_evidence, result.log_evidence, result.error, result.k_hat)

    @property
    def reliable(self) -> bool:
        return self.integrated.k_hat <= LARGEST_K_HAT and self.integrated.lost_share <= _MOST_LOST

    @property
    def about_weights(self) -> str:
        given = "" if self.weighs_draws else " hyperparameters, Laplace draws given them"
        return f"importance-resampled{given}{'' if self.reliable else ', unreliable'}"

    @property
    def attributes(self) -> dict[str, Any]:
        return super().attributes | {"lost_nodes": self.integrated.lost_share}

    def draw(self, number: int, rng: np.random.Generator) -> WeightedDraws:
        result, space = self.integrated, self.learned.space
        log_lambda = np.stack([space.theta(phi).log_lambda for phi in result.phi])[result.node]
        pinned = None if self.weighs_draws else self.learned.proposal.natural
        return WeightedDraws(self.problem, result.natural, log_lambda, result.weights, pinned)

    def resample(self, number: int, rng: np.random.Generator) -> tuple[WeightedDraws, dict[str, np.ndarray]]:
        result = self.integrated
        chosen = resample(result.weights, number, rng)
        more = hyperparameter_draws(self.learned.space, result.phi[result.node[chosen]], self.design)
        return self.draw(number, rng).take(chosen), more

    def draw_prior(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        space = self.learned.space
        thetas = [space.theta(phi) for phi in space.draw_prior(number, rng)]
        log_lambda = np.stack([theta.log_lambda for theta in thetas])
        return draw_covariance_parameters(self.problem.priors.sigma, thetas, rng), log_lambda
