"""Which effects of a model are eliminated how, and the memory that takes, in words."""

from pmlmm.crossproducts.plan import Elimination
from pmlmm.design.design import Design
from pmlmm.memory import in_words
from pmlmm.problem import Problem

# Less memory than this (bytes) is not worth saying.
_WORTH_SAYING = 5e7


def structure(problem: Problem) -> str:
    """One sentence; see :attr:`pmlmm.Model.structure`."""
    design, plan = problem.design, problem.statistics.elimination
    if plan.wide_first:
        words = _wide_first(design, plan)
    else:
        words = _groups_first(design, plan, tuple(block.rank for block in problem.statistics.wide))
    return words + _hessian(design, plan)


def _wide_first(design: Design, plan: Elimination) -> str:
    names = ", ".join(f"{block.name} ({block.p} columns)" for block in design.wide)
    return (
        f"{names} first, in the space of the {design.n_rows} rows; then {plan.dense} columns (all random effects and "
        f"the formula's fixed effects) in one dense factorisation{_memory(plan.dense_bytes)}"
    )


def _groups_first(design: Design, plan: Elimination, ranks: tuple[int, ...]) -> str:
    start = "no random effects; "
    if plan.factor is not None:
        grouping = next(g for g in design.groupings if g.factor == plan.factor)
        q = design.effects(plan.factor)
        start = f"{plan.factor} group by group ({grouping.n_groups} groups of {q} effect{'s' * (q > 1)}); then "
    if plan.within is not None:
        outer = next(g for g in design.groupings if g.factor == plan.within)
        start += f"{plan.within}, whose {outer.n_groups} groups they are in; then "
    others = [g for g in design.groupings if g.factor not in (plan.factor, plan.within)]
    parts = [f"{g.factor} ({g.n_groups * design.effects(g.factor)})" for g in others]
    if design.coefficients:
        parts.append(f"fixed effects ({len(design.coefficients)})")
    for block, rank in zip(design.wide, ranks, strict=True):
        rotated = f", rotated from {block.p}" if rank < block.p else ""
        parts.append(f"{block.name} ({rank}{rotated})")
    if not parts:
        return start.removesuffix("; then ")
    columns = f"{plan.dense} column{'s' * (plan.dense != 1)}"
    return f"{start}{', '.join(parts)}: {columns} in one dense factorisation{_memory(plan.dense_bytes)}"


def _memory(size: float) -> str:
    return f", about {in_words(size)}" if size >= _WORTH_SAYING else ""


def _hessian(design: Design, plan: Elimination) -> str:
    if plan.hessian_bytes < _WORTH_SAYING:
        return ""
    entries = sum(q * (q + 1) // 2 for q in design.sizes)
    return f"; Hessians in {entries} entries of covariances{_memory(plan.hessian_bytes)}"
