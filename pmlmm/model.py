"""The front door: a formula, a table and priors make a model; fitting it learns the rest."""

import os
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pmlmm.crossproducts.standardize import standardization_of
from pmlmm.crossproducts.statistics import Statistics, build_statistics
from pmlmm.design.design import Design, build_design
from pmlmm.design.update import updated
from pmlmm.errors import FormulaError, OptionError, PriorError
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.options import refuse_unknown
from pmlmm.priors.hyperprior import Hyperprior
from pmlmm.priors.prior_set import PriorSet, resolve
from pmlmm.priors.search_space import Space, build_space
from pmlmm.problem import Problem
from pmlmm.progress import Progress, reporting

if TYPE_CHECKING:
    import pymc as pm

    from pmlmm.fit import Fit, IntegratedFit
    from pmlmm.inference.laplace import LogPosterior
    from pmlmm.inference.learn import Compiler
    from pmlmm.saving.fits import Saved

_DEFAULT_HYPERPRIOR = Hyperprior()


class Model:
    """A linear mixed model ``y = X beta + Z gamma + eps`` with priors to be learned.

    ``beta_j ~ N(mean_j, sd_j^2)``, ``gamma_i ~ N(0, Sigma)``, ``Sigma ~ IW(b, A)``,
    ``eps ~ N(0, sigma^2)``, or ``N(0, sigma^2 / w)`` with weights w.

    Parameters
    ----------
    formula : str
        lme4 syntax: ``"y ~ x + (1 + t | g)"``; ``||`` for uncorrelated effects, ``(1 | a) + (1 | b)`` for
        crossed factors, ``(1 | a/b)`` for nested ones; ``y ~ .`` has all other columns. Expressions are formulaic's,
        with R's names: ``I(t^2)``, ``poly(t, 3)``, ``ns(t, df=4)``, ``log(x)``, ``factor(x)``. The left side is
        arithmetic: ``y - baseline ~ ...``.
    data : pandas, polars or Arrow table, or dict of columns
        Rows with a missing value in a needed column are dropped, and counted in the summary.
    priors : mapping, optional
        What is not given is learned, but for fixed effects of the formula, which have a diffuse :class:`Normal` prior
        in the units of y. Keys: a grouping factor or term (:class:`InverseWishart`,
        :class:`Flat`); ``"common"``, ``"Intercept"``, a wide block or the name of a fixed effect
        (:class:`Normal`, :class:`Ridge`, :class:`Flat`); ``"sigma"`` (:class:`HalfStudentT`, :class:`Flat`). A tuple
        of fixed effects gives them one prior, a :class:`Ridge` one lambda; a tuple of random-effect terms lets them
        share A. ``"| g"`` is the factor g where a fixed effect has that name too.
    penalized : mapping, optional
        Wide blocks of columns, ``{"genes": G}``: arrays, data frames or SciPy sparse matrices with a row for
        every row of the data and any number of columns; each has its own lambda. Their coefficients are
        ``beta_genes``, with dimension ``genes``.
    standardize : bool
        Centre the columns (where there is an intercept) and scale the penalised ones to unit standard
        deviation, so that one prior is fair to all; results are on the user's scale either way.
    context : mapping, optional
        Functions and values that the formula uses beside the columns.
    trusted : bool
        A formula can call any Python, as in R. False: columns, numbers, arithmetic and the named transformations
        only, for formulas from people who may not run code here.
    weights : str, array or Series, optional
        Precision weights as in lme4: the residual variance of a row is ``sigma^2 / weight``, so that sigma is the
        residual sd of a row of weight 1. The name of a column, or a value for every row; positive. They say how exact
        a row is (a mean of 5 measurements has weight 5), not how often it occurs: for frequencies repeat the rows.
    offset : str, array or Series, optional
        A known part of the linear predictor, in the units of y: ``E y = offset + X beta + Z gamma``. The name of a
        column, or a value for every row. ``offset(x)`` in the formula is the same; several add up.

    Attributes
    ----------
    arguments : dict
        What it was made of beside the formula, as it was given.

    Raises
    ------
    FormulaError, DataError, PriorError

    Examples
    --------
    >>> import pmlmm
    >>> data = pmlmm.datasets.load("sleepstudy")
    >>> model = pmlmm.Model("Reaction ~ Days + (Days | Subject)", data)
    """

    def __init__(
        self,
        formula: str,
        data: Any,
        priors: Mapping[Any, Any] | None = None,
        *,
        penalized: Mapping[str, Any] | None = None,
        standardize: bool = True,
        context: Mapping[str, Any] | None = None,
        trusted: bool = True,
        weights: Any = None,
        offset: Any = None,
    ):
        context = _checked_context(context)
        for name, value in {"standardize": standardize, "trusted": trusted}.items():
            if not isinstance(value, bool | np.bool_):
                raise OptionError(f"Model({name}={value!r}): choose True or False.")
        design = build_design(formula, data, context, penalized, trusted=bool(trusted), weights=weights, offset=offset)
        resolved = resolve(design, priors, standardize)
        with blas_threads(design.n_rows):  # sums that do not depend on who else computes
            statistics = build_statistics(design, resolved, standardization_of(design, resolved))
        self._problem = Problem(formula, design, resolved, statistics)
        # what update() makes another model of: references, no copies
        self.arguments: dict[str, Any] = {
            "data": data,
            "priors": priors and dict(priors),
            "penalized": penalized,
            "standardize": standardize,
            "context": context,
            "trusted": trusted,
            "weights": weights,
            "offset": offset,
        }

    @property
    def formula(self) -> str:
        return self._problem.formula

    @property
    def design(self) -> Design:
        """Arrays with names, made from the formula and the table."""
        return self._problem.design

    @property
    def priors(self) -> PriorSet:
        return self._problem.priors

    @property
    def statistics(self) -> Statistics:
        """Sums over the rows: all that a fit needs of the data."""
        return self._problem.statistics

    def fit(
        self,
        approximation: Literal["marginal", "joint"] = "marginal",
        *,
        coordinates: Literal["unconstrained", "natural"] | None = None,
        hyperprior: Hyperprior | None = _DEFAULT_HYPERPRIOR,
        integrate: bool | Literal["auto"] = "auto",
        refine: bool | Literal["auto"] = "auto",
        draws: int | None = None,
        random_seed: int = 0,
        optimizer: Literal["newton", "em"] = "newton",
        progress: Progress = None,
    ) -> "Fit":
        """Learn the hyperparameters by maximising the evidence, and find the mode there.

        Parameters
        ----------
        approximation : "marginal" or "joint"
            What Laplace's approximation is applied to: (sigma, Sigma) with beta and gamma integrated
            out exactly, or {beta, sigma, Sigma}, the talk's.
        coordinates : "unconstrained" or "natural", optional
            (log sigma, log-Cholesky factor of each Sigma^-1), the default of "marginal", or
            (sigma, Sigma), that of "joint".
        hyperprior : Hyperprior or None
            Weak prior on the hyperparameters; None is plain empirical Bayes.
        integrate : bool or "auto"
            Average over the hyperparameters, as :meth:`pmlmm.Fit.integrate` does; the search for them is coarse
            then. "auto": with a hyperprior and the default approximation, where it takes well under a second.
        refine : bool or "auto"
            Move on to the importance-sampled evidence; "auto": where it pays (see the summary).
        draws : int, optional
            Importance draws given the learned hyperparameters, and draws of the posterior; those of an integration are
            set by :meth:`pmlmm.Fit.integrate`. Default: 2000, or 500 where each of them takes a dense factorisation of
            more than 40 columns or a pass over thousands of groups, or a wide block is eliminated first.
        random_seed : int
            Of these draws: the same seed gives the same fit.
        optimizer : "newton" or "em"
            How modes are found; "em" needs natural coordinates.
        progress : callable or bool, optional
            Called with a line of text now and then. Default: such a line is shown after two seconds in a terminal or
            a notebook; False: never.

        Returns
        -------
        Fit
            An :class:`pmlmm.IntegratedFit` where the hyperparameters are integrated out.

        Raises
        ------
        OptionError
            An option outside its choices; the message names them.
        ConvergenceError
            No proper mode, or minus the Hessian is not positive definite there; sigma is not identified.

        References
        ----------
        Amestoy, van de Wiel, van Wieringen (2021). Linear mixed models for high-dimensional data: extending
        the functionalities of the LMER package. Talk.
        """
        import pmlmm.graph.engine  # noqa: F401  (its libraries load with all their threads)
        from pmlmm.fit import Fit
        from pmlmm.inference.integrate import refuse_without_hyperprior
        from pmlmm.inference.learn import learn
        from pmlmm.posterior.learned import LearnedPosterior

        if hyperprior is not None and not isinstance(hyperprior, Hyperprior):
            raise OptionError(f"fit(hyperprior={hyperprior!r}): give a pmlmm.Hyperprior, or None for no hyperprior.")
        coordinates = coordinates or ("natural" if approximation == "joint" else "unconstrained")
        options = _checked_options(approximation, coordinates, refine, draws, random_seed, optimizer, integrate)
        if integrate is True:
            refuse_without_hyperprior(hyperprior, "fit(integrate=True)")
        refuse_draws(options.draws or 1, self.design.numbers_each(gamma=None, wide=None), f"fit(draws={draws})")
        space = self._space(hyperprior)
        # what overflows on the way is not finite, and every search refuses it in words
        with (
            reporting(progress, "fit") as line,
            blas_threads(self.statistics.elimination.dense),
            np.errstate(all="ignore"),
        ):
            learned = learn(self._problem, space, options, self._compiled(space), line)
            fit = Fit(self, LearnedPosterior(learned))
            return fit.integrate(progress=line or False) if learned.integrate else fit

    def update(self, formula: str | None = None, data: Any = None, **changes: Any) -> "Model":
        """The same model with another formula, other data or other arguments; see :meth:`pmlmm.Fit.update`.

        Parameters
        ----------
        formula : str, optional
            As R's ``update`` reads it: ``.`` stands for what was there.
        data : table, optional
            In place of the table that the model was made from.
        **changes
            Other arguments of :class:`Model`.

        Raises
        ------
        FormulaError
            A term is taken out that is not there.
        PriorError
            A prior of this model is of a part that the new one does not have: give all ``priors=`` anew.
        OptionError
            An argument that :class:`Model` does not have.
        """
        new = self.formula if formula is None else updated(self.formula, formula)
        refuse_unknown(changes, self.arguments)
        given = {} if data is None else {"data": data}
        try:
            return Model(new, **{**self.arguments, **given, **changes})
        except PriorError as error:
            if "priors" in changes:
                raise
            raise PriorError(
                f"{error} update() keeps the model's priors: give it all the new ones, priors=..."
            ) from error

    @property
    def structure(self) -> str:
        """Which effects are eliminated how, how many at a time, and the memory that takes."""
        from pmlmm.report.structure import structure

        return structure(self._problem)

    def graph(self, *, collapsed: bool = False) -> "pm.Model":
        """The model as a PyMC graph.

        Hyperparameters are data containers ``lambda_*``, ``b_*``, ``A_*``: fixed values, or starting
        values where they are to be learned (``Fit.graph`` has the learned ones). ``A_*`` is stated at the origin
        of its columns (:class:`InverseWishart`); where that is not 0 ``Sigma_*_used`` is sampled, ``Sigma_*`` follows.

        Parameters
        ----------
        collapsed : bool
            beta and gamma integrated out; only sigma and the covariances are left.

        Returns
        -------
        pymc.Model
            With named dimensions and coordinates for coefficients, effects and groups.
        """
        from pmlmm.graph.build import build_graph

        return build_graph(self._problem, self._space(None).fixed, collapsed=collapsed)

    def _space(self, hyperprior: Hyperprior | None) -> Space:
        """What is to be learned."""
        return build_space(self.design, self.priors, self.statistics.columns, hyperprior)

    def __repr__(self) -> str:
        from pmlmm.report.describe import describe_model

        return describe_model(self._problem)

    def _repr_html_(self) -> str:
        from pmlmm.report.page import model_html

        return model_html(self._problem)

    def _restored(self, saved: "Saved") -> "Fit":
        """The fit of this model that a file holds."""
        from pmlmm.fit import Fit, IntegratedFit
        from pmlmm.inference.learn import restore
        from pmlmm.posterior.integrated import IntegratedPosterior
        from pmlmm.posterior.learned import LearnedPosterior

        space = self._space(saved.hyperprior)
        with blas_threads(self.statistics.elimination.dense):
            learned = restore(self._problem, space, saved.options, self._compiled(space), saved.found)
        if saved.integrated is None:
            return Fit(self, LearnedPosterior(learned))
        return IntegratedFit(self, IntegratedPosterior(learned, saved.integrated))

    def _compiled(self, space: Space) -> "Compiler":
        def compiled(profile: bool) -> "LogPosterior":
            from pmlmm.graph.engine import compile_log_posterior

            return compile_log_posterior(self._problem, space.fixed, profile=profile)

        return compiled


