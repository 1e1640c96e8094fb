"""A fit with the hyperparameters integrated out."""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pmlmm.errors import OptionError
from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.inference.integrate import Integrated, integrate
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.posterior import effects as posterior
from pmlmm.posterior.densities import conditional
from pmlmm.fit import Fit
from pmlmm.report.hyperparameters import on_user_scale
from pmlmm.posterior.draws import Law
from pmlmm.checks.predictive import draw_covariance_parameters
from pmlmm.posterior.tree import hyperparameter_draws, numbers_each

# Nodes, and draws at each; fewer where an evaluation takes longer than this (seconds).
_NODES, _DRAWS = 256, 16
_FEW_NODES, _FEW_DRAWS, _SLOW = 128, 8, 2e-4
# A larger share of settings without a proper mode leaves out too much of the hyperparameters' posterior.
_MOST_LOST = 0.05


class IntegratedFit(Fit):
    """What :meth:`pmlmm.Fit.integrate` returns: a fit whose posterior carries the uncertainty of lambda, b and A.

    It has everything that a :class:`pmlmm.Fit` has. Means, sds, draws and predictions average over the
    hyperparameters; :attr:`hyperparameters` has their posterior medians and intervals, and draws of them
    are in :attr:`posterior`. :attr:`mode` and :meth:`profile` are those at the learned hyperparameters.
    """

    def __init__(self, fit: Fit, integrated: Integrated):
        super().__init__(fit.model, fit._space, fit.options, fit._tuned)
        self._integrated = integrated

    @cached_property
    def hyperparameters(self) -> pd.DataFrame:
        """lambda, b and A: posterior median, 95% interval, state at the learned value."""
        learned = super().hyperparameters
        phi, weights = self._integrated.phi, self._integrated.node_weights
        for j, c in enumerate(self._space.coordinates):
            ends = np.quantile(phi[:, j], [0.5, 0.025, 0.975], weights=weights, method="inverted_cdf")
            learned.loc[c.name, ["value", "lower", "upper"]] = on_user_scale(c, ends, self._space, self.model.design)
        return learned

    @property
    def log_evidence(self) -> float:
        """log p(y) with the hyperparameters integrated out too, by importance sampling (nats)."""
        return self._integrated.log_evidence

    log_evidence_psis = log_evidence

    @property
    def log_evidence_psis_error(self) -> float:
        """Monte Carlo standard error of ``log_evidence`` (nats)."""
        return self._integrated.error

    @property
    def k_hat(self) -> float:
        """Pareto shape of the weights of hyperparameters and draws: above 0.7 they are not to be trusted."""
        return self._integrated.k_hat

    @property
    def effective_nodes(self) -> float:
        """Effective number of the settings of the hyperparameters that the posterior averages over."""
        return self._integrated.effective

    def integrate(self, **options: Any) -> "IntegratedFit":
        """Integrate anew; see :meth:`pmlmm.Fit.integrate`."""
        return integrated_fit(self, **options)

    def _make_law(self, number: int, rng: np.random.Generator) -> Law:
        result = self._integrated
        log_lambda = np.stack([self._space.theta(phi).log_lambda for phi in result.phi])[result.node]
        pinned = None if self._corrected else self._tuned.proposal.theta
        return Law(self.model, result.theta, log_lambda, result.weights, pinned)

    @property
    def _corrected(self) -> bool:
        """Whether draws within a node have importance weights; Laplace's otherwise, as where the fit skips these."""
        return self._tuned.sample is not None

    def _draw(self, number: int, rng: np.random.Generator) -> tuple[Law, dict[str, np.ndarray]]:
        result = self._integrated
        chosen = posterior.resample(result.weights, number, rng)
        law = self._make_law(number, rng).take(chosen)
        return law, hyperparameter_draws(self._space, result.phi[result.node[chosen]], self.model.design)

    _about_hyperparameters = "posterior medians and 95% intervals"
    _about_intervals = "Estimates and intervals carry the uncertainty of the hyperparameters."

    def _prior_draws(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        thetas = [self._space.theta(phi) for phi in self._space.draw_prior(number, rng)]
        log_lambda = np.stack([theta.log_lambda for theta in thetas])
        return draw_covariance_parameters(self, thetas, rng), log_lambda

    def _more_groups(self) -> dict[str, xr.Dataset]:
        return {}

    @property
    def _reliable(self) -> bool:
        return self._integrated.k_hat <= LARGEST_K_HAT and self.lost_nodes <= _MOST_LOST

    @property
    def lost_nodes(self) -> float:
        """Share of the settings of the hyperparameters that had no proper mode, and count as of no weight."""
        return self._integrated.lost / (self._integrated.lost + len(self._integrated.phi))

    def _attributes(self) -> dict[str, Any]:
        what = (
            "importance-resampled"
            if self._corrected
            else "importance-resampled hyperparameters, Laplace draws given them"
        )
        return super()._attributes() | {
            "weights": what if self._reliable else f"{what}, unreliable",
            "intervals": "hyperparameters integrated out",
            "lost_nodes": self.lost_nodes,
        }


def integrated_fit(
    fit: Fit, *, nodes: int | None = None, draws: int | None = None, random_seed: int | None = None
) -> IntegratedFit:
    """Integrate the hyperparameters of a fit out; see :meth:`pmlmm.Fit.integrate`."""
    if fit._space.hyperprior is None:
        raise OptionError(
            "integrate() needs a proper hyperprior, and this fit has none (hyperprior=None). Fit with the default, or "
            "with a pmlmm.Hyperprior of your own."
        )
    for name, value, least in (("nodes", nodes, 64), ("draws", draws, 1)):
        if value is not None and not (isinstance(value, int | np.integer) and value >= least):
            raise OptionError(f"integrate({name}={value!r}): an integer of at least {least}.")
    each = numbers_each(fit.model.design, gamma=None, wide=None)
    refuse_draws((nodes or 1) * (draws or 1), each, f"integrate(nodes={nodes}, draws={draws})")
    tuned, data = fit._tuned, fit.model.statistics.crossproducts()
    slow = data.seconds() > _SLOW
    seed = fit._seed(random_seed)
    with blas_threads(fit.model.statistics.elimination.dense):
        result = integrate(
            conditional(fit),
            fit._space,
            tuned.phi,
            nodes or (_FEW_NODES if slow else _NODES),
            draws or (_FEW_DRAWS if slow else _DRAWS),
            seed,
        )
    return IntegratedFit(fit, result)
