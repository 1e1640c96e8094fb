"""A model that is not fitted, in words: formula, data, priors, elimination."""

import numpy as np

from pmlmm.design.design import Design
from pmlmm.design.term import Term
from pmlmm.priors.flat import Flat
from pmlmm.priors.keys import INTERCEPT
from pmlmm.priors.normal import DEFAULT_SDS
from pmlmm.priors.origin import Origin
from pmlmm.priors.stated import Ridge
from pmlmm.problem import Problem
from pmlmm.report.structure import structure
from pmlmm.report.text import wrapped

# So many coefficients of one prior are named.
_MOST_NAMES = 6
# Whole numbers of at most so many values, each in that many rows on average, are counts or ratings.
_FEW_VALUES, _ROWS_A_VALUE = 10, 10
# The first rows tell whether there are few values.
_FIRST_ROWS = 1_000


def describe_model(problem: Problem) -> str:
    """Formula, data and priors of a model that is not fitted."""
    design = problem.design
    head = [f"Linear mixed model: {problem.formula}", *data_lines(design)]
    lines = [*map(wrapped, head), ""]
    lines += ["Priors (what is not fixed is learned by fit())", *prior_lines(problem), ""]
    return "\n".join([*lines, wrapped(f"Elimination: {structure(problem)}")])


def prior_lines(problem: Problem) -> list[str]:
    """The prior of each part of the model."""
    design, priors = problem.design, problem.priors
    lines = [f"  {line}" for line in [*_normal_lines(problem), *_ridge_lines(problem)]]
    if priors.flat_columns:
        names = ", ".join(design.coefficients[j] for j in priors.flat_columns)
        lines.append(f"  {names}: flat (density 1)")
    for term, prior, origin in zip(design.terms, priors.covariances, priors.origins, strict=True):
        place = _origin(term, origin) if prior.at_origin else ""
        lines.append(f"  Sigma_{term.name} ({' '.join(term.coefficients)}) ~ {prior.words}{place}")
    sigma = priors.sigma
    words = "flat (density 1)" if isinstance(sigma, Flat) else f"HalfStudentT({sigma.nu:g}, {sigma.scale:.6g})"
    lines.append(f"  sigma ~ {words}")
    if priors.standardize and any(not g.absolute and g.name != INTERCEPT for g in priors.penalty_groups):
        centred = "centred and " if INTERCEPT in design.coefficients else ""
        lines.append(f"  (penalised columns {centred}scaled to unit sd; results on your scale)")
    return [wrapped(line) for line in lines]


def _normal_lines(problem: Problem) -> list[str]:
    """Priors in the units of y, a line for all coefficients of one prior."""
    design, normals = problem.design, problem.priors.normals
    if normals is None:
        return []
    members: dict[str, list[str]] = {}
    for j, stated, mean, sd in zip(normals.columns, normals.stated, normals.mean, normals.sd, strict=True):
        name = design.coefficients[j]
        by_default = f"{DEFAULT_SDS:g} {'rms(y) / rms(x)' if normals.about_zero else 'sd(y) / sd(x)'}"
        words = f"Normal({mean:.6g}, {by_default if stated.sd is None and name != INTERCEPT else f'{sd:.4g}'})"
        if name == INTERCEPT and problem.statistics.standardization.center.any():
            words += " where every column is at its mean"
        members.setdefault(words, []).append(name)
    return [f"{_listed(names)} ~ {words}" for words, names in members.items()]


def _ridge_lines(problem: Problem) -> list[str]:
    """Priors in the units of sigma."""
    design, priors, lines = problem.design, problem.priors, []
    for group in priors.penalty_groups:
        if isinstance(group.prior, Ridge):
            names = [design.coefficients[j] for j in group.columns]
            mean = f"{priors.means[group.columns[0]]:.6g}" if group.name == INTERCEPT else "0"
            value = "learned" if group.prior.lambda_ is None else f"{group.prior.lambda_:g}"
            shown = _listed(names) if group.block is None else f"{group.size} columns"
            lines.append(f"{group.name} ({shown}) ~ N({mean}, sigma^2 / lambda), lambda {value}")
    return lines


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")


def _origin(term: Term, origin: Origin) -> str:
    """Where the columns have their zero, if it is not the user's."""
    places = []
    for name, shift, z in zip(term.coefficients, origin.shift, term.Z.T, strict=True):
        if shift:
            digits = max(0, 2 - int(np.floor(np.log10(np.ptp(z)))))
            places.append(f"{name} = {shift:.{digits}f}")
    return f", at {', '.join(places)}" if places else ""


def _given(design: Design) -> list[str]:
    """Weights and offset."""
    given, parts = design.given, []
    if design.weights is not None:
        low, high = design.weights.min(), design.weights.max()
        name = f" {given.weights}" if given.weights in given.columns else ""
        parts.append(f"precision weights{name} ({low:.4g} to {high:.4g}): residual variance sigma^2 / weight")
    if design.offset is not None:
        names = [given.offset] if given.offset in given.columns else []
        names += [recipe.expression.text for recipe in given.recipes]
        parts.append(f"offset {' + '.join(names)}".strip())
    return parts


def _data_line(design: Design) -> str:
    """Rows, groups, and what was dropped."""
    parts = [f"{design.n_rows} rows"]
    for grouping in design.groupings:
        sizes = np.bincount(grouping.codes)
        parts.append(
            f"{grouping.n_groups} groups of {grouping.factor} "
            + (f"({sizes.min()} to {sizes.max()} rows each)" if np.ptp(sizes) else f"({sizes[0]} rows each)")
        )
    parts += _given(design)
    table = design.table
    if table.rows_dropped:
        missing = ", ".join(f"{name}: {count}" for name, count in table.missing.items())
        parts.append(f"{table.rows_dropped} of {table.rows_given} rows dropped for missing values ({missing})")
    return "Data: " + ", ".join(parts)


def data_lines(design: Design) -> list[str]:
    """The data, and what is to be said of the response."""
    return [_data_line(design), *_response_lines(design)]


def _response_lines(design: Design) -> list[str]:
    """What is said of a response that another distribution suits better; mostly nothing."""
    if len(np.unique(design.y[:_FIRST_ROWS])) > _FEW_VALUES:
        return []
    name, values = design.parsed.response, np.unique(design.y)
    if len(values) == 2:
        words = f"{name} has two values, {values[0]:g} and {values[1]:g}: fitted as Gaussian"
        linear = " (a linear probability model)" if values.tolist() == [0, 1] else ""
        return [f"{words}{linear}; use a logistic model for probabilities."]
    whole = values[0] >= 0 and (values == np.round(values)).all()
    if not whole or len(values) > _FEW_VALUES or len(values) * _ROWS_A_VALUE > len(design.y):
        return []
    return [
        f"{name} has {len(values)} values, whole numbers from {values[0]:g} to {values[-1]:g}: fitted as Gaussian; "
        "predictions are not held to them, as those of a model for counts or ratings are."
    ]
