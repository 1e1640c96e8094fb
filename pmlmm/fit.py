"""The result of fitting a model: a front door to its posterior, checks and reports."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from pmlmm.checks import compare as comparing
from pmlmm.checks import compare_models as models_compared
from pmlmm.checks import leave_group_out, predictive, replicates
from pmlmm.checks import nuts as mcmc_check
from pmlmm.errors import OptionError
from pmlmm.inference.empirical_bayes import SearchRecord
from pmlmm.inference.integrate import integrate_out
from pmlmm.inference.learned import FitOptions
from pmlmm.options import count, optional_count, seed
from pmlmm.posterior.integrated import IntegratedPosterior
from pmlmm.posterior.predict import predict
from pmlmm.posterior.residuals import residual_checks, residuals
from pmlmm.posterior.source import Posterior
from pmlmm.progress import Progress, reporting
from pmlmm.report import hyperparameters, hypothesis, means, profile, summary, tables, variance
from pmlmm.report.grid import Named, Weights
from pmlmm.report.means import Kind
from pmlmm.report.plots.coefficients import plot_coefficients
from pmlmm.report.plots.covariances import plot_covariances
from pmlmm.report.plots.effects import plot_random_effects
from pmlmm.report.plots.evidence import plot_evidence
from pmlmm.report.plots.means import plot_means
from pmlmm.report.plots.predictive import plot_predictive
from pmlmm.report.plots.residuals import plot_residuals
from pmlmm.report.plots.shrinkage import plot_shrinkage
from pmlmm.report.plots.trajectories import plot_trajectories

if TYPE_CHECKING:
    import pymc as pm
    from matplotlib.axes import Axes


class Fit:
    """A tuned model: learned hyperparameters, mode, evidence, posterior.

    Made by :meth:`pmlmm.Model.fit`. Printing it shows the summary.

    Attributes
    ----------
    model : Model
    options : FitOptions
        What was asked for.
    """

    def __init__(self, model: Any, posterior: Posterior):
        self.model = model
        self._posterior = posterior

    @property
    def options(self) -> FitOptions:
        return self._posterior.learned.options

    @property
    def optimizer_records(self) -> tuple[SearchRecord, ...]:
        """Start, path, evaluations, gradient norm and reason to stop of each search."""
        return self._posterior.learned.records

    @property
    def refinement(self) -> str:
        """Whether the hyperparameters maximise the importance-sampled evidence, in words."""
        return self._posterior.learned.refinement

    @cached_property
    def hyperparameters(self) -> pd.DataFrame:
        """lambda, b and A: value, 95% interval, state in words.

        Of an :class:`IntegratedFit` posterior medians and quantiles; else the learned values, with intervals from the
        evidence's curvature. These are on the search scale (log lambda, log(eta - q + 1), log A), transformed; A has
        the units of y^2 over those of the random-effect columns, and is stated at the origin of these
        (:class:`InverseWishart`).
        """
        return hyperparameters.table(self._posterior)

    @property
    def mode(self) -> xr.Dataset:
        """Maximum a posteriori of beta, sigma and Sigma, with the conditional modes of gamma.

        It maximises the density in the coordinates of the approximation (attribute "coordinates"),
        beta and gamma at their maximum given sigma and Sigma.
        """
        return self._posterior.mode

    @property
    def mean(self) -> xr.Dataset:
        """Posterior means of beta, sigma, Sigma and gamma: the reported point estimates.

        Variables: ``beta`` (coefficients,) in units of y over those of the column, ``sigma`` in units of y, for
        each term ``Sigma_<term>`` (q, q) and ``gamma_<term>`` (groups, q), for each wide block ``beta_<block>`` (p,).
        Importance-weighted over the draws of (sigma, Sigma), exact given them. Where importance
        sampling was skipped, or the weights are unreliable, plain averages over Laplace draws. gamma
        of very many groups is its conditional mean at the mean of the other parameters.
        """
        return self._posterior.mean

    @property
    def sd(self) -> xr.Dataset:
        """Posterior standard deviations of sigma, Sigma, beta and the coefficients of wide blocks.

        The latter by the law of total variance, at cost n p min(n, p); the others from the draws.
        """
        return self._posterior.sd

    @property
    def log_posterior(self) -> float:
        """The maximised objective: log p(y, theta*) with all constants, in the approximation's coordinates."""
        return self._posterior.learned.mode.log_posterior

    @property
    def log_evidence(self) -> float:
        """Laplace approximation of log p(y | Theta).

        Of an :class:`IntegratedFit` log p(y), the hyperparameters integrated out, by importance sampling.
        """
        return self._posterior.evidence.log_evidence

    @property
    def log_evidence_psis(self) -> float:
        """Pareto-smoothed importance-sampling estimate of log p(y | Theta); nan where skipped."""
        return self._posterior.evidence.log_evidence_psis

    @property
    def log_evidence_psis_error(self) -> float:
        """Monte Carlo standard error of ``log_evidence_psis`` (nats)."""
        return self._posterior.evidence.error

    @property
    def k_hat(self) -> float:
        """Pareto shape of the importance weights: above 0.7 they are not to be trusted; nan where skipped."""
        return self._posterior.evidence.k_hat

    @cached_property
    def posterior(self) -> xr.DataTree:
        """Draws for ArviZ: groups "posterior", "observed_data", "constant_data" and, with weights, "proposal".

        The draws are independent, of equal weight (importance-resampled where the weights are
        reliable), cut into 4 chains; beta and gamma are drawn exactly given sigma and Sigma.
        """
        return self.draw_posterior()

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
        draws, chosen = optional_count("draws", draws), self._seed(random_seed)
        return self._posterior.for_arviz(draws, chosen, gamma=gamma, wide=wide, corrected=corrected)

    def profile(self, name: str, *, points: int = 15, width: float = 3.0, progress: Progress = None) -> pd.DataFrame:
        """Evidence profile over one learned hyperparameter, the others at their best.

        Parameters
        ----------
        name : str
            A row of :attr:`hyperparameters`, for example ``"b[Subject]"``.
        points : int
            Grid points.
        width : float
            Half-width of the grid in standard errors (2 log units where there is none).
        progress : callable or bool, optional
            As in :meth:`pmlmm.Model.fit`.

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
        with reporting(progress, "profile") as line:
            return profile.evidence_profile(self._posterior.learned, name, points, width, line)

    def predict(
        self,
        data: Any = None,
        *,
        kind: Literal["mean", "response", "draws"] = "mean",
        groups: Literal["known", "new", "none"] = "known",
        interval: float = 0.95,
        penalized: Mapping[str, Any] | None = None,
        draws: int | None = None,
        random_seed: int | None = None,
    ) -> Any:
        """What the model predicts in each row, with its uncertainty, in units of the response.

        Parameters
        ----------
        data : table, optional
            The rows of the fit by default.
        kind : "mean", "response" or "draws"
            ``offset + X beta + Z gamma``; a new observation, which adds a residual of sd sigma (over the root of its
            weight, where the table has the model's column of weights); or draws of both.
        groups : "known", "new" or "none"
            "known": every group was seen in the fit. "new": those that were not get random effects from
            ``N(0, Sigma)``, seen ones keep theirs; a row without a label is a group of its own. "none": no random
            effects, the groups' columns may be absent.
        interval : float
            Probability between ``lower`` and ``upper``, which are quantiles.
        penalized : mapping, optional
            The wide blocks' columns for these rows, as :class:`pmlmm.Model` takes them.
        draws : int, optional
            Per chain, of 4 chains; together the number of importance draws by default (fewer where ``kind="draws"`` of
            very many rows).
        random_seed : int, optional
            The fit's by default.

        Returns
        -------
        DataFrame or DataTree
            Columns ``mean``, ``sd``, ``lower``, ``upper`` and a row for each row of the table, with its index; nan in
            rows with a missing value, ``attrs["dropped"]`` of them. The mean is the posterior's, the rest is of draws
            (of beta and gamma, exact given sigma and Sigma); where rows times draws are more than 5 million, intervals
            are sds times standardised quantiles of a sample of rows, good to .05 sds. Of ``kind="draws"`` a
            DataTree with group "predictions": ``mean`` and, under the response's name, new observations, along
            ("chain", "draw", "row"); rows of one new group share its effects.

        Raises
        ------
        DataError
            A column or block that is missing or cannot be evaluated, groups or levels that the fit has not seen, or a
            term whose value in a row depends on the other rows.
        OptionError
            An option outside its choices, ``penalized`` without ``data``, or more draws than fit in memory.
        """
        return predict(
            self._posterior,
            data,
            kind=kind,
            groups=groups,
            interval=interval,
            penalized=penalized,
            draws=optional_count("draws", draws),
            random_seed=self._seed(random_seed),
        )

    def sample(
        self,
        draws: int = 1000,
        *,
        chains: int = 4,
        tune: int = 500,
        collapsed: bool = True,
        hyperparameters: bool | None = None,
        sampler: Literal["auto", "nutpie", "pymc"] = "auto",
        random_seed: int | None = None,
        progress: bool = True,
        gamma: bool | None = None,
        wide: bool | None = None,
    ) -> xr.DataTree:
        """Draw from the tuned model's posterior by NUTS, which needs no Laplace approximation.

        Parameters
        ----------
        draws, chains, tune : int
            Draws kept of each chain, chains, and draws of each that adapt the sampler and are dropped.
        collapsed : bool
            Sample (sigma, Sigma) alone, beta and gamma drawn exactly given these; or the full graph with
            all of them, which shares no algebra with this library's fit. PyTensor takes a minute or so to
            compile the latter for the first time.
        hyperparameters : bool, optional
            Sample lambda, b and A too, under the hyperprior: what :meth:`integrate` approximates. Default: what the
            fit is, True for an :class:`pmlmm.IntegratedFit` (unless ``collapsed=False``).
        sampler : "auto", "nutpie" or "pymc"
            "auto" takes nutpie where it is installed (``pip install nutpie``).
        random_seed : int, optional
            The fit's by default.
        progress : bool
            Show a progress bar.
        gamma, wide : bool, optional
            As in :meth:`draw_posterior`.

        Returns
        -------
        DataTree
            Groups "posterior", "sample_stats", "observed_data", "constant_data". :func:`pmlmm.compare` sets it
            beside this fit.

        Raises
        ------
        SamplingError
            Sampling failed; its ``draws`` are what there was.
        SamplingInterrupted
            Ctrl-C, as a KeyboardInterrupt that keeps what there was::

                try:
                    mcmc = fit.sample()
                except pmlmm.SamplingInterrupted as stopped:
                    chains = stopped.draws  # an array (draws, d) for each chain, in unconstrained coordinates
        """
        return mcmc_check.sample(
            self._posterior,
            draws=draws,
            chains=chains,
            tune=tune,
            collapsed=collapsed,
            hyperparameters=hyperparameters,
            sampler=sampler,
            random_seed=random_seed,
            progress=progress,
            gamma=gamma,
            wide=wide,
        )

    def sample_posterior_predictive(
        self, mcmc: xr.DataTree | None = None, *, draws: int | None = None, random_seed: int | None = None
    ) -> xr.DataTree:
        """Replicated data and log-likelihoods for every draw, for ArviZ's checks and comparisons.

        Parameters
        ----------
        mcmc : DataTree, optional
            Draws of :meth:`sample`, to which the groups are added; the fit's own posterior by default.
        draws : int, optional
            Per chain, of 4 chains, where the fit's own posterior is drawn from.
        random_seed : int, optional
            The fit's by default.

        Returns
        -------
        DataTree
            With groups "posterior_predictive" (the response, for the same groups as in the data) and
            "log_likelihood": under the response's name that of each row given everything, and as
            ``<response>_by_<factor>`` that of each group with the factor's own effects integrated out.

        Raises
        ------
        OptionError
            ``mcmc`` is no DataTree of draws, or of other data; or there are too many draws for the memory.
        """
        draws = optional_count("draws", draws)
        return predictive.posterior_predictive(self._posterior, mcmc, draws, self._seed(random_seed))

    def marginal_log_likelihood(self, draws: xr.Dataset) -> xr.DataArray:
        """log p(y | sigma, Sigma) of every draw at the learned lambda, beta and gamma integrated out.

        Parameters
        ----------
        draws : Dataset
            A group with ``sigma`` and every ``Sigma_*``, such as ``fit.posterior["posterior"]``.
        """
        return predictive.marginal_log_likelihood(self._posterior.learned, draws)

    def sample_prior_predictive(self, draws: int = 500, *, random_seed: int | None = None) -> xr.DataTree:
        """Parameters and data from the prior with the learned hyperparameters.

        An :class:`pmlmm.IntegratedFit` draws the hyperparameters too, from the hyperprior.

        Returns
        -------
        DataTree
            Groups "prior", "prior_predictive", "observed_data" and "constant_data".

        Raises
        ------
        PriorError
            A prior is flat.
        """
        return predictive.prior_predictive(self._posterior, count("draws", draws), self._seed(random_seed))

    def check_residuals(self, *, random_seed: int | None = None) -> pd.DataFrame:
        """Whether the residuals look like normal errors of one variance: a posterior predictive check.

        Where they do not, the interval of sigma, and with it those of the random effects' sds, are not to be believed.

        Parameters
        ----------
        random_seed : int, optional
            The fit's by default.

        Returns
        -------
        DataFrame
            A row for the tails (``statistic``: kurtosis, 3 of a normal), one for the spread over fitted values (rank
            correlation) and one for the spread over the groups of each factor (ratio of mean squares), with
            ``p_value`` and ``words``.

        References
        ----------
        Johnson (2007). Bayesian model assessment using pivotal quantities. Bayesian Analysis 2(4), 719-734.
        """
        return residual_checks(self._posterior, self._seed(random_seed))

    def logo(
        self,
        factor: str | None = None,
        *,
        draws: int | None = None,
        random_seed: int | None = None,
        progress: Progress = None,
    ) -> Any:
        """Leave-one-group-out predictive accuracy: how well the model predicts all rows of a new group.

        Exact given (sigma, Sigma), their posterior re-weighted by Pareto-smoothed importance sampling. The
        hyperparameters stay those of all data (of an :class:`pmlmm.IntegratedFit` they are re-weighted too).

        Parameters
        ----------
        factor : str, optional
            Whose groups; needed where there are several factors.
        draws : int, optional
            Per chain, of 4 chains. Default: as many as the fit has, fewer where each takes long.
        random_seed : int, optional
            The fit's by default.
        progress : callable or bool, optional
            As in :meth:`pmlmm.Model.fit`.

        Returns
        -------
        ELPDData
            ArviZ's: ``az.compare({"a": fit_a.logo(), "b": fit_b.logo()})`` ranks models of the same data.
        """
        draws = optional_count("draws", draws)
        with reporting(progress, "logo") as line:
            return leave_group_out.logo(self._posterior, factor, draws, self._seed(random_seed), line)

    def coefficients(self, wide: str | None = None, *, interval: float = 0.95, sort: bool = False) -> pd.DataFrame:
        """Fixed effects, or the coefficients of a wide block, with their intervals.

        Parameters
        ----------
        wide : str, optional
            A wide block; the formula's fixed effects by default.
        interval : float
            Probability of the equal-tailed interval.
        sort : bool
            By ``|mean| / sd``, the largest first.

        Returns
        -------
        DataFrame
            A row for each coefficient: ``mean``, ``sd``, ``lower``, ``upper`` in units of y over those of the column,
            and ``probability_of_sign``, the posterior probability that the coefficient has the sign of its mean (.5 to
            1). Intervals of a wide block, whose coefficients are too many to be drawn, are those of normal
            distributions with the exact means and sds.

        Raises
        ------
        OptionError
            No such block, or ``interval`` is no probability.
        """
        return tables.coefficients(self._posterior, wide, interval, sort)

    def covariances(self, *, interval: float = 0.95) -> pd.DataFrame:
        """Standard deviations and correlations of the random effects, and sigma.

        Parameters
        ----------
        interval : float
            Probability of the equal-tailed interval.

        Returns
        -------
        DataFrame
            ``term``, ``kind`` ("sd" or "correlation"), ``effect``, ``effect2`` (of a correlation), and ``median``,
            ``sd``, ``lower``, ``upper``. The last row, of the term "residual", is sigma. Standard deviations are in
            units of y over those of the effect's column. Medians, as the mean is far from the middle where groups are
            few.

        Raises
        ------
        OptionError
            ``interval`` is no probability.
        """
        return tables.covariances(self._posterior, interval)

    def random_effects(self, term: str | None = None, *, interval: float = 0.95) -> pd.DataFrame:
        """The random effects of every group with their intervals.

        Parameters
        ----------
        term : str, optional
            A term, or a factor for all of its terms; all terms by default.
        interval : float
            Probability of the equal-tailed interval.

        Returns
        -------
        DataFrame
            ``term``, ``group`` (the values of the user's column; of several columns joined by colons), ``effect``,
            ``mean``, ``sd``, ``lower``, ``upper``. Of very many effects sds are from conditional moments by the law of
            total variance, and intervals a normal distribution's; of others they are those of draws.

        Raises
        ------
        OptionError
            No such term, or ``interval`` is no probability.
        """
        return tables.random_effects(self._posterior, term, interval)

    def variance_components(self, *, interval: float = 0.95) -> pd.DataFrame:
        """How much of the variance of y fixed effects, wide blocks, each term and the residual carry.

        Of fixed effects and wide blocks that is the variance of what they predict over the rows of the fit, of a term
        the mean of ``z' Sigma z`` over the rows (Johnson 2014), which of a random intercept is its variance.

        Parameters
        ----------
        interval : float
            Probability of the equal-tailed intervals.

        Returns
        -------
        DataFrame
            Index ``component``: "fixed effects", each wide block, each term, "residual", and with wide blocks
            "covariance of fixed parts", which may be negative. ``variance`` and ``sd`` (posterior medians), ``share``
            of the total (mean; they add up to 1) with ``share_sd``, ``share_lower``, ``share_upper``.

        Raises
        ------
        OptionError
            ``interval`` is no probability.
        """
        return variance.variance_components(self._posterior, interval)

    def r2(self, *, interval: float = 0.95) -> pd.DataFrame:
        """Marginal and conditional R2: shares of the variance of y.

        Marginal is what fixed effects and wide blocks explain, conditional what they and the random effects explain;
        the variances are those of :meth:`variance_components`.

        Parameters
        ----------
        interval : float
            Probability of the equal-tailed interval.

        Returns
        -------
        DataFrame
            Rows "marginal" and "conditional": ``mean``, ``sd``, ``lower``, ``upper``.

        References
        ----------
        Nakagawa, Schielzeth (2013). A general and simple method for obtaining R2 from generalized linear mixed-effects
        models. Methods in Ecology and Evolution 4(2), 133-142.
        Johnson (2014). Extension of Nakagawa & Schielzeth's R2_GLMM to random slopes models. Methods in Ecology and
        Evolution 5(9), 944-946.
        """
        return variance.r2(self._posterior, interval)

    def icc(self, *, interval: float = 0.95) -> pd.DataFrame:
        """Intraclass correlations: the share of the random effects in the variance.

        Parameters
        ----------
        interval : float
            Probability of the equal-tailed interval.

        Returns
        -------
        DataFrame
            ``mean``, ``sd``, ``lower``, ``upper`` of "adjusted", the share in what the fixed effects leave,
            "unadjusted", that in everything, and where there are several factors the adjusted share of each.

        Raises
        ------
        OptionError
            The model has no random effects.
        """
        return variance.icc(self._posterior, interval)

    def residuals(
        self,
        kind: Literal["response", "standardized", "marginal", "pivotal"] = "response",
        *,
        random_seed: int | None = None,
    ) -> pd.Series:
        """Residuals of the rows of the given table.

        Parameters
        ----------
        kind : "response", "standardized", "marginal" or "pivotal"
            y less the posterior mean of ``X beta + Z gamma``; that over the posterior mean of sigma, times the root of
            a weight; y less the posterior mean of ``X beta``; or ``(y - X beta - Z gamma) / sigma`` at one draw of the
            posterior. The last are independent standard normal numbers if the model is right
            (:meth:`check_residuals`), hence those to look at in a QQ plot: the others are smaller than the errors, and
            correlate.
        random_seed : int, optional
            Of "pivotal"; the fit's by default.

        Returns
        -------
        Series
            With the table's index; nan in rows that were dropped.

        Raises
        ------
        OptionError
            Another kind.
        """
        return residuals(self._posterior, kind, self._seed(random_seed))

    def simulate(
        self, number: int = 20, *, groups: Literal["known", "new"] = "known", random_seed: int | None = None
    ) -> pd.DataFrame:
        """Replicated responses of the rows of the fit, from the posterior predictive distribution.

        Parameters
        ----------
        number : int
            Replications, each with parameters drawn anew from the posterior.
        groups : "known" or "new"
            The same groups again, with their effects; or as many new groups, whose effects are drawn from N(0, Sigma).
        random_seed : int, optional
            The fit's by default.

        Returns
        -------
        DataFrame
            A row for every row of the given table, with its index (nan where it was dropped), and columns 1 to
            ``number``. The response is the left side of the formula: of ``log(y) ~ x`` it is log(y).

        Raises
        ------
        OptionError
            ``number`` is no count, or other ``groups``.
        """
        return replicates.simulate(self._posterior, number, groups, self._seed(random_seed))

    def update(self, formula: str | None = None, data: Any = None, **changes: Any) -> "Fit":
        """Fit the model again with a part of it changed; what is not named stays: data, priors, options.

        The data are the table that the model was made of, as it is now; no copy was kept.

        Parameters
        ----------
        formula : str, optional
            As R's ``update`` reads it, ``.`` stands for what was there: ``"~ . + x"``, ``"~ . - (1 | g)"``,
            ``"log(.) ~ ."``. A random term is taken out as a whole; ``(t | g)`` becomes ``(1 | g)`` by
            ``"~ . - (t | g) + (1 | g)"``.
        data : table, optional
            In place of the fit's.
        **changes
            Any argument of :class:`Model` and :meth:`Model.fit`.

        Returns
        -------
        Fit

        Raises
        ------
        FormulaError
            A term is taken out that is not there.
        PriorError
            A prior is of a part that the new model does not have: give all ``priors=`` anew.
        OptionError
            An argument that neither has.
        """
        learned, integrated = self._posterior.learned, self._posterior.integrated is not None
        arguments, others = learned.refit_arguments(changes, self.model.arguments, integrated=integrated)
        return self.model.update(formula, data, **others).fit(**arguments)

    def integrate(
        self,
        *,
        nodes: int | None = None,
        draws: int | None = None,
        random_seed: int | None = None,
        progress: Progress = None,
    ) -> "IntegratedFit":
        """Average over the hyperparameters instead of fixing them at their learned values.

        Parameters
        ----------
        nodes : int, optional
            Settings of the covariances' hyperparameters; 512 by default.
        draws : int, optional
            Draws of (sigma, Sigma) and the learned lambdas in each of three to eight rounds. Default: 1000, more with
            many effects, fewer where each takes long.
        random_seed : int, optional
            The fit's by default.
        progress : callable or bool, optional
            As in :meth:`pmlmm.Model.fit`.

        Returns
        -------
        IntegratedFit
            A fit whose intervals carry the uncertainty of lambda, b and A.

        Raises
        ------
        OptionError
            The fit has no hyperprior.
        """
        with reporting(progress, "integrate") as line:
            result = integrate_out(self._posterior.learned, nodes, draws, self._seed(random_seed), line)
        return IntegratedFit(self.model, IntegratedPosterior(self._posterior.learned, result))

    def means(
        self,
        factors: Named = None,
        *,
        by: Named = None,
        at: Mapping[str, Any] | None = None,
        weights: Weights = "equal",
        interval: float = 0.95,
    ) -> pd.DataFrame:
        """Marginal means: what the fixed effects predict for levels of a factor, averaged over the other factors.

        The reference grid crosses the levels of all factors of the fixed effects. Other columns of theirs and of the
        offset are at their means over the rows of the fit, so are wide blocks and an offset that is an array; random
        effects are 0, which is the average group.

        Parameters
        ----------
        factors : str, list of str, or dict
            Columns whose levels have a mean each; of several, every combination. A dict says which values:
            ``{"t": [0, 6, 12]}``. None: one mean of everything.
        by : str, list of str, or dict
            The same, named first.
        at : dict, optional
            Values for other columns, ``{"age": 50}``; of a list, the average.
        weights : "equal" or "observed"
            Of the levels of other factors: all alike, or as often as their combinations occur in the rows of the fit.
        interval : float
            Probability of the intervals.

        Returns
        -------
        DataFrame
            ``mean``, ``sd``, ``lower``, ``upper`` in units of y, a row for each combination, indexed by it. Rows that
            the data do not determine, as some cell has no rows and only a prior speaks of it, are nan, and are named in
            ``attrs["not_estimable"]`` and a warning of the logger "pmlmm"; wide blocks are left out of this check.

        Raises
        ------
        OptionError
            No fixed effects, a column that neither they nor the offset use, a level that there is not, an option
            outside its choices.

        References
        ----------
        Searle, Speed, Milliken (1980). Population marginal means in the linear model. The American Statistician 34(4).

        Examples
        --------
        >>> import pmlmm
        >>> data = pmlmm.datasets.load("sleepstudy")
        >>> fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", data).fit()
        >>> list(fit.means({"Days": [0, 9]}).index)
        [0, 9]
        """
        return means.means(self._posterior, factors, by, at, weights, interval)

    def contrast(
        self,
        factors: Named,
        *,
        by: Named = None,
        kind: Kind = "pairwise",
        reference: Any = None,
        between: bool | Kind = False,
        at: Mapping[str, Any] | None = None,
        weights: Weights = "equal",
        interval: float = 0.95,
    ) -> pd.DataFrame:
        """Differences of marginal means (:meth:`means`).

        Parameters
        ----------
        factors : str, list of str, or dict
            Columns whose means are compared.
        by : str, list of str, or dict
            Compare within each of these.
        kind : "pairwise", "reference", "sequential" or "mean"
            Every later level minus every earlier one, each level minus ``reference``, minus the level before it, or
            minus the mean of all levels.
        reference : object
            A level, of several columns a tuple; the first one by default.
        between : bool or kind
            Differences of the differences instead, between the cells of ``by``: of this kind, or of the same.
        at, weights, interval
            As in :meth:`means`.

        Returns
        -------
        DataFrame
            ``mean``, ``sd``, ``lower``, ``upper``, and ``probability_of_sign``, the posterior probability that the
            difference has the sign of its mean; indexed by ``by`` and ``contrast``. nan where it is not estimable, as
            in :meth:`means`.

        Raises
        ------
        OptionError
            As in :meth:`means`; fewer than two levels.
        """
        return means.contrast(self._posterior, factors, by, kind, reference, between, at, weights, interval)

    def slopes(
        self,
        column: str,
        *,
        by: Named = None,
        at: Mapping[str, Any] | Literal["rows"] | None = None,
        weights: Weights = "equal",
        interval: float = 0.95,
    ) -> pd.DataFrame:
        """Derivatives of what the fixed effects predict with respect to a numeric column.

        Parameters
        ----------
        column : str
            As it is in the table, whatever the formula makes of it.
        by : str, list of str, or dict
            A slope for each level, or value: ``by={"t": [0, 6]}`` has the slopes of ``t`` at two places.
        at : dict or "rows"
            Values for other columns, which are at their means otherwise, ``column`` too; of a list, the average.
            ``"rows"``: the average over the rows of the fit, those of each level of ``by``.
        weights, interval
            As in :meth:`means`.

        Returns
        -------
        DataFrame
            As of :meth:`contrast`, in units of y over those of the column.

        Raises
        ------
        OptionError
            The column is a factor, not in the fixed effects or the offset, or these are not smooth in it at some place
            (``round(x)`` at a half); otherwise as in :meth:`means`.
        """
        return means.slopes(self._posterior, column, by, at, weights, interval)

    def hypothesis(self, hypotheses: str | Sequence[str], *, interval: float = 0.95) -> pd.DataFrame:
        """Posterior probabilities of statements about the parameters.

        Parameters
        ----------
        hypotheses : str or list of str
            Arithmetic with one ``>``, ``<`` or ``=``: ``"arm_new - arm_control > 2"``, ``"sd(id, t) < 1"``; without
            any, an estimate alone. Names are those of fixed effects, in backticks where they are more than a word
            (``"`arm[T.new]:t` > 0"``), ``arm_new`` for the marginal mean of a factor's level, ``sigma``,
            ``sd(term, effect)``, ``cor(term, effect, effect)``, and exp, log, sqrt, abs.
        interval : float
            Probability of the intervals.

        Returns
        -------
        DataFrame
            A row for each: ``mean``, ``sd``, ``lower``, ``upper`` of left minus right; ``probability`` of the
            statement, and ``evidence_ratio``, its odds. Of ``=`` they are those against an alternative with the
            parameters' prior, by the ratio of posterior and prior density (Savage and Dickey), even odds before.

        Raises
        ------
        OptionError
            The text cannot be read, or names something unknown; ``=`` without a normal prior.

        References
        ----------
        Dickey (1971). The weighted likelihood ratio. Annals of Mathematical Statistics 42(1), 204-223.
        """
        return hypothesis.hypotheses(self._posterior, hypotheses, interval)

    def save(self, path: str | os.PathLike) -> None:
        """Write the fit to a netCDF file, from which :func:`pmlmm.load` makes it again, in any process.

        The file holds the columns that the model needs and its wide blocks: whoever has it has these data. Functions
        of ``context`` are not in it. It replaces an earlier file of that name in one step, or leaves it as it was.

        Parameters
        ----------
        path : str or path
            Ending in .nc or another name of netCDF.

        Raises
        ------
        OptionError
            The file cannot be written, or the model was given something that a file cannot hold.
        """
        from pmlmm.saving.fits import save

        save(self._posterior, self.model.arguments, path)

    def report(self, path: str | os.PathLike) -> None:
        """Write one self-contained HTML page: model, estimates, pictures, priors, diagnostics.

        Parameters
        ----------
        path : str or path
            Ending in .html. Pictures need matplotlib, and are left out where it is missing.

        Raises
        ------
        OptionError
            The file cannot be written.
        """
        from pmlmm.report.page import write_report

        write_report(self._posterior, self.hyperparameters, path)

    def _repr_html_(self) -> str:
        from pmlmm.report.page import fit_html

        return fit_html(self._posterior, self.hyperparameters)

    def graph(self, *, collapsed: bool = False) -> "pm.Model":
        """PyMC graph with the learned hyperparameters; see :meth:`pmlmm.Model.graph`."""
        from pmlmm.graph.build import build_graph

        learned = self._posterior.learned
        return build_graph(learned.problem, learned.theta, collapsed=collapsed)

    def summary(self) -> str:
        """Terms, priors learned with their states, estimates, evidence and diagnostics as text."""
        return summary.summarize(self._posterior, self.hyperparameters)

    __repr__ = summary

    def plot_trajectories(
        self,
        x: str | None = None,
        groups: int | Iterable[Any] = 12,
        *,
        factor: str | None = None,
        extend: bool = False,
        interval: float = 0.95,
    ) -> np.ndarray:
        """Data and fitted curves of groups, each beside the curve of the average group.

        A group's other covariates are its own: numbers on the line between its rows, levels those of the nearest row;
        columns that are polynomials of x (``t2 = t**2``) move along with it. The average group has the same covariates
        and no random effects. Effects of factors that vary within the group are left out, as the title says.

        Parameters
        ----------
        x : str, optional
            The column on the x axis, which the model uses. Default: the first numeric one of the random part.
        groups : int or list of labels
            How many, drawn at random where there are more; or which.
        factor : str, optional
            Whose groups; the first one by default.
        extend : bool
            Curves over the range of all rows, not from a group's first row to its last.
        interval : float
            Probability of the intervals, which are those of the curve and not of new observations.

        Returns
        -------
        (groups,) array of Axes

        Raises
        ------
        OptionError
            A column, factor or group that the model does not have; matplotlib is not installed.
        """
        return plot_trajectories(self._posterior, x, groups, factor, extend, interval)

    def plot_random_effects(self, term: str | None = None, *, interval: float = 0.95) -> np.ndarray:
        """Random effects with their intervals: up to 40 groups by name, more of them by rank.

        Parameters
        ----------
        term : str, optional
            A factor, or one of its terms; every factor by default, each in a row of its own.
        interval : float
            Probability of the intervals.

        Returns
        -------
        (factors, q) array of Axes
            An effect each.

        Raises
        ------
        OptionError
            The model has no such term; matplotlib is not installed.
        """
        return plot_random_effects(self._posterior, term, interval)

    def plot_covariances(self, *, interval: float = 0.95) -> np.ndarray:
        """Posterior densities of the standard deviations with medians, and intervals of the correlations.

        Parameters
        ----------
        interval : float
            Probability of the intervals.

        Returns
        -------
        array of Axes
            One for each standard deviation, sigma the last; then one of all correlations, if there are any.
        """
        return plot_covariances(self._posterior, interval)

    def plot_coefficients(
        self,
        wide: str | None = None,
        top: int = 30,
        *,
        standardize: bool = False,
        interval: float = 0.95,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Fixed effects but the intercept, or the coefficients of a wide block that stand out most.

        Parameters
        ----------
        wide : str, optional
            The block; its intervals are those of a normal with each coefficient's mean and sd.
        top : int
            How many at most: the first fixed effects, or those of the block with the largest mean over sd.
        standardize : bool
            Multiply fixed effects by the standard deviations of their columns, so that one axis suits all units.
        interval : float
            Probability of the intervals.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes

        Raises
        ------
        OptionError
            The model has no such block; matplotlib is not installed.
        """
        return plot_coefficients(self._posterior, wide, top, standardize, interval, ax)

    def plot_residuals(self, *, interval: float = 0.95) -> np.ndarray:
        """Residuals over fitted values, sorted against normal quantiles, and their size group by group.

        They are those of one draw of all parameters from the posterior, over sigma: independent standard normal if the
        model is right, which residuals of estimates are not. Shaded is where they should be. See
        :meth:`check_residuals` for the same in numbers.

        Parameters
        ----------
        interval : float
            Probability of the shaded intervals, each by itself.

        Returns
        -------
        (2 + factors,) array of Axes
        """
        return plot_residuals(self._posterior, interval)

    def plot_means(
        self,
        factors: Named = None,
        *,
        by: Named = None,
        at: Mapping[str, Any] | None = None,
        weights: Weights = "equal",
        interval: float = 0.95,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Marginal means (:meth:`means`) with intervals: ``by`` on the x axis, a line for each level of the factors.

        Parameters
        ----------
        factors, by, at, weights, interval
            As in :meth:`means`. Without ``by`` the first factor is on the x axis.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes
        """
        table = self.means(factors, by=by, at=at, weights=weights, interval=interval)
        return plot_means(table, self._posterior.design.parsed.response, interval, ax)

    def plot_evidence(self, name: str, *, points: int = 15, width: float = 3.0, ax: "Axes | None" = None) -> "Axes":
        """Evidence profile of one hyperparameter, its hyperprior, both together, and its interval.

        Parameters
        ----------
        name : str
            A row of :attr:`hyperparameters`, for example ``"b[Subject]"``.
        points, width
            Of the grid, as in :meth:`profile`.
        ax : Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        Axes

        Raises
        ------
        OptionError
            The name is not one of the learned hyperparameters; matplotlib is not installed.
        """
        return plot_evidence(self._posterior, self.hyperparameters, name, points, width, ax)

    def plot_shrinkage(self, term: str | None = None, *, groups: int = 200) -> np.ndarray:
        """Where partial pooling moves each group from least squares of its own rows.

        Coefficients of the groups where the fixed effects have the same columns, differences from the average group
        otherwise. What is not of these effects is taken from y at its posterior mean before least squares. The law of
        the groups is the normal one with the posterior mean of Sigma.

        Parameters
        ----------
        term : str, optional
            A factor, or one of its terms; the first factor by default.
        groups : int
            How many at most, drawn at random where there are more.

        Returns
        -------
        array of Axes
            Of each effect against the first one; a single one if there is but one effect.

        Raises
        ------
        OptionError
            The model has no such term; matplotlib is not installed.
        """
        return plot_shrinkage(self._posterior, term, groups)

    def plot_predictive(
        self, by: str | None = None, *, interval: float = 0.95, ax: "Axes | None" = None
    ) -> "Axes | np.ndarray":
        """Posterior predictive check: the response's density beside those of replications for the same groups.

        Parameters
        ----------
        by : str, optional
            A factor: means and standard deviations of its groups beside those of replications instead.
        interval : float
            Probability of the replications' intervals.
        ax : Axes, optional
            Where to draw without ``by``; a new figure by default.

        Returns
        -------
        Axes, or two with ``by``

        Raises
        ------
        OptionError
            The model has no such factor; matplotlib is not installed.
        """
        return plot_predictive(self._posterior, by, interval, ax)

    def _seed(self, random_seed: int | None) -> int:
        return seed(random_seed, self.options.random_seed)


class IntegratedFit(Fit):
    """What :meth:`pmlmm.Fit.integrate` returns: a fit whose posterior carries the uncertainty of lambda, b and A.

    It has everything that a :class:`pmlmm.Fit` has. Means, sds, draws and predictions average over the
    hyperparameters; :attr:`hyperparameters` has their posterior medians and intervals, and draws of them
    are in :attr:`posterior`. :attr:`log_evidence` is log p(y), and :attr:`k_hat` the Pareto shape of the weights.
    :attr:`mode` and :meth:`profile` are those at the learned hyperparameters.
    """

    _posterior: IntegratedPosterior

    @property
    def effective_draws(self) -> float:
        """Effective number of the draws of (sigma, Sigma) and lambda that the posterior averages over."""
        return self._posterior.integrated.effective


def compare(fit: Fit, mcmc: xr.DataTree, *, random_seed: int = 0) -> comparing.Comparison:
    """Set a fit beside MCMC draws of the same posterior.

    Parameters
    ----------
    fit : Fit
        Its Laplace approximation and the importance-sampled correction of that are compared; of an
        :class:`pmlmm.IntegratedFit` the integrated posterior.
    mcmc : DataTree
        What ``fit.sample()`` returned; for an integrated fit draws with ``hyperparameters=True``, its default.
    random_seed : int
        Of the Laplace draws and of bridge sampling.

    Returns
    -------
    Comparison
        Prints as a report; ``table``, ``evidence``, ``verdict`` and ``trustworthy`` are its parts.

    Raises
    ------
    OptionError
        The draws are of another posterior, or an argument is not what its place asks for.
    """
    if (isinstance(fit, Fit) and isinstance(mcmc, Fit)) or isinstance(fit, dict):
        raise OptionError(
            "compare(fit, mcmc) sets a fit beside NUTS draws of the same posterior. Models are compared by "
            "pmlmm.compare_models({'a name': fit1, 'another': fit2})."
        )
    if not isinstance(fit, Fit):
        raise OptionError(
            f"compare(fit, mcmc): the first argument is a {type(fit).__name__}, but must be the fit, followed by "
            "what its sample() returned."
        )
    return comparing.compare(fit._posterior, mcmc, random_seed)


def compare_models(
    fits: Mapping[str, Fit], *, logo: bool | str = True, random_seed: int | None = None
) -> models_compared.ModelComparison:
    """Which of several models of the same response is best, by evidence and by predictions of left-out groups.

    Parameters
    ----------
    fits : mapping
        Fits of the same rows by a name for each.
    logo : bool or str
        Leave out the groups of this factor (:meth:`Fit.logo`). True: of the factor with most groups that all models
        with random effects have. False: evidence alone.
    random_seed : int, optional
        Of the draws for ``logo``; each fit's by default.

    Returns
    -------
    ModelComparison
        Prints as a table with a verdict in words; ``table`` and ``words`` are its parts.

    Raises
    ------
    OptionError
        Fewer than two fits, other responses or rows, plug-in fits beside integrated ones, or no such factor.
    """
    if not (isinstance(fits, Mapping) and len(fits) >= 2 and all(isinstance(fit, Fit) for fit in fits.values())):
        raise OptionError("compare_models({'a name': fit1, 'another': fit2}): a dict of at least two fits.")
    posteriors = {str(name): fit._posterior for name, fit in fits.items()}
    return models_compared.compare_models(posteriors, logo, random_seed)
