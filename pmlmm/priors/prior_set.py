"""Match the user's priors to the parts of a design; fill in the defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pmlmm.design.design import Design
from pmlmm.design.identified import collinear, empty_cell
from pmlmm.design.term import Term
from pmlmm.errors import DataError, PriorError, described
from pmlmm.priors.covariance import CovariancePrior
from pmlmm.priors.covariance_priors import COVARIANCE_PRIORS
from pmlmm.priors.flat import Flat
from pmlmm.priors.inverse_wishart import InverseWishart
from pmlmm.priors.keys import COMMON, INTERCEPT, SIGMA, Grouped, match
from pmlmm.priors.origin import Origin, origin_of
from pmlmm.priors.stated import HalfStudentT, Ridge

#: Smallest eigenvalue of the correlations of unpenalised columns that tells their coefficients apart.
COLLINEAR = 1e-12
#: Prior sd of the intercept is 100 sigma around the mean of the response.
DEFAULT_INTERCEPT = Ridge(lambda_=1e-4, mean="response")


@dataclass(frozen=True)
class PenaltyGroup:
    """Coefficients that share one lambda; ``prior.lambda_`` is None where it is learned.

    They are ``columns`` of X, or all ``size`` columns of the wide block number ``block``.
    """

    name: str
    columns: tuple[int, ...]
    prior: Ridge
    size: int
    block: int | None = None


@dataclass(frozen=True)
class PriorSet:
    """The complete statement of the priors of one model.

    ``penalty_groups`` lists the groups with a ridge prior; columns with a flat prior are in
    ``flat_columns``. ``covariances`` has one prior for each random-effect term; terms with the same number in
    ``shared`` have one A. ``origins`` says where the columns of each term have their zero inside.
    """

    penalty_groups: tuple[PenaltyGroup, ...]
    flat_columns: tuple[int, ...]
    covariances: tuple[CovariancePrior, ...]
    shared: tuple[int, ...]
    origins: tuple[Origin, ...]
    sigma: HalfStudentT | Flat
    standardize: bool
    standardized: tuple[bool, ...]
    intercept_mean: float

    @property
    def improper(self) -> bool:
        """Whether some prior is flat, so that the evidence has no absolute meaning."""
        flat = isinstance(self.sigma, Flat) or not all(prior.proper for prior in self.covariances)
        return flat or bool(self.flat_columns)


def resolve(design: Design, priors: Mapping[str, Any] | None, standardize: bool) -> PriorSet:
    """Priors of every part of the design.

    Raises
    ------
    PriorError
        A key that names nothing in the model, a prior of the wrong kind or size, or an improper b.
    DataError
        A constant column other than the intercept.
    """
    if priors is not None and not isinstance(priors, Mapping):
        raise PriorError(
            f"priors is {priors!r}; it must be a dict from names to priors, e.g. {{'common': pmlmm.Ridge(1)}}."
        )
    given = match(dict(priors or {}), design)
    groups, flat = _penalty_groups(design, given.fixed)
    _refuse_collinear(design, flat)
    covariances = tuple(_covariance_prior(term, given.terms) for term in design.terms)
    sigma = _residual_prior(given.fixed.get(SIGMA, HalfStudentT()), design)
    penalised = np.zeros(len(design.coefficients), dtype=bool)
    for group in groups:
        penalised[list(group.columns)] = group.name != INTERCEPT
    if standardize:
        _refuse_constant(design, penalised)
    mean = next((group.prior.mean for group in groups if group.name == INTERCEPT), 0.0)
    return PriorSet(
        penalty_groups=groups,
        flat_columns=flat,
        covariances=covariances,
        shared=tuple(given.shared),
        origins=_origins(design.terms, covariances, given.shared),
        sigma=sigma,
        standardize=standardize,
        standardized=tuple(bool(x) for x in penalised & standardize),
        intercept_mean=float(design.y.mean()) if mean == "response" else float(mean),
    )


def _penalty_groups(design: Design, given: dict[str, Any]) -> tuple[tuple[PenaltyGroup, ...], tuple[int, ...]]:
    """A column belongs to the group of its own name, of its formula term, or to the common one."""
    members: dict[str, list[int]] = {}
    priors: dict[str, Any] = {}
    for column, (name, term) in enumerate(zip(design.coefficients, design.coefficient_terms, strict=True)):
        own = name if name in given else term if term in given else None
        group = INTERCEPT if name == INTERCEPT else own or COMMON
        prior = given.get(group, DEFAULT_INTERCEPT if group == INTERCEPT else Ridge())
        if isinstance(prior, Grouped):
            group, prior = prior.name, prior.prior
        members.setdefault(group, []).append(column)
        priors[group] = prior
    if COMMON in given and COMMON not in members:
        raise PriorError(
            "priors has the key 'common', but no fixed effect is left in that group: the model has "
            f"{', '.join(map(repr, design.coefficients)) or 'no fixed effects'}."
        )
    groups, flat = [], []
    for name, columns in members.items():
        prior = _ridge(name, priors[name])
        if prior is None:
            flat.extend(columns)
        else:
            groups.append(PenaltyGroup(name, tuple(columns), prior, len(columns)))
    for number, block in enumerate(design.wide):
        prior = _ridge(block.name, given.get(block.name, Ridge()))
        if prior is None:
            raise PriorError(
                f"priors[{block.name!r}]: a wide block needs a penalty; put columns without one into the formula."
            )
        groups.append(PenaltyGroup(block.name, (), prior, block.p, number))
    return tuple(groups), tuple(sorted(flat))


def _ridge(name: str, prior: Any) -> Ridge | None:
    """A checked ridge; None for no penalty."""
    if isinstance(prior, Flat) or (isinstance(prior, Ridge) and prior.lambda_ == 0):
        return None
    if not isinstance(prior, Ridge):
        raise PriorError(
            f"priors[{name!r}] is {described(prior)}; the fixed effects {name!r} take pmlmm.Ridge or pmlmm.Flat."
        )
    if name != INTERCEPT and prior.mean != 0:
        raise PriorError(f"priors[{name!r}]: only the intercept can have a prior mean other than 0.")
    return prior


def _covariance_prior(term: Term, given: dict[str, Any]) -> CovariancePrior:
    prior = given.get(term.name, given.get(term.factor, InverseWishart()))
    where = f"priors[{term.name!r}]"
    if not isinstance(prior, COVARIANCE_PRIORS):
        raise PriorError(
            f"{where} is {described(prior)}; a random-effect term takes pmlmm.InverseWishart or pmlmm.Flat."
        )
    prior.check(term, where)
    return prior


def _origins(
    terms: tuple[Term, ...], covariances: tuple[CovariancePrior, ...], shared: Sequence[int]
) -> tuple[Origin, ...]:
    found = []
    for k, (term, prior) in enumerate(zip(terms, covariances, strict=True)):
        together = [other for other, leader in zip(terms, shared, strict=True) if leader == shared[k]]
        found.append(origin_of(term, prior.stated_origin, together))
    return tuple(found)


def _residual_prior(prior: Any, design: Design) -> HalfStudentT | Flat:
    if isinstance(prior, Flat):
        return prior
    if not isinstance(prior, HalfStudentT):
        raise PriorError(f"priors['sigma'] is {described(prior)}; sigma takes pmlmm.HalfStudentT or pmlmm.Flat.")
    return prior if prior.scale is not None else HalfStudentT(prior.nu, float(np.std(design.y)))


def _refuse_collinear(design: Design, flat: tuple[int, ...]) -> None:
    """Collinear columns without a penalty have no unique coefficients."""
    if involved := collinear([design.coefficients[j] for j in flat], design.X[:, list(flat)], COLLINEAR):
        raise DataError(
            f"The unpenalised fixed effects {involved} are collinear: take one out, or give them a Ridge prior."
        )


def _refuse_constant(design: Design, penalised: np.ndarray) -> None:
    for column in np.flatnonzero(penalised):
        if np.ptp(design.X[:, column]) == 0:
            name = design.coefficients[column]
            advice = empty_cell(name) if not design.X[0, column] else ""
            raise DataError(
                f"The fixed-effect column {name!r} is constant ({design.X[0, column]:g} in every row): "
                + (advice or "take it out of the formula.")
            )
