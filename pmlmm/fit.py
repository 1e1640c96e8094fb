"""The result of fitting a model."""

from collections.abc import Mapping
from functools import cached_property
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from pmlmm.errors import OptionError, suggest
from pmlmm.inference.empirical_bayes import SearchRecord
from pmlmm.inference.importance import ImportanceEvidence
from pmlmm.priors.search_space import Space
from pmlmm.inference.learn import Options, Tuned, number_of_draws
from pmlmm.kernels import coordinates
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.report import hyperparameters
from pmlmm.posterior import effects as posterior
from pmlmm.posterior import tree
from pmlmm.checks.methods import Checks, count
from pmlmm.posterior.draws import Law, covariance_parameters, expected
from pmlmm.posterior.effects import Parameters

if TYPE_CHECKING:
    import pymc as pm

    from pmlmm.model import Model

_CHAINS = 4


class Fit(Checks):
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
        with blas_threads(self.model.statistics.elimination.dense), np.errstate(all="ignore"):
            curve = hyperparameters.curvature(objective, tuned.phi, self._space)
        return hyperparameters.table(self._space, tuned.phi, curve, self.model.design, self.model.priors)

    @cached_property
    def mode(self) -> xr.Dataset:
        """Maximum a posteriori of beta, sigma and Sigma, with the conditional modes of gamma.

        It maximises the density in the coordinates of the approximation (attribute "coordinates"),
        beta and gamma at their maximum given sigma and Sigma.
        """
        parameters = self._parameters(self._tuned.mode.theta[None])
        dense = parameters.effects().mean
        values = expected(parameters, dense, self.model.design) | parameters.gamma(dense)
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

        Variables: ``beta`` (coefficients,) in units of y over those of the column, ``sigma`` in units of y, for
        each term ``Sigma_<term>`` (q, q) and ``gamma_<term>`` (groups, q), for each wide block ``beta_<block>`` (p,).
        Importance-weighted over the draws of (sigma, Sigma), exact given them. Where importance
        sampling was skipped, or the weights are unreliable, plain averages over Laplace draws. gamma
        of very many groups is its conditional mean at the mean of the other parameters.
        """
        return posterior.label(self._law.means(), self.model.design)

    @cached_property
    def sd(self) -> xr.Dataset:
        """Posterior standard deviations of sigma, Sigma, beta and the coefficients of wide blocks.

        The latter by the law of total variance, at cost n p min(n, p); the others from the draws.
        """
        draws = self._small_posterior
        values = {name: np.std(draws[name].to_numpy(), axis=(0, 1), ddof=1) for name in draws.data_vars}
        if self.model.design.wide:
            values |= self._law.wide_sds(np.random.default_rng(self.options.random_seed))
        return posterior.label(values, self.model.design)

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
        """Draws for ArviZ: groups "posterior", "observed_data", "constant_data" and, with weights, "proposal".

        The draws are independent, of equal weight (importance-resampled where the weights are
        reliable), cut into 4 chains; beta and gamma are drawn exactly given sigma and Sigma.
        """
        return self.draw_posterior()

    @cached_property
    def _small_posterior(self) -> xr.Dataset:
        """Draws without gamma and the coefficients of wide blocks."""
        return self.draw_posterior(gamma=False, wide=False)["posterior"].to_dataset()

    def draw_posterior(
        self,
        draws: int | None = None,
        *,
        random_seed: int | None = None,
        gamma: bool | None = None,
        wide: bool | None = None,
        corrected: bool = True,
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
        wide : bool, optional
            Draw the coefficients of wide blocks too. Default: where they are few (the attribute "wide"
            says so); their means and sds are in :attr:`mean` and :attr:`sd` in any case.
        corrected : bool
            False: from Laplace's approximation as it is, not importance-resampled.
        """
        draws = count("draws", draws, optional=True)
        rng = np.random.default_rng([self._seed(random_seed), 1])
        number = _CHAINS * draws if draws else self._number
        groups, _, _ = self._drawn_groups(number, rng, corrected=corrected, gamma=gamma, wide=wide)
        return xr.DataTree.from_dict(groups | self._more_groups())

    def _drawn_groups(self, number: int, rng: np.random.Generator, *, corrected: bool = True, **options: bool | None):
        """Groups of a DataTree, everything that was drawn, and the shape (chains, draws)."""
        shape = _CHAINS, number // _CHAINS
        each = tree.numbers_each(self.model.design, gamma=options.get("gamma"), wide=options.get("wide"))
        refuse_draws(number, each, f"draws={shape[1]}")
        if corrected:
            law, more = self._draw(shape[0] * shape[1], rng)
        else:
            law, more = self._laplace_law(number, rng).resampled(shape[0] * shape[1], rng), {}
        attributes = self._attributes()
        if not corrected:
            attributes["weights"] = "Laplace draws, unweighted"
            attributes["intervals"] = "given the learned hyperparameters"
        groups, values = tree.posterior_groups(law, shape, rng, more=more, attributes=attributes, **options)
        return groups, values, shape

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
        OptionError
            The name is not one of the learned hyperparameters, or the grid has no width.
        """
        from pmlmm.report.profile import evidence_profile

        if not (isinstance(points, Integral) and points >= 2) or not width > 0:
            raise OptionError(f"profile(points={points!r}, width={width!r}): at least 2 points and a positive width.")

        names = [c.name for c in self._space.coordinates]
        if name not in names:
            raise OptionError(f"{name!r} is not a learned hyperparameter of this fit." + suggest(name, names))
        with blas_threads(self.model.statistics.elimination.dense), np.errstate(all="ignore"):
            return evidence_profile(self._tuned, self._space, self.options, names.index(name), points, width)

    def predict(
        self, data: Any = None, *, penalized: Mapping[str, Any] | None = None, new_groups: str = "error"
    ) -> np.ndarray:
        """Posterior mean of ``X beta + Z gamma``, in units of the response.

        Parameters
        ----------
        data : table, optional
            The rows of the fit by default.
        penalized : mapping, optional
            The wide blocks' columns for these rows, as :class:`pmlmm.Model` takes them.
        new_groups : "error" or "population"
            Groups that the fit has not seen: refuse, or predict with gamma = 0. With "population" the groups'
            columns may have gaps, or be absent.

        Returns
        -------
        (rows,) array
            nan in rows with a missing value in the table; a wide block must be complete in the other rows.

        Raises
        ------
        DataError
            A column or block that is missing or cannot be evaluated, groups or levels that the fit has not seen, or a
            term whose value in a row depends on the other rows.
        OptionError
            ``new_groups`` is neither choice, or ``penalized`` without ``data``.
        """
        from pmlmm.posterior.predict import predict

        return predict(self, data, penalized, new_groups)

    def graph(self, *, collapsed: bool = False) -> "pm.Model":
        """PyMC graph with the learned hyperparameters; see :meth:`pmlmm.Model.graph`."""
        return self.model._graph(self._tuned.theta, collapsed)

    def summary(self) -> str:
        """Terms, priors learned with their states, estimates, evidence and diagnostics as text."""
        from pmlmm.report.summary import summarize

        return summarize(self)

    __repr__ = summary

    def _seed(self, random_seed: int | None) -> int:
        seed = self.options.random_seed if random_seed is None else random_seed
        if not (isinstance(seed, Integral) and seed >= 0):
            raise OptionError(f"random_seed={seed!r}: the seed must be an integer of at least 0.")
        return int(seed)

    def _prior_draws(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(sigma, vech Sigma) from their priors, and log lambda."""
        from pmlmm.checks.predictive import draw_covariance_parameters

        theta = self._tuned.theta
        return draw_covariance_parameters(self, [theta] * number, rng), theta.log_lambda

    @property
    def _data_fingerprint(self) -> str:
        return tree.fingerprint(self.model.formula, self.model.design.y, self.model.design.X)

    @property
    def _theta_fingerprint(self) -> str:
        return tree.fingerprint(self._tuned.theta.packed)

    _about_hyperparameters = "95% intervals from the curvature of the evidence"
    _about_intervals = (
        "Intervals are given the learned hyperparameters, hence too narrow for Sigma; fit.integrate() mends that."
    )

    @property
    def _number(self) -> int:
        """Number of draws unless another is asked for."""
        return number_of_draws(self.options, self.model.statistics.crossproducts())

    @property
    def _reliable(self) -> bool:
        return self._tuned.weights is not None and self._tuned.weights.reliable

    def _parameters(self, theta: np.ndarray) -> Parameters:
        return Parameters(theta, self._tuned.theta.log_lambda, self.model.design, self.model.statistics)

    @cached_property
    def _law(self) -> Law:
        """The posterior of (sigma, Sigma) as weighted draws."""
        return self._make_law(self._number, np.random.default_rng([self.options.random_seed, 2]))

    def _make_law(self, number: int, rng: np.random.Generator) -> Law:
        """Importance draws; where they are not to be had or not reliable, ``number`` Laplace draws.

        Where effects given each of these would take too long, they are those given the mode.
        """
        tuned = self._tuned
        if not self._reliable:
            return self._laplace_law(number, rng)
        return Law(self.model, tuned.sample.theta, tuned.theta.log_lambda, tuned.weights.normalized).proper()

    def _draw(self, number: int, rng: np.random.Generator) -> tuple[Law, dict[str, np.ndarray]]:
        """``number`` draws of equal weight, and further variables of the posterior."""
        return self._make_law(number, rng).resampled(number, rng), {}

    def _laplace_law(self, number: int, rng: np.random.Generator) -> Law:
        """Draws of (sigma, Sigma) from Laplace's approximation at the learned hyperparameters."""
        tuned, proposal = self._tuned, self._tuned.proposal
        precision = tuned.proposals.proposal_precision(proposal, tuned.phi)
        x = posterior.laplace_draws(proposal.x, precision, number, rng)
        theta, weights = coordinates.natural_draws(x, self.model.design.sizes)[0], np.full(number, 1.0 / number)
        pinned = proposal.theta if tuned.sample is None else None
        return Law(self.model, theta, tuned.theta.log_lambda, weights, pinned).proper()

    def _more_groups(self) -> dict[str, xr.Dataset]:
        """Group "proposal", where there are reliable weights."""
        if not self._reliable:
            return {}
        values = covariance_parameters(self._tuned.sample.theta, self.model.design)
        group = posterior.label(values, self.model.design, ("proposal_draw",))
        return {"proposal": group.assign(weight=("proposal_draw", self._tuned.weights.normalized))}

    def _attributes(self) -> dict[str, Any]:
        return {
            "k_hat": self.k_hat,
            "weights": "importance-resampled" if self._reliable else "Laplace draws, unweighted",
            "intervals": "given the learned hyperparameters",
            "beta": "given each draw" if self._tuned.sample is not None else "given the mode of sigma and Sigma",
            "log_evidence": self.log_evidence,
            "log_evidence_psis": self.log_evidence_psis,
        }
