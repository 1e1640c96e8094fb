"""What the keys of ``Model(priors=...)`` mean: fixed effects, random-effect terms, or tuples of either."""

from dataclasses import dataclass, field
from typing import Any

from pmlmm.design.design import Design
from pmlmm.errors import PriorError, suggest
from pmlmm.priors.covariance import CovariancePrior
from pmlmm.priors.flat import Flat
from pmlmm.priors.stated import Normal, Ridge

INTERCEPT, COMMON, SIGMA = "Intercept", "common", "sigma"


@dataclass(frozen=True)
class Grouped:
    """A prior for several fixed effects, with one lambda if it is a ridge; ``name`` is the group's."""

    name: str
    prior: Any


@dataclass(frozen=True)
class Given:
    """Priors by the name of the part: fixed effects, blocks and sigma; and random-effect terms or factors.

    ``shared`` has, for each term, the first of those that share its A.
    """

    fixed: dict[str, Any] = field(default_factory=dict)
    terms: dict[str, Any] = field(default_factory=dict)
    shared: list[int] = field(default_factory=list)


def match(priors: dict[Any, Any], design: Design) -> Given:
    """Sort the priors by what their keys name.

    A name that is both a fixed effect and a factor means the one that the prior is made for; ``"| name"``
    is the factor in any case.

    Raises
    ------
    PriorError
        A key that names nothing, or several things, or something twice.
    """
    fixed, terms = _names(design)
    given = Given(shared=list(range(len(design.terms))))
    for key, prior in priors.items():
        names = key if isinstance(key, tuple) else (key,)
        if not names:
            raise PriorError("priors has an empty tuple as a key: a penalty group needs at least one fixed effect.")
        kinds = {_kind(name, prior, fixed, terms) for name in names}
        if len(kinds) > 1:
            raise PriorError(
                f"priors has the key {key!r}, which mixes random-effect terms with other parts of the model."
            )
        if kinds == {"term"}:
            _add(given.terms, {_bare(name): prior for name in names})
            _share([_bare(name) for name in names], design, given.shared)
        elif isinstance(key, tuple):
            _refuse_alone(key, design)
            _add(given.fixed, dict.fromkeys(names, Grouped(", ".join(map(str, key)), prior)))
        else:
            _add(given.fixed, {key: prior})
    return given


def _names(design: Design) -> tuple[list[str], list[str]]:
    """Valid keys for fixed effects, blocks and sigma; and for random-effect terms."""
    fixed = [*design.coefficients, *design.coefficient_terms, COMMON, *(block.name for block in design.wide), SIGMA]
    terms = [name for term in design.terms for name in (term.name, term.factor)]
    return [name for name in dict.fromkeys(fixed) if name != "1"], list(dict.fromkeys(terms))


def _bare(name: str) -> str:
    return name.removeprefix("|").strip()


def _kind(name: Any, prior: Any, fixed: list[str], terms: list[str]) -> str:
    if isinstance(name, str) and name.startswith("|") and _bare(name) in terms:
        return "term"
    if name not in fixed and name not in terms:
        raise PriorError(
            f"priors has the key {name!r}, which names nothing in the model." + suggest(name, [*fixed, *terms])
        )
    if name in fixed and name in terms:
        if isinstance(prior, Flat) or not isinstance(prior, CovariancePrior | Ridge | Normal):
            raise PriorError(
                f"priors[{name!r}]: {name!r} is a fixed effect and a grouping factor. Use '| {name}' for the latter, "
                "and Ridge(lambda_=0) for a fixed effect without penalty."
            )
        return "term" if isinstance(prior, CovariancePrior) else "fixed"
    return "term" if name in terms else "fixed"


def _add(known: dict[str, Any], new: dict[str, Any]) -> None:
    for name, prior in new.items():
        if name in known:
            raise PriorError(f"priors has {name!r} in two keys: give it one prior.")
        known[name] = prior


def _share(names: list[str], design: Design, shared: list[int]) -> None:
    """A tuple of random-effect terms has one A."""
    if len(names) < 2:
        return
    members = [k for k, term in enumerate(design.terms) if term.name in names or term.factor in names]
    if len({design.terms[k].q for k in members}) > 1:
        sizes = ", ".join(f"{design.terms[k].name}: {design.terms[k].q}" for k in members)
        raise PriorError(f"priors[{tuple(names)!r}]: terms that share A need the same number of effects ({sizes}).")
    for k in members:
        shared[k] = members[0]


def _refuse_alone(key: tuple[str, ...], design: Design) -> None:
    alone = {INTERCEPT, COMMON, SIGMA, *(block.name for block in design.wide)} & set(key)
    if alone:
        raise PriorError(
            f"priors has the key {key!r}: {sorted(alone)[0]!r} cannot share a prior. Tuples are for columns of "
            "the formula, or for random-effect terms that share A."
        )
