"""Which part of a model is eliminated how: decided by sizes, and said in words."""

import os
from dataclasses import dataclass

from pmlmm.design.design import Design
from pmlmm.errors import DataError

# Matrices of the dense part that one evaluation of the Hessian holds at a time.
_MATRICES = 7
# Kernels of several blocks cost n^3 for every lambda: up to so many rows.
_MOST_KERNEL_ROWS = 3_000


@dataclass(frozen=True)
class Elimination:
    """How the likelihood integrates the effects out.

    Attributes
    ----------
    factor : str or None
        The grouping factor that is eliminated group by group.
    wide_first : bool
        Wide blocks are eliminated first, in the space of the rows, instead of a factor.
    dense : int
        Number of columns that are left for one dense factorisation.
    words : str
    """

    factor: str | None
    wide_first: bool
    dense: int
    words: str

    @property
    def gigabytes(self) -> float:
        """Memory that the dense part takes, about."""
        return _gigabytes(self.dense)


def _gigabytes(dense: int) -> float:
    return _MATRICES * 8.0 * dense**2 / 1e9


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
    method : "auto", "groups" or "wide"
        Force a choice (for checks of one against the other).
    factor : str, optional
        Which factor goes group by group, with method "groups"; the one with most effects by default.

    Raises
    ------
    DataError
        The dense part does not fit in memory.
    """
    totals = {g.factor: g.n_groups * design.effects(g.factor) for g in design.groupings}
    factor = factor or (max(totals, key=totals.get) if totals else None)
    narrow, every = len(design.coefficients), sum(totals.values())
    by_groups = every - totals.get(factor, 0) + narrow + sum(ranks)
    by_rows = every + narrow
    several = len(ranks) > 1
    allowed = bool(ranks) and not profile and (not several or design.n_rows <= _MOST_KERNEL_ROWS)
    wide_first = allowed and (method == "wide" or (method == "auto" and by_rows < by_groups))
    if wide_first:
        result = Elimination(None, True, by_rows, _wide_words(design, by_rows))
    else:
        result = Elimination(factor, False, by_groups, _group_words(design, factor, totals, ranks, by_groups))
    _refuse_too_large(result, totals)
    return result


def _wide_words(design: Design, dense: int) -> str:
    names = ", ".join(f"{block.name} ({block.p} columns)" for block in design.wide)
    return (
        f"{names} first, in the space of the {design.n_rows} rows; then {dense} columns (all random effects and the "
        f"formula's fixed effects) in one dense factorisation{_memory(dense)}"
    )


def _group_words(design: Design, factor: str | None, totals: dict[str, int], ranks: tuple[int, ...], dense: int) -> str:
    if factor is None:
        start = "no random effects; "
    else:
        grouping = next(g for g in design.groupings if g.factor == factor)
        q = design.effects(factor)
        start = f"{factor} group by group ({grouping.n_groups} groups of {q} effect{'s' * (q > 1)}); then "
    parts = [f"{name} ({count})" for name, count in totals.items() if name != factor]
    if design.coefficients:
        parts.append(f"fixed effects ({len(design.coefficients)})")
    for block, rank in zip(design.wide, ranks, strict=True):
        rotated = f", rotated from {block.p}" if rank < block.p else ""
        parts.append(f"{block.name} ({rank}{rotated})")
    if not parts:
        return start.removesuffix("; then ")
    return f"{start}{', '.join(parts)}: {dense} column{'s' * (dense != 1)} in one dense factorisation{_memory(dense)}"


def _memory(dense: int) -> str:
    size = _gigabytes(dense)
    return f", about {size:.2g} GB" if size >= 0.05 else ""


def _refuse_too_large(elimination: Elimination, totals: dict[str, int]) -> None:
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return
    if elimination.gigabytes > available:
        rest = ", ".join(f"{name}: {count}" for name, count in totals.items() if name != elimination.factor)
        raise DataError(
            f"{elimination.dense} effects would have to be eliminated in one dense factorisation "
            f"({rest or 'wide blocks'}; only the largest factor goes group by group): about "
            f"{elimination.gigabytes:.0f} GB, and this machine has {available:.0f}. Leave a factor out."
        )
