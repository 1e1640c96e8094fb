"""Summaries as plain text."""

import numpy as np
import pandas as pd

from pmlmm.design.design import Design
from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.posterior.residuals import ALARM, residual_checks
from pmlmm.posterior.source import Posterior
from pmlmm.priors.origin import far_columns
from pmlmm.problem import Problem
from pmlmm.report.describe import data_lines, prior_lines
from pmlmm.report.estimates import estimates
from pmlmm.report.text import aligned, number, wrapped

# Penalised columns that correlate more than this are named; more columns than this are not compared.
_NEARLY_COLLINEAR = 0.999
_MOST_COMPARED = 500
# With fewer rows a column the summary advises a ridge.
_ROWS_A_COLUMN = 3
# A search that ends with a larger gradient (nats) has not arrived.
_STEEP = 0.5


def summarize(posterior: Posterior, hyperparameters: pd.DataFrame) -> str:
    """The summary that printing a fit shows: what decides first, then estimates, hyperparameters, priors, evidence."""
    sections = [
        _head(posterior),
        [estimates(posterior)],
        _hyperparameters(hyperparameters, posterior.about_hyperparameters),
        ["Priors", *prior_lines(posterior.problem), *hyperprior_lines(posterior)],
        [*evidence_lines(posterior), *notes(posterior)],
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def _head(posterior: Posterior) -> list[str]:
    """Formula, data, what the intervals are given, and what forbids to believe them."""
    design = posterior.design
    lines = [f"Linear mixed model: {posterior.problem.formula}", *data_lines(design)]
    lines += [posterior.about_intervals] if posterior.learned.space.coordinates else []
    return [wrapped(line) for line in [*lines, *alarms(posterior)]]


def alarms(posterior: Posterior, checks: pd.DataFrame | None = None) -> list[str]:
    """Why numbers are not to be trusted; mostly empty. ``checks`` are those of the residuals, if there are any yet."""
    table = residual_checks(posterior, posterior.learned.options.random_seed) if checks is None else checks
    words = table["words"][table["p_value"] < ALARM].tolist()
    residuals = [f"Residuals: {'; '.join(words)}: do not rely on the interval of sigma."] if words else []
    return [*_unreliable(posterior), *residuals]


def _unreliable(posterior: Posterior) -> list[str]:
    k_hat, plug_in = posterior.evidence.k_hat, posterior.integrated is None
    if posterior.reliable:
        return []
    uncorrected = ["Estimates are those of Laplace's approximation, uncorrected."] if plug_in else []
    if np.isnan(k_hat):
        return uncorrected
    rely = f"rely on fit.sample({'' if plug_in else 'hyperparameters=True'})"
    if np.isinf(k_hat):
        failed = "importance sampling failed: hardly a draw has a likelihood"
        return [f"NOT reliable: {failed}. Simplify the model, or {rely}.", *uncorrected]
    return [f"NOT reliable: Pareto k-hat is {k_hat:.2f}, above {LARGEST_K_HAT}; {rely}.", *uncorrected]


def _hyperparameters(table: pd.DataFrame, about: str) -> list[str]:
    """Values and intervals, with the states that are more than "interior"."""
    if table.empty:
        return []
    rows = [
        (name, number(row.value), number(row.lower), number(row.upper), "" if row.state == "interior" else row.state)
        for name, row in zip(table.index, table.itertuples(), strict=True)
    ]
    lines = aligned([("", "value", "lower", "upper", ""), *rows], text=(0, 4)).split("\n")
    return [f"Hyperparameters ({about})", *map(wrapped, lines)]


def hyperprior_lines(posterior: Posterior) -> list[str]:
    """What is expected of the hyperparameters themselves."""
    space = posterior.learned.space
    if not space.coordinates:
        return []
    if space.hyperprior is None:
        return ["  hyperparameters: no prior (plain empirical Bayes)"]
    own = [f"{c.has_density} ~ {c.density(space.hyperprior)}" for c in space.coordinates if c.has_density]
    return [wrapped(f"  {line}") for line in [str(space.hyperprior), *own]]


def evidence_lines(posterior: Posterior) -> list[str]:
    """The log evidence, of what, and how well it is known."""
    options, found = posterior.learned.options, posterior.evidence
    if posterior.integrated is not None:
        what = f"hyperparameters integrated out; Pareto k-hat {found.k_hat:.2f}"
        return [wrapped(f"Log evidence: {found.log_evidence:.3f} +- {found.error:.3f} ({what})")]
    exact = "beta and gamma exact" if options.approximation == "marginal" else "gamma exact"
    how = f"Laplace, {options.approximation}: {exact}, {options.coordinates} coordinates"
    lines = [f"Log evidence given the hyperparameters: {found.log_evidence:.3f} ({how})"]
    if np.isfinite(found.k_hat):
        corrected = f"{found.log_evidence_psis:.3f} +- {found.error:.3f}"
        lines.append(f"  by importance sampling: {corrected} (Pareto k-hat {found.k_hat:.2f})")
    return [wrapped(line) for line in lines]


def notes(posterior: Posterior) -> list[str]:
    """What else an analyst should know, if anything."""
    found = []
    if posterior.problem.priors.improper:
        found.append(
            "Some priors are flat: the evidence is defined up to their constants; compare it only between models "
            "with the same flat priors."
        )
    if pair := _nearly_collinear(posterior):
        found.append(
            f"The columns {pair[0]!r} and {pair[1]!r} correlate at {pair[2]:.5f}: their prior shrinks what "
            "tells them apart. Centre the covariate before taking powers, or use poly()."
        )
    if many := _many_columns(posterior.problem):
        found.append(many)
    last = posterior.learned.records[-1]
    if last.gradient_norm > _STEEP:
        beside = ", beside points without a proper mode" if last.failures else ""
        found.append(
            f"The search for the hyperparameters ended on a slope (gradient {last.gradient_norm:.2g}){beside}: other "
            "row orders or starts may end elsewhere. Fix a prior, or take effects out."
        )
    found += _far_slopes(posterior.design)
    return [wrapped(note) for note in found]


def _far_slopes(design: Design) -> list[str]:
    """Slopes in terms of their own that are far from zero, beside a random intercept."""
    beside = {term.factor for term in design.terms if term.intercept is not None}
    alone = [term for term in design.terms if term.intercept is None and term.factor in beside]
    return [
        f"The formula has intercepts and slopes of {term.factor} uncorrelated at {names[0]} = 0, far from the data: "
        f"centre {names[0]} if that is not meant, or write (1 + {names[0]} | {term.factor})."
        for term in alone
        if (names := far_columns(term))
    ]


def _many_columns(problem: Problem) -> str:
    """Advice where so many coefficients are hardly shrunk that least squares would be erratic."""
    normals, rows = problem.priors.normals, problem.design.n_rows
    if normals is None or len(normals.columns) * _ROWS_A_COLUMN <= rows:
        return ""
    return (
        f"The formula has {len(normals.columns)} columns for {rows} rows, and their prior hardly shrinks them. "
        "priors={'common': pmlmm.Ridge()} shrinks all of them as the data ask for, a tuple of names as key some."
    )


def _nearly_collinear(posterior: Posterior) -> tuple[str, str, float] | None:
    """The most correlated pair of penalised columns, if it is close to collinear."""
    design, scaled = posterior.design, np.flatnonzero(posterior.problem.priors.standardized)
    if not 2 <= len(scaled) <= _MOST_COMPARED:
        return None
    correlations = np.corrcoef(design.X[:, scaled], rowvar=False) - np.eye(len(scaled))
    a, b = np.unravel_index(np.argmax(np.abs(correlations)), correlations.shape)
    if abs(correlations[a, b]) < _NEARLY_COLLINEAR:
        return None
    return design.coefficients[scaled[a]], design.coefficients[scaled[b]], float(correlations[a, b])