def load(
    path: str | os.PathLike, *, context: Mapping[str, Any] | None = None, trusted: bool = False
) -> "Fit | IntegratedFit":
    """Read a fit that :meth:`pmlmm.Fit.save` wrote; it is the same to the last bit (on the same machine).

    Parameters
    ----------
    path : str or path
    context : mapping, optional
        The functions and values that the formula uses beside the columns, which a file cannot hold.
    trusted : bool
        A formula can call any Python. False: one that does is refused, so that a file of somebody else runs no code;
        True: it is evaluated, for files of your own.

    Returns
    -------
    Fit
        An :class:`pmlmm.IntegratedFit` where the hyperparameters were integrated out.

    Raises
    ------
    DataError
        No such file, one that is damaged or of another version, or not a saved fit.
    FormulaError
        The formula calls Python and ``trusted`` is False.
    OptionError
        The context is not that of the fit.
    """
    from pmlmm.saving.fits import read, refuse_other_context

    saved = read(path)
    refuse_other_context(saved, context, path)
    try:
        model = Model(
            saved.formula,
            saved.table,
            penalized=saved.penalized or None,
            context=context,
            trusted=trusted,
            **saved.arguments,
        )
    except FormulaError as error:
        if trusted:
            raise
        raise FormulaError(f"{error} If the file is your own: pmlmm.load(path, trusted=True).") from error
    return model._restored(saved)


