"""Whether the data tell the parameters of a model at all, judged before anything is searched.

What is decided here depends on the data and the priors alone, on no start and no seed.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import lsmr

from pmlmm.design.design import Design
from pmlmm.design.identified import collinear
from pmlmm.design.term import Term
from pmlmm.errors import ConvergenceError, DataError
from pmlmm.kernels import likelihood
from pmlmm.kernels.coordinates import vech
from pmlmm.priors.prior_set import COLLINEAR
from pmlmm.priors.search_space import Space
from pmlmm.problem import Problem

# Prior variance of an effect, over sigma^2 and in the units of its column, at which it is as good as free; and the
# share of the squares of y that is left then where the effects fit it nearly.
_FREE, _NEARLY_FITTED = 1e10, 1e-7
# With so little of it left the response is fitted exactly.
_EXACT = 1e-24
# Least squares: steps over the number of columns, and at most.
_STEPS, _MOST_STEPS = 4, 2_000
# Share of its squares with which a column sticks out of what a term's effects can mimic.
_OUTSIDE = 1e-12


def unbounded(problem: Problem) -> str:
    """Why the posterior of a covariance with a flat prior is improper, in words; empty where none is.

    As the variance of one effect grows the likelihood falls as its power ``-(m - r) / 2``: m groups have the effect,
    and r combinations of unpenalised coefficients are mimicked by it. The volume of q x q covariances grows as its
    power q, so ``m - r`` must be above 2 q.
    """
    priors, statistics = problem.priors, problem.statistics
    flat = (problem.design.X - statistics.standardization.center)[:, list(priors.flat_columns)]
    for term, prior in zip(statistics.terms, priors.covariances, strict=True):
        for name, z in zip(term.coefficients, term.Z.T, strict=True):
            if prior.proper:
                break
            squares = np.bincount(term.grouping.codes, weights=z**2, minlength=term.n_groups)
            groups, needed = np.count_nonzero(squares), 2 * term.q + _mimicked(z, term.grouping.codes, squares, flat)
            if groups <= needed:
                return (
                    f"With a flat prior the posterior of the covariance of {term.name!r} is improper: {groups} groups "
                    f"do not bound the variance of {name!r} from above (more than {needed} do). Give it an "
                    "InverseWishart prior; or take coordinates='natural' for the mode alone, which is REML's where all "
                    "priors are flat."
                )
    return ""


def _mimicked(z: np.ndarray, codes: np.ndarray, squares: np.ndarray, flat: np.ndarray) -> int:
    """How many combinations of the columns of ``flat`` (n, p) are z times a number for each group."""
    per_group = np.maximum(squares, np.finfo(float).tiny)
    outside = [
        x - z * (np.bincount(codes, weights=z * x, minlength=len(squares)) / per_group)[codes]
        for x in flat.T / np.sqrt(np.sum(flat**2, axis=0))[:, None]
    ]
    gram = np.array(outside) @ np.array(outside).T if outside else np.empty((0, 0))
    return int(np.count_nonzero(np.linalg.eigvalsh(gram) < _OUTSIDE))


def refuse_collinear(problem: Problem) -> None:
    """Unpenalised columns must be told apart once they are centred: the intercept's prior is at their mean.

    Raises
    ------
    DataError
        They add up to a constant, which the intercept is already.
    """
    design, standard, flat = problem.design, problem.statistics.standardization, list(problem.priors.flat_columns)
    names = [design.coefficients[j] for j in flat]
    if involved := collinear(names, (design.X - standard.center)[:, flat], COLLINEAR):
        raise DataError(
            f"The unpenalised fixed effects {involved} add up to the intercept, for example because a combination of "
            "levels has no row: take one out, or give them a Ridge prior."
        )


def refuse_exact_fit(problem: Problem, space: Space) -> None:
    """Rows beyond what the effects can fit must leave a residual: without one sigma has nothing to go by.

    Raises
    ------
    ConvergenceError
        The effects fit the response exactly, or up to rounding, with rows to spare.
    """
    data = problem.statistics.crossproducts()
    size = data.response_squares
    squares, log_det = likelihood.residual(_free(problem, space, _FREE), data)
    if not squares < _NEARLY_FITTED * size:
        return
    fewer = likelihood.residual(_free(problem, space, _FREE / 100.0), data)[1]
    rank = data.flat + (log_det - fewer) / np.log(100.0)
    if not data.n - rank > 0.5:
        return
    left = _least_squares(problem)
    if data.lost(np.sqrt(max(left, np.finfo(float).tiny) / (data.n - rank))):
        raise ConvergenceError(_words(problem.design, left < _EXACT * size))


def _free(problem: Problem, space: Space, variance: float) -> np.ndarray:
    """(sigma, vech Sigma_1, ..., log lambda_1, ...) with effects that are as good as free."""
    data = problem.statistics.crossproducts()
    free = variance / problem.design.typical_weight
    Sigmas = [free * spread(moments) for moments in problem.statistics.columns.moments]
    units = np.array(space.group_units)
    for block in data.blocks:
        if block.ridge:
            units[block.parameter] = np.mean(data.first.column_squares[block.columns]) / data.n
    return np.concatenate([[1.0], *map(vech, Sigmas), np.log(units / variance)])


def spread(moments: np.ndarray) -> np.ndarray:
    """``(Z'Z / n)^{-1}``, wherever a covariate has its zero; its diagonal counterpart where columns are collinear."""
    try:
        inverse = np.linalg.inv(moments)
        if np.linalg.eigvalsh(inverse)[0] > 0.0:
            return (inverse + inverse.T) / 2.0
    except np.linalg.LinAlgError:
        pass
    return np.diag(1.0 / np.diag(moments))


def _least_squares(problem: Problem) -> float:
    """Residual sum of squares of y on all effects, from the residuals themselves."""
    design, statistics = problem.design, problem.statistics
    dense = [design.X, *(block.columns for block in statistics.wide)]
    columns = sparse.hstack([*map(sparse.csr_array, dense), *map(_rows, statistics.terms)], format="csc")
    left = design.whitened(design.y - statistics.standardization.offset)
    if design.weights is not None:
        columns = sparse.csc_array(columns.multiply(np.sqrt(design.weights)[:, None]))
    size = np.sqrt(np.asarray(columns.multiply(columns).sum(axis=0)).ravel())
    columns = columns @ sparse.diags_array(1.0 / np.maximum(size, np.finfo(float).tiny))
    most = min(_STEPS * min(columns.shape) + 100, _MOST_STEPS)
    for _ in range(2):  # once more on what is left, for the last digits
        left = left - columns @ lsmr(columns, left, atol=0.0, btol=0.0, conlim=0.0, maxiter=most)[0]
    return float(left @ left)


def _rows(term: Term) -> sparse.csr_array:
    """Z with a column for every effect of every group, (n, m q)."""
    n, q = term.Z.shape
    columns = term.grouping.codes[:, None] * q + np.arange(q)
    return sparse.csr_array((term.Z.ravel(), columns.ravel(), np.arange(0, n * q + 1, q)), shape=(n, term.n_groups * q))


def _words(design: Design, exactly: bool) -> str:
    """What happened, and what to do."""
    name = design.parsed.response
    for term in design.terms if exactly else ():
        if term.n_groups < design.n_rows and np.ptp(term.Z, axis=0).min() == 0.0 and _constant_within(term, design.net):
            return (
                f"The response {name!r} does not vary within the groups of {term.factor!r}: a random intercept for "
                f"each of the {term.n_groups} groups fits the {design.n_rows} rows exactly, and nothing is left for "
                f"sigma. Take the random effects of {term.factor!r} out, and give the model one row a group."
            )
    how = "exactly" if exactly else "up to what is lost in rounding"
    return (
        f"The fixed and random effects together fit {name!r} {how}: nothing is left for sigma. Check that the response "
        "is not computed from the predictors, and that no row is there twice; otherwise take effects out."
    )


def _constant_within(term: Term, y: np.ndarray) -> bool:
    """Whether y has one value in each group."""
    first = np.empty(term.n_groups)
    first[term.grouping.codes] = y
    return bool(np.array_equal(first[term.grouping.codes], y))
