"""The marginal likelihood and its gradient as one compiled function, for samplers.

The same numbers as :func:`pmlmm.kernels.likelihood.evaluate` without the Hessian, callable from compiled
code: a sampler calls it a hundred thousand times. :func:`pack` turns cross-products into the arrays that
it takes; the first elimination differs by kind (:mod:`pmlmm.kernels.first`), the rest is common.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels.crossproducts import _apply, _weigh_chunk, factor_design, mirror_in_place
from pmlmm.kernels.dense import Block, _apply_to_columns, _apply_to_rows
from pmlmm.kernels.derivatives import LOG_2PI
from pmlmm.kernels.first import Groups, Kernels, Rotated, SparseGroups
from pmlmm.kernels.interrupts import interruptible
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.likelihood import Crossproducts
from pmlmm.kernels.small_matrices import congruence, factor, inverse_factor, outside, root_gram
from pmlmm.kernels.sparse import _reduce as _reduce_sparse
from pmlmm.kernels.sparse import _weigh_chunk as _weigh_sparse

_KINDS = {"groups": Groups, "sparse": SparseGroups, "rotated": Rotated, "kernels": Kernels}
_FIELDS = {
    "groups": ("designs", "weights", "starts", "cross", "gram"),
    "sparse": ("designs", "starts", "columns", "cross", "gram"),
    "rotated": ("squares", "projected", "gram"),
    "kernels": ("kernels", "rows"),
}
#: Types and dimensions of the arrays that every kind has.
PLAN = (("int64", 1),) * 4 + (("int64", 2), ("float64", 1), ("float64", 1))
_TYPES = {
    "groups": (("float64", 3), ("float64", 1), ("int64", 1), ("float64", 3), ("float64", 2)),
    "sparse": (("float64", 3), ("int64", 1), ("int64", 1), ("float64", 2), ("float64", 2)),
    "rotated": (("float64", 1), ("float64", 2), ("float64", 2)),
    "kernels": (("float64", 3), ("float64", 2)),
}


def signature(kind: str) -> tuple[tuple[str, int], ...]:
    """Type and number of dimensions of every array of a :class:`Packed` of this kind."""
    return PLAN + _TYPES[kind]


class Packed(NamedTuple):
    """Cross-products as arrays: what is eliminated first, and everything in the order of :func:`pack`."""

    kind: str
    arrays: tuple[np.ndarray, ...]

    @property
    def plan(self) -> tuple[np.ndarray, ...]:
        """Where everything stands: the same arrays for every kind."""
        return self.arrays[: len(PLAN)]

    @property
    def first(self) -> tuple[np.ndarray, ...]:
        """Those of the first elimination."""
        return self.arrays[len(PLAN) :]


def pack(data: Crossproducts) -> Packed:
    """Arrays (sizes, levels, grouped, ridges, blocks, counts, scalars, and those of the first elimination)."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(data.first, cls))
    whole = [np.array(x, dtype=np.int64) for x in (data.sizes, data.levels, data.grouped, data.ridges)]
    blocks = np.array([tuple(block) for block in data.blocks], dtype=np.int64).reshape(-1, len(Block._fields))
    numbers = [np.array(data.counts, dtype=float), np.array([data.gammas, data.n], dtype=float)]
    first = [np.ascontiguousarray(getattr(data.first, name)) for name in _FIELDS[kind]]
    first = [x if x.dtype == np.float64 else x.astype(np.int64) for x in first]
    return Packed(kind, (*whole, blocks, *numbers, *first))


def unpack(packed: Packed) -> Crossproducts:
    """Inverse of :func:`pack`."""
    sizes, levels, grouped, ridges, blocks, counts, scalars, *first = packed.arrays
    values = dict(zip(_FIELDS[packed.kind], first, strict=True))
    sizes = tuple(sizes.tolist())
    if packed.kind in ("groups", "sparse"):
        values["sizes"] = tuple(sizes[k] for k in grouped)
    return Crossproducts(
        _KINDS[packed.kind](**values),
        sizes,
        tuple(levels.tolist()),
        tuple(grouped.tolist()),
        tuple(ridges.tolist()),
        tuple(Block(*row[:4], bool(row[4])) for row in blocks.tolist()),
        int(scalars[0]),
        counts,
        float(scalars[1]),
    )


