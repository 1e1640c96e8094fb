"""What a fit offers to check it: MCMC, integration over the hyperparameters, predictive draws, left-out groups."""

from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import xarray as xr

from pmlmm.errors import OptionError

if TYPE_CHECKING:
    from pmlmm.posterior.integrated import IntegratedFit


class Checks:
    """Methods of :class:`pmlmm.Fit` that look beyond its own approximation."""

    def sample(
        self,
        draws: int = 1000,
        *,
        chains: int = 4,
        tune: int = 500,
        collapsed: bool = True,
        hyperparameters: bool = False,
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
        hyperparameters : bool
            Sample lambda, b and A too, under the hyperprior: what :meth:`integrate` approximates.
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
        from pmlmm.checks.nuts import sample

        return sample(
            self,
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
        """
        from pmlmm.checks.predictive import posterior_predictive

        return posterior_predictive(self, mcmc, count("draws", draws, optional=True), self._seed(random_seed))

    def marginal_log_likelihood(self, draws: xr.Dataset) -> xr.DataArray:
        """log p(y | sigma, Sigma) of every draw at the learned lambda, beta and gamma integrated out.

        Parameters
        ----------
        draws : Dataset
            A group with ``sigma`` and every ``Sigma_*``, such as ``fit.posterior["posterior"]``.
        """
        from pmlmm.checks.predictive import marginal_log_likelihood

        return marginal_log_likelihood(self, draws)

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
        from pmlmm.checks.predictive import prior_predictive

        return prior_predictive(self, count("draws", draws), self._seed(random_seed))

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
        from pmlmm.checks.leave_group_out import logo

        return logo(self, factor, count("draws", draws, optional=True), self._seed(random_seed))

    def integrate(
        self, *, nodes: int | None = None, draws: int | None = None, random_seed: int | None = None
    ) -> "IntegratedFit":
        """Average over the hyperparameters instead of fixing them at their learned values.

        Parameters
        ----------
        nodes, draws : int, optional
            Settings of the hyperparameters, and draws of (sigma, Sigma) at each. Default: 256 and 16, or 128
            and 8 where an evaluation of the likelihood takes long.
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
        ConvergenceError
            Most settings around the learned ones have no proper mode.
        """
        from pmlmm.posterior.integrated import integrated_fit

        return integrated_fit(self, nodes=nodes, draws=draws, random_seed=random_seed)


def count(name: str, value: int | None, *, optional: bool = False) -> int | None:
    """A whole number above zero, checked."""
    if not (optional and value is None) and not (isinstance(value, Integral) and value >= 1):
        raise OptionError(f"{name}={value!r}: an integer of at least 1.")
    return value
