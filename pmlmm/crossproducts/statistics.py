"""Cross-products: the data are touched once, and every evaluation works on these sums."""

import itertools
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pmlmm.crossproducts.plan import Elimination, plan
from pmlmm.crossproducts.standardize import Standardization
from pmlmm.crossproducts.sums import Joint, between, by_level, pool, products_by_group, touched
from pmlmm.crossproducts.wide_basis import StandardizedBlock, standardize
from pmlmm.design.design import Design
from pmlmm.design.term import Term
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.eliminate.blocks import Block
from pmlmm.kernels.eliminate.eigenbasis import EigenbasisRidge
from pmlmm.kernels.eliminate.groups import Groups
from pmlmm.kernels.eliminate.nested import Nested
from pmlmm.kernels.eliminate.row_kernels import RowKernelRidge
from pmlmm.kernels.eliminate.sparse_groups import SparseGroups
from pmlmm.priors.origin import Origin
from pmlmm.priors.prior_set import PriorSet
from pmlmm.priors.search_space import ColumnSizes


@dataclass(frozen=True, eq=False)
class Segment:
    """Dense columns that belong together.

    ``kind`` is "gamma" (``index``: the random-effect term), "beta" (``index``: columns of X) or "alpha"
    (``index``: the wide block, in its own basis).
    """

    kind: str
    index: int | np.ndarray
    columns: slice


@dataclass(frozen=True, eq=False)
class Reduced:
    """One way of eliminating: what the kernels need, and what its dense columns are.

    Attributes
    ----------
    crossproducts : Crossproducts
    segments : tuple of Segment
    S : (m, q, q) array
        ``Z_i'Z_i`` of each group of the factor that is eliminated group by group; empty where two nested ones are.
    c : (m, q, w) array or None
        ``Z_i'[W, y]`` of each group; None where they are kept otherwise.
    wide_sums : WideSums or None
        Where wide blocks are eliminated first.
    """

    crossproducts: Crossproducts
    segments: tuple[Segment, ...]
    S: np.ndarray
    c: np.ndarray | None
    wide_sums: "WideSums | None"


@dataclass(frozen=True, eq=False)
class WideSums:
    """``C'C`` and ``C'[W, y]`` with C the columns of all wide blocks side by side."""

    gram: np.ndarray
    cross: np.ndarray


@dataclass(frozen=True, eq=False)
class Statistics:
    """All sums over the rows of one design.

    Attributes
    ----------
    standardization : Standardization
        Of the columns of X and of y.
    terms : tuple of Term
        Random-effect terms with their columns from the origin.
    wide : tuple of StandardizedBlock
    columns : ColumnSizes
        How large the columns are that priors act on.
    elimination : Elimination
        How the marginal likelihood eliminates the effects.
    """

    standardization: Standardization
    terms: tuple[Term, ...]
    wide: tuple[StandardizedBlock, ...]
    columns: ColumnSizes
    elimination: Elimination
    _design: Design
    _priors: PriorSet

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where the columns of each term have their zero here, and the way back."""
        return self._priors.origins

    @cached_property
    def marginal(self) -> Reduced:
        """For the marginal likelihood: beta and gamma integrated out."""
        return _assemble(self._design, self._priors, self.standardization, self.terms, self.wide, self.elimination)

    @cached_property
    def profile(self) -> Reduced:
        """For the profile likelihood: every coefficient among the dense columns."""
        if not self.elimination.wide_first:
            return self.marginal
        elimination = plan(self._design, tuple(block.rank for block in self.wide), profile=True)
        return _assemble(self._design, self._priors, self.standardization, self.terms, self.wide, elimination)

    def crossproducts(self, profile: bool = False) -> Crossproducts:
        """What the likelihood needs."""
        return (self.profile if profile else self.marginal).crossproducts


def build_statistics(
    design: Design,
    priors: PriorSet,
    standard: Standardization,
    *,
    method: str = "auto",
    factor: str | None = None,
) -> Statistics:
    """Standardise, rotate wide blocks, choose what is eliminated how; ``method`` and ``factor`` force that choice."""
    centred = standard.intercept is not None
    wide = tuple(standardize(block, priors.standardize, centred, design.shares) for block in design.wide)
    terms = tuple(_from_origin(term, origin) for term, origin in zip(design.terms, priors.origins, strict=True))
    return Statistics(
        standardization=standard,
        terms=terms,
        wide=wide,
        columns=ColumnSizes(
            moments=tuple(_moments(design, term.Z) for term in terms),
            largest=tuple(np.abs(term.Z).max(axis=0) for term in terms),
            wide=tuple(float(np.sum(design.mean(b.columns**2))) / b.block.p for b in wide),
        ),
        elimination=plan(design, tuple(block.rank for block in wide), profile=False, method=method, factor=factor),
        _design=design,
        _priors=priors,
    )


def _moments(design: Design, Z: np.ndarray) -> np.ndarray:
    """Mean of ``z z'`` over the rows, (q, q)."""
    return Z.T @ Z / len(Z) if design.shares is None else (Z.T * design.shares) @ Z / np.sum(design.shares)