@kernel
def _roots(u: np.ndarray, sizes: np.ndarray):
    """Lower factors of Sigma_k / sigma^2, padded to (K, q, q) of the largest q; whether all are proper."""
    largest = 1
    for q in sizes:
        largest = max(largest, q)
    roots, at = np.zeros((sizes.shape[0], largest, largest)), 1
    for k in range(sizes.shape[0]):
        q = sizes[k]
        root = np.zeros((q, q))  # of its own, as every layout of an argument is compiled anew
        for a in range(q):
            for b in range(a + 1):
                root[a, b] = u[at] / u[0] ** 2
                at += 1
        if not factor(root):
            return roots, False
        for a in range(q):
            for b in range(a + 1):
                roots[k, a, b] = root[a, b]
    return roots, True


@kernel
def _joint_root(roots: np.ndarray, sizes: np.ndarray, grouped: np.ndarray):
    """Block-diagonal factor of the terms that are eliminated group by group."""
    total = 0
    for k in grouped:
        total += sizes[k]
    L, first = np.zeros((total, total)), 0
    for k in grouped:
        q = sizes[k]
        L[first : first + q, first : first + q] = roots[k, :q, :q]
        first += q
    return L


@kernel
def _block_root(block: np.ndarray, roots: np.ndarray, log_lambda: np.ndarray):
    q, root = block[2], np.empty((1, block[2], block[2]))
    if block[4]:
        root[0, 0, 0] = np.exp(-0.5 * log_lambda[block[3]])
    else:
        root[0] = roots[block[3], :q, :q]
    return root


@kernel
def _dense(Q: np.ndarray, blocks: np.ndarray, roots: np.ndarray, log_lambda: np.ndarray):
    """Eliminate the dense columns; see :class:`pmlmm.kernels.dense.ConditionalEffects`.

    Returns whether P is positive definite, log|P|, q_tilde, J, w = (-mean, 1), and the whitened effects
    with their covariance.
    """
    r = Q.shape[0] - 1
    P, right = np.empty((1, r, r)), np.empty((1, r, 1))
    P[0], right[0, :, 0] = Q[:r, :r], Q[:r, r]
    for block in blocks:
        root = _block_root(block, roots, log_lambda)
        _apply_to_rows(P, block[0], block[1], root)
        _apply_to_columns(P, block[0], block[1], root)
        _apply_to_rows(right, block[0], block[1], root)
        for a in range(block[0], block[0] + block[1] * block[2]):
            P[0, a, a] += 1.0
    w, log_det, q_tilde = np.ones(r + 1), 0.0, Q[r, r]
    if not factor(P[0]):
        return False, log_det, q_tilde, P[0], w, w, P[0]
    inverse_root, half = inverse_factor(P[0]), np.zeros(r)
    for a in range(r):
        log_det += 2.0 * np.log(P[0, a, a])
        for b in range(a + 1):
            half[a] += inverse_root[a, b] * right[0, b, 0]
        q_tilde -= half[a] ** 2
    standard, inverse = np.zeros(r), root_gram(inverse_root)
    for a in range(r):
        for b in range(a + 1):
            standard[b] += inverse_root[a, b] * half[a]
    J, mean = np.empty((1, r, r)), np.empty((1, r, 1))
    J[0], mean[0, :, 0] = inverse, standard
    for block in blocks:
        turned = np.ascontiguousarray(np.transpose(_block_root(block, roots, log_lambda), (0, 2, 1)))
        _apply_to_rows(J, block[0], block[1], turned)
        _apply_to_columns(J, block[0], block[1], turned)
        _apply_to_rows(mean, block[0], block[1], turned)
    w[:r] = -mean[0, :, 0]
    return True, log_det, q_tilde, J[0], w, standard, inverse


@kernel
def _add_block_slopes(
    gradient: np.ndarray,
    variance: float,
    sizes: np.ndarray,
    blocks: np.ndarray,
    roots: np.ndarray,
    standard: np.ndarray,
    inverse: np.ndarray,
):
    """Add the derivatives of ``log|P| + q_tilde / variance`` along the blocks' parameters."""
    d = 1
    for q in sizes:
        d += q * (q + 1) // 2
    for block in blocks:
        start, levels, q = block[0], block[1], block[2]
        T = np.zeros((q, q))
        for level in range(levels):
            for a in range(q):
                T[a, a] += 1.0
                for b in range(q):
                    i, j = start + level * q + a, start + level * q + b
                    T[a, b] -= inverse[i, j] + standard[i] * standard[j] / variance
        if block[4]:
            gradient[d + block[3]] -= T[0, 0]
            continue
        at = 1
        for k in range(block[3]):
            at += sizes[k] * (sizes[k] + 1) // 2
        back = inverse_factor(np.ascontiguousarray(roots[block[3], :q, :q]))
        _add_vech(gradient, at, congruence(back, T))


