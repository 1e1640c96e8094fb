"""Which part of a model is eliminated how, decided by sizes."""

from dataclasses import dataclass

from pmlmm.design.design import Design
from pmlmm.memory import refuse_beyond

# Matrices of the dense part that one evaluation of the Hessian holds at a time.
_MATRICES = 7
# Hessians in the covariances' entries that are held at a time.
_HESSIANS = 3
# Kernels of several blocks cost n^3 for every lambda: up to so many rows.
_MOST_KERNEL_ROWS = 3_000
# Up to so many effects of an outer factor a dense factorisation is as fast.
_FEW_OUTER = 40
# Columns beside two nested factors that every inner group has its cross-products with.
_MOST_BESIDE = 200


@dataclass(frozen=True)
class Elimination:
    """How the likelihood integrates the effects out.

    Attributes
    ----------
    factor : str or None
        The grouping factor that is eliminated group by group.
    within : str or None
        The factor whose groups contain those of ``factor``, where it is eliminated after it, group by group too.
    wide_first : bool
        Wide blocks are eliminated first, in the space of the rows, instead of a factor.
    dense : int
        Number of columns that are left for one dense factorisation.
    dense_bytes, hessian_bytes : float
        Memory that the dense part takes, and Hessians in the covariances' entries.
    """

    factor: str | None
    within: str | None
    wide_first: bool
    dense: int
    dense_bytes: float
    hessian_bytes: float


def _dense_bytes(dense: int) -> float:
    return _MATRICES * 8.0 * dense**2


def _hessian_bytes(design: Design) -> float:
    """Hessians in the covariances' entries and their hyperparameters."""
    return _HESSIANS * 8.0 * (2.0 * _covariance_entries(design)) ** 2


def _covariance_entries(design: Design) -> int:
    return 1 + sum(q * (q + 1) // 2 for q in design.sizes)


def plan(
    design: Design, ranks: tuple[int, ...], *, profile: bool, method: str = "auto", factor: str | None = None
) -> Elimination:
    """Choose what is eliminated first so that the dense part is small.

    Parameters
    ----------
    design : Design
    ranks : tuple of int
        Columns that each wide block takes, ``min(n, p)``.
    profile : bool
        Coefficients have to stay among the dense columns.
    method : "auto", "groups", "nested" or "wide"
        Force a choice (for checks of one against the other).
    factor : str, optional
        Which factor goes group by group, with method "groups"; the one with most effects by default.

    Raises
    ------
    DataError
        The dense part, or the Hessian, does not fit in memory.
    """
    totals = {g.factor: g.n_groups * design.effects(g.factor) for g in design.groupings}
    factor = factor or (max(totals, key=totals.__getitem__) if totals else None)
    narrow, every = len(design.coefficients), sum(totals.values())
    by_groups = every - (totals[factor] if factor else 0) + narrow + sum(ranks)
    by_rows = every + narrow
    several = len(ranks) > 1
    allowed = bool(ranks) and not profile and (not several or design.n_rows <= _MOST_KERNEL_ROWS)
    wide_first = allowed and (method == "wide" or (method == "auto" and by_rows < by_groups))
    if wide_first:
        result = Elimination(None, None, True, by_rows, _dense_bytes(by_rows), _hessian_bytes(design))
    elif method in ("auto", "nested") and (outer := _outer(design, ranks, 0 if method == "nested" else _FEW_OUTER)):
        dense = narrow + sum(ranks)
        result = Elimination(factor, outer, False, dense, _dense_bytes(dense), _hessian_bytes(design))
    else:
        result = Elimination(factor, None, False, by_groups, _dense_bytes(by_groups), _hessian_bytes(design))
    _refuse_too_large(result, design, totals)
    return result


def _outer(design: Design, ranks: tuple[int, ...], few: int) -> str | None:
    """The outer one of two nested factors, where there are no others and it has more than a ``few`` effects."""
    if len(design.groupings) != 2 or len(design.coefficients) + sum(ranks) > _MOST_BESIDE:
        return None
    outer, inner = sorted(design.groupings, key=lambda g: g.n_groups * design.effects(g.factor))
    many = outer.n_groups * design.effects(outer.factor) > few
    return outer.factor if many and inner.within(outer) else None


def _refuse_too_large(elimination: Elimination, design: Design, totals: dict[str, int]) -> None:
    rest = ", ".join(f"{name}: {count}" for name, count in totals.items() if name != elimination.factor)
    refuse_beyond(
        elimination.dense_bytes,
        f"{elimination.dense} effects would have to be eliminated in one dense factorisation ({rest or 'wide blocks'}; "
        "only the largest factor goes group by group): that",
        "Leave a factor out.",
    )
    if design.terms:
        widest = sorted(design.terms, key=lambda term: term.q)[-1]
        refuse_beyond(
            elimination.hessian_bytes,
            f"The covariance of the {widest.q} effects of {widest.name!r} has {widest.q * (widest.q + 1) // 2} "
            "entries: Hessians in them",
            f"Levels of a factor as effects of their own are (1 | {widest.factor}:...), with one variance; "
            f"uncorrelated effects are (... || {widest.factor}).",
        )