def _from_origin(term: Term, origin: Origin) -> Term:
    return replace(term, Z=term.Z - origin.shift) if origin.moved else term


def _assemble(
    design: Design,
    priors: PriorSet,
    standard: Standardization,
    terms: tuple[Term, ...],
    wide: tuple[StandardizedBlock, ...],
    elimination: Elimination,
) -> Reduced:
    """Sums for one choice of what goes first; from here on rows are times the root of their weight."""
    X = design.whitened((design.X - standard.center) / standard.scale)
    Y = design.whitened(design.Y - standard.offset[:, None])
    columns = [design.whitened(block.columns) for block in wide]
    if design.weights is not None:
        terms = tuple(replace(term, Z=design.whitened(term.Z)) for term in terms)
    order = (elimination.within, elimination.factor) if elimination.within else (elimination.factor,)
    grouped = tuple(k for factor in order for k, term in enumerate(terms) if term.factor == factor)
    left = [k for k in range(len(terms)) if k not in grouped]
    segments, blocks = _columns(terms, left, priors, wide, elimination.wide_first)
    gammas = sum(terms[k].n_groups * terms[k].q for k in left)
    parts = [X[:, s.index] if s.kind == "beta" else columns[s.index] for s in segments if s.kind != "gamma"]
    M = np.hstack([*parts, Y])
    others = [terms[k] for k in left]
    S, c, wide_sums = np.zeros((0, 0, 0)), None, None
    if elimination.wide_first:
        first, wide_sums = _wide_first(others, M, wide, columns)
    elif elimination.within:
        first = _nested([terms[k] for k in grouped], elimination.within, M)
    else:
        own = [terms[k] for k in grouped]
        S, c, first = _groups_first(own, others, M)
    data = Crossproducts(
        first=first,
        sizes=design.sizes,
        levels=tuple(term.n_groups for term in terms),
        grouped=grouped,
        ridges=tuple(g for g, group in enumerate(priors.penalty_groups) if group.block is not None)
        if elimination.wide_first
        else (),
        blocks=blocks,
        gammas=gammas,
        counts=np.array([group.size for group in priors.penalty_groups], dtype=float),
        absolute=np.array([group.absolute for group in priors.penalty_groups], dtype=bool),
        n=float(len(Y)),
        log_weights=float(design.log_weights(np.zeros(design.n_rows, dtype=int), 1)[0]),
    )
    return Reduced(data, segments, S, c, wide_sums)


def _columns(
    terms: tuple[Term, ...],
    left: list[int],
    priors: PriorSet,
    wide: tuple[StandardizedBlock, ...],
    wide_first: bool,
) -> tuple[tuple[Segment, ...], tuple[Block, ...]]:
    """Order of the dense columns: random effects, penalty groups, flat columns."""
    segments: list[Segment] = []
    blocks: list[Block] = []
    position = 0

    def take(kind: str, index: int | np.ndarray, width: int) -> None:
        nonlocal position
        segments.append(Segment(kind, index, slice(position, position + width)))
        position += width

    for k in left:
        blocks.append(Block(position, terms[k].n_groups, terms[k].q, k, False))
        take("gamma", k, terms[k].n_groups * terms[k].q)
    for g, group in enumerate(priors.penalty_groups):
        if group.block is None:
            blocks.append(Block(position, len(group.columns), 1, g, True))
            take("beta", np.array(group.columns), len(group.columns))
        elif not wide_first:
            blocks.append(Block(position, wide[group.block].rank, 1, g, True))
            take("alpha", group.block, wide[group.block].rank)
    if priors.flat_columns:
        take("beta", np.array(priors.flat_columns), len(priors.flat_columns))
    return tuple(segments), tuple(blocks)