@kernel
def _add_vech(gradient: np.ndarray, at: int, total: np.ndarray):
    """Add ``d tr(total dX) / d vech X`` from entry ``at`` on."""
    for a in range(total.shape[0]):
        for b in range(a + 1):
            gradient[at] += total[a, b] * (1.0 if a == b else 2.0)
            at += 1


@kernel
def _add_group_slopes(gradient: np.ndarray, sizes: np.ndarray, grouped: np.ndarray, total: np.ndarray):
    """Add the derivatives along the covariances of the terms that are eliminated group by group."""
    first = 0
    for k in grouped:
        at, q = 1, sizes[k]
        for j in range(k):
            at += sizes[j] * (sizes[j] + 1) // 2
        _add_vech(gradient, at, total[first : first + q, first : first + q])
        first += q


@kernel
def _finish(
    u: np.ndarray,
    inner: np.ndarray,
    sizes: np.ndarray,
    blocks: np.ndarray,
    n: float,
    r: int,
    log_dets: float,
    q_tilde: float,
):
    """Value, and the gradient in u from that of -2 log-likelihood in (log sigma, relative covariances, log lambda)."""
    d, flat = 1, r
    for q in sizes:
        d += q * (q + 1) // 2
    for block in blocks:
        flat -= block[1] * block[2]
    variance, power = u[0] ** 2, n - flat
    value = -0.5 * (power * (LOG_2PI + np.log(variance)) + log_dets + q_tilde / variance)
    gradient = -0.5 * inner
    gradient[0] = (q_tilde / variance - power) / u[0]
    for j in range(1, d):
        gradient[0] -= 2.0 * u[j] / variance * gradient[j] / u[0]
    for j in range(1, d):
        gradient[j] /= variance
    return value, gradient


@kernel
def groups(u: np.ndarray, plan: tuple, first: tuple):
    """Value and gradient where one factor goes group by group (:class:`pmlmm.kernels.first.Groups`)."""
    sizes, _, grouped, _, blocks, counts, scalars = plan
    designs, weights, starts, cross, gram = first
    roots, proper = _roots(u, sizes)
    if not (proper and u[0] > 0.0):
        return outside(u)
    L = _joint_root(roots, sizes, grouped)
    q, width = L.shape[0], gram.shape[0]
    V, R, J_, B = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    T, D, Q, total, log_det = np.empty((q, width)), np.empty_like(cross), gram.copy(), np.zeros((q, q)), 0.0
    for d in range(designs.shape[0]):
        log_det += weights[d] * factor_design(designs[d], L, V, R, J_, B)
        total += weights[d] * B
        for k in range(starts[d], starts[d + 1]):
            _apply(V, cross[k], T)
            _apply(R, cross[k], D[k])
            for a in range(q):
                for i in range(width):
                    for j in range(i + 1):
                        Q[i, j] -= T[a, i] * T[a, j]
    mirror_in_place(Q)
    log_lambda = u[u.shape[0] - counts.shape[0] :]
    proper, more, q_tilde, J, w, standard, inverse = _dense(Q, blocks, roots, log_lambda)
    if not proper:
        return outside(u)
    N = np.empty((cross.shape[0], q, q))
    _weigh_chunk(D, J, w, 1.0 / u[0] ** 2, 0, cross.shape[0], N)
    for k in range(N.shape[0]):
        total -= N[k]
    inner = np.zeros(u.shape[0])
    _add_group_slopes(inner, sizes, grouped, total)
    _add_block_slopes(inner, u[0] ** 2, sizes, blocks, roots, standard, inverse)
    return _finish(u, inner, sizes, blocks, scalars[1], width - 1, log_det + more, q_tilde)


@kernel
def sparse(u: np.ndarray, plan: tuple, first: tuple):
    """The same with sparse cross-products (:class:`pmlmm.kernels.first.SparseGroups`)."""
    sizes, _, grouped, _, blocks, counts, scalars = plan
    designs, starts, columns, cross, gram = first
    roots, proper = _roots(u, sizes)
    if not (proper and u[0] > 0.0):
        return outside(u)
    L = _joint_root(roots, sizes, grouped)
    B, D, Q = np.empty_like(designs), np.empty_like(cross), gram.copy()
    log_det = _reduce_sparse(designs, starts, columns, cross, L, B, D, Q, True)
    mirror_in_place(Q)
    log_lambda = u[u.shape[0] - counts.shape[0] :]
    proper, more, q_tilde, J, w, standard, inverse = _dense(Q, blocks, roots, log_lambda)
    if not proper:
        return outside(u)
    N = np.empty_like(designs)
    _weigh_sparse(starts, columns, D, J, w, 1.0 / u[0] ** 2, 0, designs.shape[0], N)
    total = np.zeros(L.shape)
    for i in range(designs.shape[0]):
        total += B[i] - N[i]
    inner = np.zeros(u.shape[0])
    _add_group_slopes(inner, sizes, grouped, total)
    _add_block_slopes(inner, u[0] ** 2, sizes, blocks, roots, standard, inverse)
    return _finish(u, inner, sizes, blocks, scalars[1], gram.shape[0] - 1, log_det + more, q_tilde)


