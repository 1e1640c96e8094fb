"""The posterior given the learned hyperparameters."""

import numpy as np
import xarray as xr

from pmlmm.posterior.draws import WeightedDraws
from pmlmm.posterior.labels import covariance_parameters, label
from pmlmm.posterior.source import GIVEN_LEARNED, UNWEIGHTED, Evidence, Posterior
from pmlmm.priors.draw import draw_covariance_parameters


class LearnedPosterior(Posterior):
    """Importance-weighted draws where these are reliable, Laplace's otherwise."""

    about_hyperparameters = "95% intervals from the curvature of the evidence"
    about_intervals = (
        "Intervals are plug-in: given the learned hyperparameters, hence too narrow for Sigma. "
        "fit.integrate() mends that."
    )
    given = GIVEN_LEARNED

    @property
    def evidence(self) -> Evidence:
        weights, laplace = self.learned.weights, self.learned.mode.log_evidence
        if weights is None:
            return Evidence(laplace, np.nan, np.nan, np.nan)
        return Evidence(laplace, weights.log_evidence, weights.error, weights.k_hat)

    @property
    def reliable(self) -> bool:
        return self.learned.reliable

    @property
    def about_weights(self) -> str:
        return "importance-resampled" if self.reliable else UNWEIGHTED

    @property
    def more_groups(self) -> dict[str, xr.Dataset]:
        """Group "proposal", where there are reliable weights."""
        drawn = self.learned.drawn
        if drawn is None or not self.reliable:
            return {}
        sample, weights = drawn
        values = covariance_parameters(sample.natural, self.design, self.problem.statistics.origins)
        group = label(values, self.design, ("proposal_draw",))
        return {"proposal": group.assign(weight=("proposal_draw", weights.normalized))}

    def draw(self, number: int, rng: np.random.Generator) -> WeightedDraws:
        drawn = self.importance
        return drawn if drawn is not None and self.reliable else self.laplace(number, rng)

    @property
    def importance(self) -> WeightedDraws | None:
        if self.learned.drawn is None:
            return None
        sample, weights = self.learned.drawn
        log_lambda = self.learned.theta.log_lambda
        return WeightedDraws(self.problem, sample.natural, log_lambda, weights.normalized).proper()

    def resample(self, number: int, rng: np.random.Generator) -> tuple[WeightedDraws, dict[str, np.ndarray]]:
        return self.draw(number, rng).resampled(number, rng), {}

    def draw_prior(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        theta = self.learned.theta
        return draw_covariance_parameters(self.problem.priors.sigma, [theta] * number, rng), theta.log_lambda