def _gram(terms: list[Term], M: np.ndarray) -> np.ndarray:
    """``[Z_1, ..., Z_k, M]'[Z_1, ..., Z_k, M]``, (w, w)."""
    edges = np.cumsum([0, *(term.n_groups * term.q for term in terms), M.shape[1]])
    gram = np.empty((edges[-1],) * 2)
    slices = [slice(a, b) for a, b in itertools.pairwise(edges)]
    for k, term in enumerate(terms):
        for j in range(k + 1):
            gram[slices[k], slices[j]] = between(term, terms[j])
            gram[slices[j], slices[k]] = gram[slices[k], slices[j]].T
        across = by_level(term, M).reshape(-1, M.shape[1])
        gram[slices[k], slices[-1]], gram[slices[-1], slices[k]] = across, across.T
    gram[slices[-1], slices[-1]] = M.T @ M
    return gram


def _wide_first(
    terms: list[Term], M: np.ndarray, wide: tuple[StandardizedBlock, ...], columns: list[np.ndarray]
) -> tuple[EigenbasisRidge | RowKernelRidge, WideSums]:
    C = np.hstack(columns)
    across = [by_level(term, C).reshape(-1, C.shape[1]).T for term in terms]
    sums = WideSums(C.T @ C, np.hstack([*across, C.T @ M]))
    if len(wide) == 1:
        squares, V = wide[0].directions(columns[0])
        return EigenbasisRidge(squares, (V / np.sqrt(squares)).T @ sums.cross, _gram(terms, M)), sums
    rows = np.hstack([*(_dense_rows(term) for term in terms), M])
    return RowKernelRidge(np.stack([own @ own.T for own in columns]), rows), sums


def dense_columns(design: Design, statistics: Statistics) -> np.ndarray:
    """W written out, (n, r), without weights: the columns that the marginal likelihood eliminates last."""
    X = (design.X - statistics.standardization.center) / statistics.standardization.scale
    parts = [np.zeros((design.n_rows, 0))]
    for segment in statistics.marginal.segments:
        if segment.kind == "gamma":
            parts.append(_dense_rows(statistics.terms[segment.index]))
        elif segment.kind == "alpha":
            parts.append(statistics.wide[segment.index].columns)
        else:
            parts.append(X[:, segment.index])
    return np.hstack(parts)


def _dense_rows(term: Term) -> np.ndarray:
    """Z with a column for every effect of every group, (n, m q)."""
    n = len(term.Z)
    rows = np.zeros((n, term.n_groups, term.q))
    rows[np.arange(n), term.grouping.codes] = term.Z
    return rows.reshape(n, -1)


def _groups_first(own: list[Term], others: list[Term], M: np.ndarray):
    """``S``, ``c`` (None if sparse) and the kernel's cross-products for one factor's terms."""
    sizes = tuple(term.q for term in own)
    gram = _gram(others, M)
    if not own:
        empty = np.zeros((0, 0, gram.shape[0]))
        S = np.zeros((0, 0, 0))
        return S, empty, Groups(S, np.zeros(0), np.zeros(1, dtype=int), empty, gram, sizes)
    joint = Joint(np.hstack([term.Z for term in own]), own[0].grouping)
    S = products_by_group(joint)
    if others:
        return S, None, SparseGroups(S, *touched(joint, others, M), gram, sizes)
    c = by_level(joint, M)
    designs, weights, starts, cross = pool(S, c)
    return S, c, Groups(designs, weights, starts, cross, gram, sizes)


def _nested(own: list[Term], within: str, M: np.ndarray) -> Nested:
    """Cross-products of the terms of two nested factors; those of the outer one, ``within``, come first."""
    outer = [term for term in own if term.factor == within]
    inner = own[len(outer) :]
    Z, groups, codes = np.hstack([term.Z for term in outer]), outer[0].grouping, inner[0].grouping.codes
    joint = Joint(np.hstack([term.Z for term in inner]), inner[0].grouping)
    of_inner = np.empty(joint.n_groups, dtype=int)
    of_inner[codes] = groups.codes
    order = np.argsort(of_inner, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(of_inner, minlength=groups.n_groups))])
    whole = Joint(Z, groups)
    return Nested(
        designs=products_by_group(joint)[order],
        cross=by_level(joint, np.hstack([Z, M]))[order],
        starts=starts,
        outer_designs=products_by_group(whole),
        outer_cross=by_level(whole, M),
        gram=M.T @ M,
        order=order,
        sizes=tuple(term.q for term in own),
    )
