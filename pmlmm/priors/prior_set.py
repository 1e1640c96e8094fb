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
from pmlmm.priors.normal import NormalColumns, normal_columns
from pmlmm.priors.origin import Origin, origin_of
from pmlmm.priors.stated import HalfStudentT, Normal, Ridge

#: Smallest eigenvalue of the correlations of unpenalised columns that tells their coefficients apart.
COLLINEAR = 1e-12
#: Name of the group of all coefficients with a Normal prior.
_NORMAL = "Normal priors"


@dataclass(frozen=True)
class PenaltyGroup:
    """Coefficients that share one lambda, or one standard deviation in the units of y.

    They are ``columns`` of X, or all ``size`` columns of the wide block number ``block``. All coefficients with a
    Normal prior are one group: their columns are scaled so that one standard deviation, ``prior.sd``, serves all.
    """

    name: str
    columns: tuple[int, ...]
    prior: Ridge | Normal
    size: int
    block: int | None = None

    @property
    def absolute(self) -> bool:
        """Whether the prior is in the units of y, not of sigma."""
        return isinstance(self.prior, Normal)

    @property
    def learned(self) -> bool:
        """Whether lambda is to be learned."""
        return isinstance(self.prior, Ridge) and self.prior.lambda_ is None

    @property
    def log_lambda(self) -> float | None:
        """log lambda, or ``-log sd^2`` of a prior in the units of y; None where it is learned."""
        if isinstance(self.prior, Ridge):
            return None if self.prior.lambda_ is None else float(np.log(self.prior.lambda_))
        assert self.prior.sd is not None
        return -2.0 * float(np.log(self.prior.sd))


@dataclass(frozen=True)
class PriorSet:
    """The complete statement of the priors of one model.

    ``penalty_groups`` lists the groups with a proper prior, and ``normals`` says what is meant by those in the units of
    y; columns with a flat prior are in ``flat_columns``. ``covariances`` has one prior for each random-effect term;
    terms with the same number in ``shared`` have one A. Columns of X are divided by ``scales`` (p,), which gives a
    group one prior; ``means`` (p,) are the prior means, that of the intercept where columns are centred.
    ``standardized`` marks the penalised ones among the columns that are centred and scaled.
    ``origins`` says where the columns of each term have their zero inside.
    """

    penalty_groups: tuple[PenaltyGroup, ...]
    flat_columns: tuple[int, ...]
    normals: NormalColumns | None
    covariances: tuple[CovariancePrior, ...]
    shared: tuple[int, ...]
    origins: tuple[Origin, ...]
    sigma: HalfStudentT | Flat
    standardize: bool
    standardized: tuple[bool, ...]
    scales: tuple[float, ...]
    means: tuple[float, ...]

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
    groups, flat, normals = _penalty_groups(design, given.fixed, standardize)
    _refuse_collinear(design, flat)
    covariances = tuple(_covariance_prior(term, given.terms) for term in design.terms)
    sigma = _residual_prior(given.fixed.get(SIGMA, HalfStudentT()), design)
    penalised = np.zeros(len(design.coefficients), dtype=bool)
    for group in groups:
        penalised[list(group.columns)] = True
    penalised &= np.array([name != INTERCEPT for name in design.coefficients], dtype=bool)
    if standardize:
        _refuse_constant(design, penalised)
    return PriorSet(
        penalty_groups=groups,
        flat_columns=flat,
        normals=normals,
        covariances=covariances,
        shared=tuple(given.shared),
        origins=_origins(design, covariances, given.shared),
        sigma=sigma,
        standardize=standardize,
        standardized=tuple(bool(x) for x in penalised & standardize),
        scales=_scales(design, groups, normals, standardize),
        means=_means(design, groups, normals),
    )


def _penalty_groups(
    design: Design, given: dict[str, Any], standardize: bool
) -> tuple[tuple[PenaltyGroup, ...], tuple[int, ...], NormalColumns | None]:
    """Groups of coefficients with a proper prior, columns with a flat one, and what Normal priors mean."""
    members, priors = _members(design, given)
    if COMMON in given and COMMON not in members:
        raise PriorError(
            "priors has the key 'common', but no fixed effect is left in that group: the model has "
            f"{', '.join(map(repr, design.coefficients)) or 'no fixed effects'}."
        )
    groups: list[PenaltyGroup] = []
    flat: list[int] = []
    normal: dict[int, Normal] = {}
    for name, columns in members.items():
        prior = _fixed_effects_prior(name, priors[name])
        if prior is None:
            flat.extend(columns)
        elif isinstance(prior, Normal):
            normal |= dict.fromkeys(columns, prior)
        else:
            groups.append(PenaltyGroup(name, tuple(columns), prior, len(columns)))
    normals = normal_columns(design, normal, tuple(sorted(flat)), standardize)
    if normals is not None:
        own = Normal(0.0, normals.unit)
        groups.append(PenaltyGroup(_NORMAL, normals.columns, own, len(normals.columns)))
    return (*groups, *_wide_groups(design, given)), tuple(sorted(flat)), normals


