"""The result of fitting a model."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from pmlmm.errors import OptionError, suggest
from pmlmm.inference.empirical_bayes import SearchRecord
from pmlmm.inference.importance import ImportanceEvidence
from pmlmm.inference.space import Space
from pmlmm.inference.tune import Options, Tuned
from pmlmm.kernels import coordinates
from pmlmm.results import hyperparameters, posterior
from pmlmm.results.posterior import Parameters

if TYPE_CHECKING:
    import pymc as pm

    from pmlmm.model import Model

_CHAINS = 4
# More numbers in the draws of gamma than this, and fit.mean conditions gamma on the other means.
_FEW_GAMMA = 1_000_000


class Fit:
    """A tuned model: learned hyperparameters, mode, evidence, posterior.

    Made by :meth:`pmlmm.Model.fit`. Printing it shows the summary.

    Attributes
    ----------
    model : Model
    optimizer_records : tuple of SearchRecord
        Start, path, evaluations, gradient norm and reason to stop of each search.
    refinement : str
        Whether the hyperparameters maximise the importance-sampled evidence, in words.
    """

    def __init__(self, model: "Model", space: Space, options: Options, tuned: Tuned):
        self.model = model
        self.options = options
        self._space, self._tuned = space, tuned

    @property
    def optimizer_records(self) -> tuple[SearchRecord, ...]:
        return self._tuned.records

    @property
    def refinement(self) -> str:
        return self._tuned.refinement

    @cached_property
    def hyperparameters(self) -> pd.DataFrame:
        """lambda, b and A: value, 95% interval from the evidence's curvature, state in words.

        The intervals are on the search scale (log lambda, log(eta - q + 1), log A), transformed; A has
        the units of y^2 over those of the random-effect columns.
        """
        tuned = self._tuned
        objective = tuned.evidence
        if tuned.refined:
            objective = ImportanceEvidence(tuned.sample, self._space)
        elif tuned.sample is None:
            objective = hyperparameters.profile_gradient(tuned.mode, self._space, tuned.phi)
        curve = hyperparameters.curvature(objective, tuned.phi, self._space)
        return hyperparameters.table(self._space, tuned.phi, curve, self.model.design, self.model.priors)

    @cached_property
    def mode(self) -> xr.Dataset:
        """Maximum a posteriori of beta, sigma and Sigma, with the conditional modes of gamma.

        It maximises the density in the coordinates of the approximation (attribute "coordinates"),
        beta and gamma at their maximum given sigma and Sigma.
        """
        parameters = self._parameters(self._tuned.mode.theta[None])
        beta = parameters.beta()
        values = self._named(parameters, beta, parameters.gamma(beta))
        single = {name: value[0] for name, value in values.items()}
        options = self.options
        return posterior.label(
            single,
            self.model.design,
            approximation=options.approximation,
            coordinates=options.coordinates,
            log_posterior=self.log_posterior,
        )

    @cached_property
    def mean(self) -> xr.Dataset:
        """Posterior means of beta, sigma, Sigma and gamma: the reported point estimates.

        Importance-weighted over the draws of (sigma, Sigma), exact given them. Where importance
        sampling was skipped, or the weights are unreliable, plain averages over Laplace draws. gamma
        of very many groups is its conditional mean at the mean of the other parameters.
        """
        theta, weights = self._weighted_draws()
        centre = self._parameters((weights @ theta)[None])
        beta = self._draws_of_beta(theta)
        mean_beta = (weights @ beta)[None]
        if theta.shape[0] * centre.statistics.c[:, :, 0].size <= _FEW_GAMMA:
            gamma = np.tensordot(weights, self._parameters(theta).gamma(beta), axes=1)[None]
        else:
            gamma = centre.gamma(mean_beta)
        values = self._named(centre, mean_beta, gamma)
        return posterior.label({name: value[0] for name, value in values.items()}, self.model.design)

    @property
    def log_posterior(self) -> float:
        """The maximised objective: log p(y, theta*) with all constants, in the approximation's coordinates."""
        return self._tuned.mode.log_posterior

    @property
    def log_evidence(self) -> float:
        """Laplace approximation of log p(y | Theta)."""
        return self._tuned.mode.log_evidence

    @property
    def log_evidence_psis(self) -> float:
        """Pareto-smoothed importance-sampling estimate of log p(y | Theta); nan where skipped."""
        return self._tuned.weights.log_evidence if self._tuned.weights else np.nan

    @property
    def log_evidence_psis_error(self) -> float:
        """Monte Carlo standard error of ``log_evidence_psis`` (nats)."""
        return self._tuned.weights.error if self._tuned.weights else np.nan

    @property
    def k_hat(self) -> float:
        """Pareto shape of the importance weights: above 0.7 they are not to be trusted; nan where skipped."""
        return self._tuned.weights.k_hat if self._tuned.weights else np.nan

    @cached_property
    def posterior(self) -> xr.DataTree:
        """Draws for ArviZ: groups "posterior", "observed_data" and, with weights, "proposal".

        The draws are independent, of equal weight (importance-resampled where the weights are
        reliable), cut into 4 chains; beta and gamma are drawn exactly given sigma and Sigma.
        """
        return self.draw_posterior()

    @cached_property
    def _posterior_without_gamma(self) -> xr.Dataset:
        return self.draw_posterior(gamma=False)["posterior"].to_dataset()

    def draw_posterior(
        self, draws: int | None = None, *, random_seed: int | None = None, gamma: bool | None = None
    ) -> xr.DataTree:
        """Posterior draws as an ArviZ DataTree; see :attr:`posterior`.

        Parameters
        ----------
        draws : int, optional
            Per chain, of 4 chains; together the number of importance draws by default.
        random_seed : int, optional
            The fit's by default.
        gamma : bool, optional
            Draw gamma too. Default: where it fits in memory (the attribute "gamma" says so).
        """
        seed = self.options.random_seed if random_seed is None else random_seed
        rng = np.random.default_rng([seed, 1])
        if draws is not None and draws < 1:
            raise OptionError(f"draw_posterior(draws={draws!r}): at least one draw a chain.")
        per_chain = draws or self.options.draws // _CHAINS
        number = per_chain * _CHAINS
        theta, weights = self._weighted_draws(number, rng)
        theta = theta[posterior.resample(weights, number, rng)]
        parameters, beta = self._parameters(theta), self._draws_of_beta(theta, rng)
        with_gamma = number * parameters.statistics.c[:, :, 0].size <= posterior.MOST_GAMMA
        with_gamma = with_gamma if gamma is None else gamma
        drawn = parameters.gamma(beta, rng) if with_gamma else None
        values = self._named(parameters, beta, drawn)
        shaped = {k: v.reshape(_CHAINS, per_chain, *v.shape[1:]) for k, v in values.items()}
        attrs = self._attributes() | {"gamma": "drawn" if with_gamma else "left out; fit.mean has its means"}
        design = self.model.design
        tree = {
            "posterior": posterior.label(shaped, design, ("chain", "draw"), **attrs),
            "observed_data": xr.Dataset(
                {_variable_name(design.parsed.response): ("row", design.y)}, coords={"row": design.table.rows}
            ),
        }
        if self._reliable:
            tree["proposal"] = self._proposal_group()
        return xr.DataTree.from_dict(tree)

    def profile(self, name: str, *, points: int = 15, width: float = 3.0) -> pd.DataFrame:
        """Evidence profile over one learned hyperparameter, the others at their best.

        Parameters
        ----------
        name : str
            A row of :attr:`hyperparameters`, for example ``"b[Subject]"``.
        points : int
            Grid points.
        width : float
            Half-width of the grid in standard errors (2 log units where there is none).

        Returns
        -------
        DataFrame
            ``value``, ``log_evidence``, ``log_evidence_psis`` with ``error`` and ``k_hat`` (nan where importance
            sampling was skipped, and for other approximations than the default),
            ``log_hyperprior``, and the value of every other learned hyperparameter.

        Raises
        ------
        ValueError
            The name is not one of the learned hyperparameters.
        """
        from pmlmm.results.profile import evidence_profile

        if points < 2 or not width > 0:
            raise OptionError(f"profile(points={points!r}, width={width!r}): at least 2 points and a positive width.")

        names = [c.name for c in self._space.coordinates]
        if name not in names:
            raise OptionError(f"{name!r} is not a learned hyperparameter of this fit." + suggest(name, names))
        return evidence_profile(self._tuned, self._space, self.options, names.index(name), points, width)

    def predict(self, data: Any = None, *, new_groups: str = "error") -> np.ndarray:
        """Posterior mean of ``X beta + Z gamma``, in units of the response.

        Parameters
        ----------
        data : table, optional
            The rows of the fit by default.
        new_groups : "error" or "population"
            Groups that the fit has not seen: refuse, or predict with gamma = 0.

        Returns
        -------
        (rows,) array
            nan in rows with a missing value.
        """
        from pmlmm.results.predict import predict

        return predict(self, data, new_groups)

    def graph(self, *, collapsed: bool = False) -> "pm.Model":
        """PyMC graph with the learned hyperparameters; see :meth:`pmlmm.Model.graph`."""
        return self.model._graph(self._tuned.theta, collapsed)

    def summary(self) -> str:
        """Terms, priors learned with their states, estimates, evidence and diagnostics as text."""
        from pmlmm.results.summary import summarize

        return summarize(self)

    __repr__ = summary

    @property
    def _reliable(self) -> bool:
        return self._tuned.weights is not None and self._tuned.weights.reliable

    def _parameters(self, theta: np.ndarray) -> Parameters:
        design, statistics = self.model.design, self.model.statistics
        data = statistics.crossproducts(self.model.priors.penalty)
        return Parameters(theta, self._tuned.theta.log_lambda, data, design.sizes, statistics)

    def _draws_of_beta(self, theta: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """beta given each draw: its mean, or a draw. Where a pass over the groups for every draw would
        take too long, given the mode of (sigma, Sigma), to which very many groups pin it."""
        if self._tuned.sample is not None:
            return self._parameters(theta).beta(rng)
        return self._parameters(np.repeat(self._tuned.proposal.theta[None], len(theta), axis=0)).beta(rng)

    def _weighted_draws(
        self, number: int | None = None, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws of (sigma, vech Sigma) with weights: importance draws, or Laplace's own."""
        if self._reliable:
            return self._tuned.sample.theta, self._tuned.weights.normalized
        proposal, d = self._tuned.proposal, len(self._tuned.proposal.x)
        number = number or self.options.draws
        rng = rng or np.random.default_rng([self.options.random_seed, 2])
        x = posterior.laplace_draws(proposal.x, proposal.at.hessian[:d, :d], number, rng)
        return coordinates.to_natural(x, self.model.design.sizes), np.full(number, 1.0 / number)

    def _named(self, parameters: Parameters, beta: np.ndarray, gamma: np.ndarray | None):
        values = {"beta": parameters.user_beta(beta)} | self._covariance_parameters(parameters)
        if gamma is None or not self.model.design.terms:
            return values
        return values | posterior.split_gamma(gamma, self.model.design)

    def _covariance_parameters(self, parameters: Parameters) -> dict[str, np.ndarray]:
        names = [f"Sigma_{term.name}" for term in self.model.design.terms]
        return {"sigma": parameters.theta[:, 0]} | dict(zip(names, parameters.Sigmas(), strict=True))

    def _proposal_group(self) -> xr.Dataset:
        theta, weights = self._tuned.sample.theta, self._tuned.weights.normalized
        values = self._covariance_parameters(self._parameters(theta))
        group = posterior.label(values, self.model.design, ("proposal_draw",))
        return group.assign(weight=("proposal_draw", weights))

    def _attributes(self) -> dict[str, Any]:
        return {
            "k_hat": self.k_hat,
            "weights": "importance-resampled" if self._reliable else "Laplace draws, unweighted",
            "intervals": "given the learned hyperparameters",
            "beta": "given each draw" if self._tuned.sample is not None else "given the mode of sigma and Sigma",
            "log_evidence": self.log_evidence,
            "log_evidence_psis": self.log_evidence_psis,
        }


def _variable_name(response: str) -> str:
    """The response as a variable of a Dataset, which has no slashes and no dimension's name."""
    return "y" if "/" in response or response == "row" else response
