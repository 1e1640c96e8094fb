"""A fit as HTML: in a notebook what matters, and a page by itself with everything that a reader may ask for."""

import os
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.errors import PmlmmError
from pmlmm.files import target_of, write
from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.posterior.residuals import residual_checks
from pmlmm.posterior.source import Posterior
from pmlmm.problem import Problem
from pmlmm.report import html
from pmlmm.report.describe import data_lines, prior_lines
from pmlmm.report.estimates import intervals
from pmlmm.report.plots.coefficients import plot_coefficients
from pmlmm.report.plots.covariances import plot_covariances
from pmlmm.report.plots.effects import plot_random_effects
from pmlmm.report.plots.predictive import plot_predictive
from pmlmm.report.plots.residuals import plot_residuals
from pmlmm.report.plots.trajectories import plot_trajectories
from pmlmm.report.structure import structure
from pmlmm.report.summary import alarms, evidence_lines, hyperprior_lines, notes

_LEVEL = 0.95
# What a picture shows, and how it is made: a line here is a picture in every report (where it can be made).
_PICTURES: dict[str, Callable[[Posterior], Any]] = {
    "Coefficients with 95% intervals": lambda p: plot_coefficients(p, None, 30, False, _LEVEL, None),
    "Trajectories of some groups with 95% intervals": lambda p: plot_trajectories(p, None, 12, None, False, _LEVEL),
    "Standard deviations and correlations": lambda p: plot_covariances(p, _LEVEL),
    "Random effects with 95% intervals": lambda p: plot_random_effects(p, None, _LEVEL),
    "Residuals: where they should be is shaded": lambda p: plot_residuals(p, _LEVEL),
    "The response and replications of it": lambda p: plot_predictive(p, None, _LEVEL, None),
}


def model_html(problem: Problem) -> str:
    """A model that is not fitted, for a notebook."""
    priors = [html.heading("Priors (what is not fixed is learned by fit())"), html.lines(prior_lines(problem))]
    return html.small(*_model(problem), *priors, html.lines([f"Elimination: {structure(problem)}"]))


def fit_html(posterior: Posterior, hyperparameters: pd.DataFrame) -> str:
    """A fit, for a notebook."""
    return html.small(
        *_model(posterior.problem), _alarms(posterior), *_tables(posterior, hyperparameters), _evidence(posterior)
    )


def write_report(posterior: Posterior, hyperparameters: pd.DataFrame, path: str | os.PathLike) -> None:
    """See :meth:`pmlmm.Fit.report`."""
    target = target_of(path, (".html", ".htm"), "HTML", "report")
    write(report(posterior, hyperparameters).encode(), path, target)


def report(posterior: Posterior, hyperparameters: pd.DataFrame) -> str:
    """The page."""
    problem, checks = posterior.problem, residual_checks(posterior, posterior.learned.options.random_seed)
    about = [html.lines([*data_lines(posterior.design), posterior.about_intervals]), _alarms(posterior, checks)]
    sections = [
        html.section("Estimates", *_tables(posterior, hyperparameters)),
        html.section("Pictures", *_pictures(posterior)),
        html.section("Priors", html.lines([*prior_lines(problem), *hyperprior_lines(posterior)])),
        html.section("Evidence and diagnostics", _evidence(posterior), *_diagnostics(posterior, checks)),
        html.section("Computation", html.lines([f"Elimination: {structure(problem)}", _search(posterior)])),
    ]
    title = f"<h1><code>{html.escape(problem.formula)}</code></h1>"
    end = f"<footer>A linear mixed model with learned priors, fitted by pmlmm {version('pmlmm')}.</footer>"
    return html.page(f"pmlmm: {problem.formula}", "".join([title, *about, *sections, end]))


def _model(problem: Problem) -> tuple[str, str]:
    return html.heading(f"Linear mixed model: {problem.formula}"), html.lines(data_lines(problem.design))


def _alarms(posterior: Posterior, checks: pd.DataFrame | None = None) -> str:
    """What forbids to believe the numbers below."""
    words = html.lines(alarms(posterior, checks))
    return f'<div class="alarm">{words}</div>' if words else ""


def _tables(posterior: Posterior, hyperparameters: pd.DataFrame) -> list[str]:
    parts = []
    for title, frame in intervals(posterior).items():
        parts += [html.heading(title), html.table(frame)]
    if len(hyperparameters):
        about = f"Hyperparameters ({posterior.about_hyperparameters})"
        parts += [html.heading(about), html.table(hyperparameters)]
    return parts


def _evidence(posterior: Posterior) -> str:
    return html.lines([*evidence_lines(posterior), *notes(posterior)])


def _diagnostics(posterior: Posterior, checks: pd.DataFrame) -> list[str]:
    k_hat, skipped = posterior.evidence.k_hat, "not known: importance sampling was skipped"
    about = skipped if np.isnan(k_hat) else f"{k_hat:.2f} (reliable up to {LARGEST_K_HAT:g})"
    return [html.lines([f"Pareto k-hat: {about}"]), html.heading("Checks of the residuals"), html.table(checks)]


def _search(posterior: Posterior) -> str:
    learned = posterior.learned
    evaluations = sum(record.evaluations for record in learned.records)
    return f"{evaluations} evaluations of the evidence; {learned.refinement}; seed {learned.options.random_seed}"


def _pictures(posterior: Posterior) -> list[str]:
    """Those that can be made of this model."""
    if find_spec("matplotlib") is None:
        return [html.lines(["Pictures need matplotlib: pip install 'pmlmm[plots]'."])]
    from matplotlib import pyplot

    made = []
    for caption, draw in _PICTURES.items():
        before = set(pyplot.get_fignums())
        try:
            figure = np.ravel(draw(posterior))[0].figure
            made.append(html.picture(figure, caption))
        except PmlmmError:  # not every model has groups, a covariate, coefficients
            continue
        finally:
            for new in set(pyplot.get_fignums()) - before:
                pyplot.close(new)
    return made