def _members(design: Design, given: dict[str, Any]) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """A column belongs to the group of its own name, of its formula term, or to the common one; priors by group."""
    members: dict[str, list[int]] = {}
    priors: dict[str, Any] = {}
    for column, (name, term) in enumerate(zip(design.coefficients, design.coefficient_terms, strict=True)):
        own = name if name in given else term if term in given else None
        group = INTERCEPT if name == INTERCEPT else own or COMMON
        prior = given.get(group, Normal())
        if isinstance(prior, Grouped):
            group, prior = prior.name, prior.prior
        members.setdefault(group, []).append(column)
        priors[group] = prior
    return members, priors


def _wide_groups(design: Design, given: dict[str, Any]) -> list[PenaltyGroup]:
    groups = []
    for number, block in enumerate(design.wide):
        prior = _fixed_effects_prior(block.name, given.get(block.name, Ridge()))
        if prior is None:
            raise PriorError(
                f"priors[{block.name!r}]: a wide block needs a penalty; put columns without one into the formula."
            )
        if isinstance(prior, Normal):
            raise PriorError(
                f"priors[{block.name!r}] is a Normal, which says one standard deviation in the units of y; what a wide "
                "block of columns adds up to is for the data to say: give it pmlmm.Ridge(), whose lambda is learned, "
                "or put the columns into the formula."
            )
        groups.append(PenaltyGroup(block.name, (), prior, block.p, number))
    return groups


def _fixed_effects_prior(name: str, prior: Any) -> Ridge | Normal | None:
    """A checked prior; None for no penalty."""
    if isinstance(prior, Flat) or (isinstance(prior, Ridge) and prior.lambda_ == 0):
        return None
    if isinstance(prior, Normal):
        return prior
    if not isinstance(prior, Ridge):
        raise PriorError(
            f"priors[{name!r}] is {described(prior)}; the fixed effects {name!r} take pmlmm.Normal, pmlmm.Ridge or "
            "pmlmm.Flat."
        )
    if name != INTERCEPT and prior.mean != 0:
        raise PriorError(
            f"priors[{name!r}]: only the intercept can have a ridge with a mean other than 0; "
            f"pmlmm.Normal(mean={prior.mean!r}, sd=...) is a prior around it in the units of y."
        )
    return prior


def _scales(
    design: Design, groups: tuple[PenaltyGroup, ...], normals: NormalColumns | None, standardize: bool
) -> tuple[float, ...]:
    """Standard deviations of the columns with a ridge, and what gives those with a Normal prior one sd."""
    scales = np.ones(len(design.coefficients))
    for group in groups:
        columns = list(group.columns)
        if standardize and not group.absolute and group.name != INTERCEPT:
            scales[columns] = np.sqrt(design.variance(design.X[:, columns]))
    if normals is not None:
        scales[list(normals.columns)] = normals.unit / np.array(normals.sd)
    return tuple(scales.tolist())


def _means(design: Design, groups: tuple[PenaltyGroup, ...], normals: NormalColumns | None) -> tuple[float, ...]:
    means = np.zeros(len(design.coefficients))
    for group in groups:
        if isinstance(group.prior, Ridge) and group.name == INTERCEPT:
            mean = group.prior.mean
            means[list(group.columns)] = design.mean(design.net) if mean == "response" else mean
    if normals is not None:
        means[list(normals.columns)] = normals.mean
    return tuple(means.tolist())


def _covariance_prior(term: Term, given: dict[str, Any]) -> CovariancePrior:
    prior = given.get(term.name, given.get(term.factor, InverseWishart()))
    where = f"priors[{term.name!r}]"
    if not isinstance(prior, COVARIANCE_PRIORS):
        raise PriorError(
            f"{where} is {described(prior)}; a random-effect term takes pmlmm.InverseWishart or pmlmm.Flat."
        )
    prior.check(term, where)
    return prior


def _origins(design: Design, covariances: tuple[CovariancePrior, ...], shared: Sequence[int]) -> tuple[Origin, ...]:
    found, terms = [], design.terms
    for k, (term, prior) in enumerate(zip(terms, covariances, strict=True)):
        together = [other for other, leader in zip(terms, shared, strict=True) if leader == shared[k]]
        found.append(origin_of(term, prior.stated_origin, together, design.shares))
    return tuple(found)


def _residual_prior(prior: Any, design: Design) -> HalfStudentT | Flat:
    if isinstance(prior, Flat):
        return prior
    if not isinstance(prior, HalfStudentT):
        raise PriorError(f"priors['sigma'] is {described(prior)}; sigma takes pmlmm.HalfStudentT or pmlmm.Flat.")
    size = float(np.sqrt(design.variance(design.net) * design.typical_weight))
    return prior if prior.scale is not None else HalfStudentT(prior.nu, size)


def _refuse_collinear(design: Design, flat: tuple[int, ...]) -> None:
    """Collinear columns without a penalty have no unique coefficients."""
    if involved := collinear([design.coefficients[j] for j in flat], design.X[:, list(flat)], COLLINEAR):
        raise DataError(
            f"The unpenalised fixed effects {involved} are collinear: take one out, or give them a Normal prior."
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