@kernel
def rotated(u: np.ndarray, plan: tuple, first: tuple):
    """The same where one penalty group goes first in its eigenbasis (:class:`pmlmm.kernels.first.Rotated`)."""
    sizes, _, _, ridges, blocks, counts, scalars = plan
    squares, projected, gram = first
    roots, proper = _roots(u, sizes)
    if not (proper and u[0] > 0.0):
        return outside(u)
    log_lambda = u[u.shape[0] - counts.shape[0] :]
    excess = squares * np.exp(-log_lambda[ridges[0]])
    shrunk = excess / (1.0 + excess)
    Q = gram - np.ascontiguousarray(projected.T) @ (projected * shrunk.reshape(-1, 1))
    proper, more, q_tilde, J, w, standard, inverse = _dense(Q, blocks, roots, log_lambda)
    if not proper:
        return outside(u)
    r = gram.shape[0] - 1
    effects = np.ascontiguousarray(projected[:, :r])
    quadratic = np.sum((effects @ J) * effects, axis=1) + (projected @ w) ** 2 / u[0] ** 2
    inner = np.zeros(u.shape[0])
    inner[u.shape[0] - counts.shape[0] + ridges[0]] = np.sum(shrunk * (1.0 - shrunk) * quadratic - shrunk)
    _add_block_slopes(inner, u[0] ** 2, sizes, blocks, roots, standard, inverse)
    return _finish(u, inner, sizes, blocks, scalars[1], r, np.sum(np.log1p(excess)) + more, q_tilde)


@kernel
def kernels(u: np.ndarray, plan: tuple, first: tuple):
    """The same where several penalty groups go first through their kernels (:class:`pmlmm.kernels.first.Kernels`)."""
    sizes, _, _, ridges, blocks, counts, scalars = plan
    matrices, rows = first
    roots, proper = _roots(u, sizes)
    if not (proper and u[0] > 0.0):
        return outside(u)
    log_lambda = u[u.shape[0] - counts.shape[0] :]
    K = np.eye(rows.shape[0])
    for g in range(ridges.shape[0]):
        K += matrices[g] * np.exp(-log_lambda[ridges[g]])
    if not factor(K):
        return outside(u)
    log_det = 2.0 * np.sum(np.log(np.diag(K)))
    K_inverse = root_gram(inverse_factor(K))
    solved = K_inverse @ rows
    Q = np.ascontiguousarray(rows.T) @ solved
    proper, more, q_tilde, J, w, standard, inverse = _dense(Q, blocks, roots, log_lambda)
    if not proper:
        return outside(u)
    r, inner = Q.shape[0] - 1, np.zeros(u.shape[0])
    effects = np.ascontiguousarray(solved[:, :r])
    residual = solved @ w
    weight = effects @ J @ np.ascontiguousarray(effects.T) - K_inverse
    weight += residual.reshape(-1, 1) * residual.reshape(1, -1) / u[0] ** 2
    for g in range(ridges.shape[0]):
        at = u.shape[0] - counts.shape[0] + ridges[g]
        inner[at] = np.exp(-log_lambda[ridges[g]]) * np.sum(matrices[g] * weight)
    _add_block_slopes(inner, u[0] ** 2, sizes, blocks, roots, standard, inverse)
    return _finish(u, inner, sizes, blocks, scalars[1], r, log_det + more, q_tilde)


FUNCTIONS = {"groups": groups, "sparse": sparse, "rotated": rotated, "kernels": kernels}


def value_and_gradient(u: np.ndarray, packed: Packed) -> tuple[float, np.ndarray]:
    """Marginal log-likelihood and its gradient at u; ``-inf`` and nan outside the support."""
    with interruptible:
        return FUNCTIONS[packed.kind](np.asarray(u, dtype=float), packed.plan, packed.first)
