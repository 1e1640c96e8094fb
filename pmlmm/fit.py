"""The result of fitting a model: a front door to its posterior, checks and reports."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import xarray as xr

from pmlmm.checks import compare as comparing
from pmlmm.checks import leave_group_out, predictive
from pmlmm.checks import nuts as mcmc_check
from pmlmm.errors import OptionError
from pmlmm.inference.empirical_bayes import SearchRecord
from pmlmm.inference.integrate import integrate_out
from pmlmm.inference.learned import FitOptions
from pmlmm.options import count, optional_count, seed
from pmlmm.posterior.integrated import IntegratedPosterior
from pmlmm.posterior.predict import predict
from pmlmm.posterior.residuals import residual_checks
from pmlmm.posterior.source import Posterior
from pmlmm.report import hyperparameters, hypothesis, means, profile, summary
from pmlmm.report.grid import Named, Weights
from pmlmm.report.means import Kind

if TYPE_CHECKING:
    import pymc as pm


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
        return profile.evidence_profile(self._posterior.learned, name, points, width)

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

    def logo(self, factor: str | None = None, *, draws: int | None = None, random_seed: int | None = None) -> Any:
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

        Returns
        -------
        ELPDData
            ArviZ's: ``az.compare({"a": fit_a.logo(), "b": fit_b.logo()})`` ranks models of the same data.
        """
        draws = optional_count("draws", draws)
        return leave_group_out.logo(self._posterior, factor, draws, self._seed(random_seed))

    def integrate(
        self, *, nodes: int | None = None, draws: int | None = None, random_seed: int | None = None
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

        Returns
        -------
        IntegratedFit
            A fit whose intervals carry the uncertainty of lambda, b and A.

        Raises
        ------
        OptionError
            The fit has no hyperprior.
        """
        result = integrate_out(self._posterior.learned, nodes, draws, self._seed(random_seed))
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

        The reference grid crosses the levels of all factors of the fixed effects. Other columns of theirs are at their
        means over the rows of the fit, wide blocks and an offset too; random effects are 0, which is the average group.

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
            ``mean``, ``sd``, ``lower``, ``upper`` in units of y, a row for each combination, indexed by it.

        Raises
        ------
        OptionError
            A column that the fixed effects do not use, a level that there is not, an option outside its choices.

        References
        ----------
        Searle, Speed, Milliken (1980). Population marginal means in the linear model. The American Statistician 34(4).

        Examples
        --------
        >>> import pmlmm
        >>> data = pmlmm.datasets.load("penicillin").assign(half=lambda d: (d.index < 72).astype(str))
        >>> fit = pmlmm.Model("diameter ~ half + (1 | plate) + (1 | sample)", data).fit()
        >>> list(fit.means("half").index)
        ['False', 'True']
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
            ``mean``, ``sd``, ``lower``, ``upper``, and ``p_direction``, the posterior probability that the difference
            has the sign of its mean; indexed by ``by`` and ``contrast``.

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
            The column is a factor, or not among the fixed effects; otherwise as in :meth:`means`.
        """
        return means.slopes(self._posterior, column, by, at, weights, interval)

    def hypothesis(self, hypotheses: str | Sequence[str], *, interval: float = 0.95) -> pd.DataFrame:
        """Posterior probabilities of statements about the parameters.

        Parameters
        ----------
        hypotheses : str or list of str
            Arithmetic with one ``>``, ``<`` or ``=``: ``"arm_new - arm_control > 2"``, ``"sd(id, t) < 1"``; without
            any, an estimate alone. Names are those of fixed effects, in backticks where they are more than a word
            (```` `arm[T.new]:t` > 0 ````), ``arm_new`` for the marginal mean of a factor's level, ``sigma``,
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

    def graph(self, *, collapsed: bool = False) -> "pm.Model":
        """PyMC graph with the learned hyperparameters; see :meth:`pmlmm.Model.graph`."""
        from pmlmm.graph.build import build_graph

        learned = self._posterior.learned
        return build_graph(learned.problem, learned.theta, collapsed=collapsed)

    def summary(self) -> str:
        """Terms, priors learned with their states, estimates, evidence and diagnostics as text."""
        return summary.summarize(self._posterior, self.hyperparameters)

    __repr__ = summary

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
    if not isinstance(fit, Fit):
        raise OptionError(
            f"compare(fit, mcmc): the first argument is a {type(fit).__name__}, but must be the fit, followed by "
            "what its sample() returned."
        )
    return comparing.compare(fit._posterior, mcmc, random_seed)
