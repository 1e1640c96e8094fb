"""The posterior with the hyperparameters integrated out."""

import numpy as np

from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.inference.integrate import Integrated
from pmlmm.inference.learned import Learned
from pmlmm.posterior.draws import WeightedDraws, resample
from pmlmm.posterior.source import Evidence, Posterior
from pmlmm.posterior.tree import hyperparameter_draws
from pmlmm.priors.draw import draw_covariance_parameters


class IntegratedPosterior(Posterior):
    """Weighted draws of (sigma, Sigma, lambda), and of the other hyperparameters given these."""

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
        return self.integrated.k_hat <= LARGEST_K_HAT

    @property
    def about_weights(self) -> str:
        given = "" if self.weighs_draws else " from Laplace's approximation at every setting of the hyperparameters"
        return f"importance-resampled{given}{'' if self.reliable else ', unreliable'}"

    def draw(self, number: int, rng: np.random.Generator) -> WeightedDraws:
        result, pinned = self.integrated, None if self.weighs_draws else self.learned.proposal.natural
        draws = WeightedDraws(self.problem, result.natural, result.log_lambda, result.weights, pinned)
        return draws.in_few_pieces()

    def resample(self, number: int, rng: np.random.Generator) -> tuple[WeightedDraws, dict[str, np.ndarray]]:
        result = self.integrated
        chosen = resample(result.weights, number, rng)
        more = hyperparameter_draws(self.learned.space, result.phi(chosen, rng), self.design)
        return self.draw(number, rng).take(chosen), more

    def draw_prior(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        space = self.learned.space
        thetas = [space.theta(phi) for phi in space.draw_prior(number, rng)]
        log_lambda = np.stack([theta.log_lambda for theta in thetas])
        return draw_covariance_parameters(self.problem.priors.sigma, thetas, rng), log_lambda