def _checked_context(context: Any) -> dict[str, Any]:
    if context is not None and not (isinstance(context, Mapping) and all(isinstance(name, str) for name in context)):
        raise OptionError("Model(context=...) must be a dict from names to functions or values.")
    return dict(context or {})


def _checked_options(
    approximation: str,
    coordinates: str,
    refine: bool | str,
    draws: int | None,
    random_seed: int,
    optimizer: str,
    integrate: bool | str,
):
    from pmlmm.inference.learned import FitOptions

    choices = {
        "approximation": (approximation, ("marginal", "joint")),
        "coordinates": (coordinates, ("unconstrained", "natural")),
        "integrate": (integrate, ("auto", True, False)),
        "refine": (refine, ("auto", True, False)),
        "optimizer": (optimizer, ("newton", "em")),
    }
    for name, (value, valid) in choices.items():
        if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in valid):
            raise OptionError(f"fit({name}={value!r}): choose one of {', '.join(map(repr, valid))}.")
    if optimizer == "em" and coordinates != "natural":
        raise OptionError("fit(optimizer='em') finds the mode in natural coordinates: add coordinates='natural'.")
    if draws is not None and not (isinstance(draws, Integral) and draws >= 100):
        raise OptionError(f"fit(draws={draws!r}): at least 100 importance draws are needed.")
    if not (isinstance(random_seed, Integral) and random_seed >= 0):
        raise OptionError(f"fit(random_seed={random_seed!r}): the seed must be an integer of at least 0.")
    return FitOptions(approximation, coordinates, refine, draws and int(draws), random_seed, optimizer, integrate)
