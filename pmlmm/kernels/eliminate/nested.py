"""The random effects of two nested factors, eliminated inside-out: inner groups, then the outer group they are in.

The rows of inner group j belong to one outer group i. With ``c_j = Z_j'[Z_i W Y]`` and the notation of
:mod:`pmlmm.kernels.eliminate.design_loops` for the inner groups, what is left of the outer one are
``A_i = Z_i'Z_i - sum_j c_j'J_j c_j`` and ``E_i = Z_i'[W Y] - ...`` (the other columns of the same sum), and for these
in turn ``K_i`` (its J) and ``R_i``. So nothing dense is left of either factor. With ``U_j`` the first columns of
``(R_j c_j)'``, the blocks of ``B = Z'M^{-1}Z`` and ``D = Z'M^{-1}[W Y]`` of one outer group with its inner ones are::

    B_ii = R_i A_i   B_ij = R_i U_j   B_jk = [j = k] B_j - U_j'K_i U_k       D_i = R_i E_i   D_j = R_j c_j - U_j'K_i E_i

and derivatives along entries s, t of the two relative covariances are ``tr(B E_s) - tr(N E_s)`` and
``tr(E_s B E_t (2 N - B))`` with ``N = D J D'``, whose double sums over inner groups come apart into sums of products.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from pmlmm.kernels.eliminate.compiled_steps import eliminate_dense, finish, start
from pmlmm.kernels.eliminate.design_loops import chunks, each_chunk, factor_design, mirror_in_place, vech_entries
from pmlmm.kernels.eliminate.groups import OneFactor, apply
from pmlmm.kernels.eliminate.protocol import EliminatedDraws
from pmlmm.kernels.group_effects import conditional_covariances, conditional_effects, group_factor
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.small_matrices import outside


@kernel
def _subtract_square(T: np.ndarray, rows: int, A: np.ndarray, E: np.ndarray, Q: np.ndarray):
    """Subtract T'T: its first ``rows`` rows from ``[A E]``, the lower triangle of the others from Q."""
    for a in range(T.shape[0]):
        for u in range(T.shape[1]):
            value = T[a, u]
            if u < rows:
                for v in range(rows):
                    A[u, v] -= value * T[a, v]
                for v in range(rows, T.shape[1]):
                    E[u, v - rows] -= value * T[a, v]
            else:
                for v in range(rows, u + 1):
                    Q[u - rows, v - rows] -= value * T[a, v]


@kernel
def _eliminate(
    arrays: tuple,
    L: np.ndarray,
    Q: np.ndarray,
    B: np.ndarray,
    D: np.ndarray,
    outer: np.ndarray,
    E: np.ndarray,
    keep: bool,
):
    """Subtract both factors' part from Q and return the sum of log|M|.

    With ``keep`` also fill B = B_j and D = R_j c_j of the inner groups, and K_i, R_i, B_ii (``outer``, side by side)
    and E = E_i of the outer ones.
    """
    designs, cross, starts, outer_designs, outer_cross, _, _ = arrays
    q, p, width = designs.shape[1], outer_designs.shape[1], cross.shape[2]
    inner_root, outer_root = np.ascontiguousarray(L[p:, p:]), np.ascontiguousarray(L[:p, :p])
    V, R, J, b = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q))
    V2, R2, K, b2 = np.empty((p, p)), np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    T, T2, A, e = np.empty((q, width)), np.empty((p, width - p)), np.empty((p, p)), np.empty((p, width - p))
    log_det = 0.0
    for i in range(outer_designs.shape[0]):
        A[:], e[:] = outer_designs[i], outer_cross[i]
        for j in range(starts[i], starts[i + 1]):
            log_det += factor_design(designs[j], inner_root, V, R, J, b)
            apply(V, cross[j], T)
            _subtract_square(T, p, A, e, Q)
            if keep:
                B[j] = b
                apply(R, cross[j], D[j])
        log_det += factor_design(A, outer_root, V2, R2, K, b2)
        apply(V2, e, T2)
        _subtract_square(T2, 0, A, e, Q)
        if keep:
            outer[0, i], outer[1, i], outer[2, i], E[i] = K, R2, b2, e
    mirror_in_place(Q)
    return log_det


@kernel
def _draws_chunk(arrays: tuple, L: np.ndarray, first: int, last: int, log_det: np.ndarray, Q: np.ndarray):
    """For the draws first..last-1 of L."""
    empty, none = np.empty((0, 0, 0)), np.empty((0, 0, 0, 0))
    for s in range(first, last):
        log_det[s] = _eliminate(arrays, L[s], Q[s], empty, empty, none, empty, False)


@kernel
def _add_weighted(D: np.ndarray, weights: np.ndarray, total: np.ndarray, at: int):
    """Subtract D weights D' from the diagonal block of ``total`` that starts at ``at``."""
    q, width = D.shape
    for a in range(q):
        for u in range(width):
            value = 0.0
            for v in range(width):
                value += weights[u, v] * D[a, v]
            for b in range(q):
                total[at + b, at + a] -= D[b, u] * value


@kernel
def nested_log_likelihood(u: np.ndarray, plan: tuple, arrays: tuple):
    """Value and gradient in u of the marginal log-likelihood."""
    sizes, _, grouped, _, blocks, _, absolute, scalars = plan
    proper, roots, L, log_lambda = start(u, sizes, grouped, absolute)
    if not proper:
        return outside(u)
    designs, cross, starts, outer_designs, outer_cross, gram, _ = arrays
    m, p, q, width = outer_designs.shape[0], outer_designs.shape[1], designs.shape[1], gram.shape[0]
    B, D, Q = np.empty_like(designs), np.empty_like(cross), gram.copy()
    outer, E = np.empty((3, m, p, p)), np.empty_like(outer_cross)
    log_det = _eliminate(arrays, L, Q, B, D, outer, E, True)
    dense = eliminate_dense(Q, blocks, roots, log_lambda)
    if not dense.proper:
        return outside(u)
    weights, r = np.empty((width, width)), dense.J.shape[0]
    for a in range(width):
        for c in range(width):
            weights[a, c] = dense.w[a] * dense.w[c] / u[0] ** 2
            if a < r and c < r:
                weights[a, c] += dense.J[a, c]
    total, KE, own, mine = np.zeros(L.shape), np.empty((p, width)), np.empty((p, width)), np.empty((q, width))
    for i in range(m):
        K = outer[0, i]
        apply(K, E[i], KE)
        apply(outer[1, i], E[i], own)
        total[:p, :p] += outer[2, i]
        _add_weighted(own, weights, total, 0)
        for j in range(starts[i], starts[i + 1]):
            for a in range(q):
                for c in range(q):
                    total[p + a, p + c] += B[j, a, c]
                    for k in range(p):
                        for h in range(p):
                            total[p + a, p + c] -= D[j, a, k] * K[k, h] * D[j, c, h]
                for v in range(width):
                    mine[a, v] = D[j, a, p + v]
                    for k in range(p):
                        mine[a, v] -= D[j, a, k] * KE[k, v]
            _add_weighted(mine, weights, total, p)
    return finish(u, sizes, grouped, blocks, absolute, scalars, roots, dense, log_det, total, np.zeros(u.shape[0]))


@dataclass(frozen=True, eq=False)
class Nested(OneFactor):
    """Cross-products of an inner factor's groups, in the order of the outer factor's, and of the latter.

    Attributes
    ----------
    designs : (m, q, q) array
        ``Z_j'Z_j`` of the inner groups, those of outer group i from ``starts[i]`` to ``starts[i + 1]``.
    cross : (m, q, p + w) array
        ``Z_j'[Z_i W Y]``, Z_i the columns of the outer group that j is in.
    starts : (M + 1,) int array
    outer_designs : (M, p, p) array
        ``Z_i'Z_i``.
    outer_cross : (M, p, w) array
        ``Z_i'[W Y]``.
    gram : (w, w) array
        ``[W Y]'[W Y]``.
    order : (m,) int array
        Which inner group each one is.
    sizes : tuple of int
        q of each term, the outer factor's first.
    """

    designs: np.ndarray
    cross: np.ndarray
    starts: np.ndarray
    outer_designs: np.ndarray
    outer_cross: np.ndarray
    gram: np.ndarray
    order: np.ndarray
    sizes: tuple[int, ...]

    ARRAYS: ClassVar = {
        "designs": ("float64", 3),
        "cross": ("float64", 3),
        "starts": ("int64", 1),
        "outer_designs": ("float64", 3),
        "outer_cross": ("float64", 3),
        "gram": ("float64", 2),
        "order": ("int64", 1),
    }
    log_likelihood: ClassVar = staticmethod(nested_log_likelihood)

    @property
    def outer_effects(self) -> int:
        """Effects of one outer group, p."""
        return self.outer_designs.shape[1]

    def eliminate(self, L: np.ndarray, log_lambda: np.ndarray) -> "NestedEliminated":
        """At the relative covariances of both factors, ``L L'`` = blockdiag(outer, inner): O(m q w (q + w))."""
        B, D, Q = np.empty_like(self.designs), np.empty_like(self.cross), self.gram.copy()
        outer, E = np.empty((3, *self.outer_designs.shape)), np.empty_like(self.outer_cross)
        log_det = float(_eliminate(self.arrays, L, Q, B, D, outer, E, True))
        K, R, outer_B = outer
        return NestedEliminated(log_det, Q, B, D, K, R, outer_B, E, self.starts, self.sizes)

    def eliminate_draws(self, L: np.ndarray, log_lambda: np.ndarray) -> EliminatedDraws:
        log_det, Q = np.zeros(len(L)), np.repeat(self.gram[None], len(L), axis=0)
        each_chunk(
            lambda first, last: _draws_chunk(self.arrays, L, first, last, log_det, Q),
            chunks(len(L) * len(self.designs), len(L)),
        )
        return EliminatedDraws(log_det, Q, None)

    def work(self) -> float:
        m, q, width = self.cross.shape
        return m * (8.0 * q**3 + 100.0 + q * width * (q + width))

    def effects(self, L: np.ndarray, weights: np.ndarray, scale: np.ndarray, rng: np.random.Generator | None):
        """Effects of outer (draws, M, p) and inner groups (draws, m, q, in their own order) given those of W.

        ``weights`` (draws, w) are ``(-a, 1)``, ``scale`` (draws,) is sigma; means without ``rng``.
        """
        p = self.outer_effects
        pairs = [self._effects(*one, rng) for one in zip(L[:, :p, :p], L[:, p:, p:], weights, scale, strict=True)]
        outer, inner = (np.stack(part) for part in zip(*pairs, strict=True))
        back = np.empty_like(inner)
        back[:, self.order] = inner
        return outer, back

    def _effects(
        self,
        outer_root: np.ndarray,
        inner_root: np.ndarray,
        weights: np.ndarray,
        scale: float,
        rng: np.random.Generator | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same of one draw."""
        p = self.outer_effects
        half = np.linalg.solve(group_factor(self.designs, inner_root), inner_root.T @ self.cross)
        across = np.swapaxes(half[..., :p], 1, 2) @ half
        A = self.outer_designs - self._summed(across[..., :p])
        right = self.outer_cross @ weights - self._summed(across[..., p:]) @ weights
        outer = _conditional(A, outer_root, right, scale, rng)
        each = np.repeat(outer, np.diff(self.starts), axis=0)
        own = self.cross[..., p:] @ weights - np.einsum("jab,jb->ja", self.cross[..., :p], each)
        return outer, _conditional(self.designs, inner_root, own, scale, rng)

    def covariances(self, L: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Covariances of outer (draws, M, p, p) and inner effects (draws, m, q, q) given those of W.

        The inner ones are in their own order. ``scale`` (draws,) is sigma.
        """
        p = self.outer_effects
        pairs = [self._covariances(root[:p, :p], root[p:, p:]) for root in L]
        outer, inner = (scale[:, None, None, None] ** 2 * np.stack(part) for part in zip(*pairs, strict=True))
        back = np.empty_like(inner)
        back[:, self.order] = inner
        return outer, back

    def _covariances(self, outer_root: np.ndarray, inner_root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of one draw, over sigma^2: K_i, and ``J_j + J_j c_j K_i c_j'J_j``, c_j the columns of Z_i."""
        c = self.cross[..., : self.outer_effects]
        J = conditional_covariances(self.designs, inner_root)
        moved = J @ c
        A = self.outer_designs - self._summed(np.swapaxes(c, 1, 2) @ moved)
        K = conditional_covariances(A, outer_root)
        return K, J + moved @ np.repeat(K, np.diff(self.starts), axis=0) @ np.swapaxes(moved, 1, 2)

    def _summed(self, values: np.ndarray) -> np.ndarray:
        """Over the inner groups of each outer one."""
        return np.add.reduceat(values, self.starts[:-1], axis=0)


def _conditional(
    S: np.ndarray, L: np.ndarray, right: np.ndarray, scale: float, rng: np.random.Generator | None
) -> np.ndarray:
    """Effects (groups, q) of one draw given the sums ``right`` of what they are to explain; means without ``rng``."""
    noise = np.empty((0, *right.shape)) if rng is None else scale * rng.standard_normal((1, *right.shape))
    return conditional_effects(S, L[None], right[None], noise)[0]


@dataclass(frozen=True, eq=False)
class NestedEliminated:
    """Nested groups eliminated at one pair of relative covariances, whose entries are its parameters.

    ``B`` (m, q, q) and ``D`` (m, q, p + w) of the inner groups, ``K``, ``R``, ``outer_B`` (M, p, p) and ``E``
    (M, p, w) of the outer ones, as the module has them.
    """

    log_det: float
    Q: np.ndarray
    B: np.ndarray
    D: np.ndarray
    K: np.ndarray
    R: np.ndarray
    outer_B: np.ndarray
    E: np.ndarray
    starts: np.ndarray
    sizes: tuple[int, ...]

    @cached_property
    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """``E_s`` of the outer covariances' entries, (n, p, p), and of the inner ones', (k, q, q)."""
        p, found = self.K.shape[1], []
        rows, cols = vech_entries(self.sizes)
        for first, q, chosen in ((0, p, rows < p), (p, self.B.shape[1], rows >= p)):
            at = np.arange(np.count_nonzero(chosen))
            units = np.zeros((len(at), q, q))
            units[at, rows[chosen] - first, cols[chosen] - first] = 1.0
            units[at, cols[chosen] - first, rows[chosen] - first] = 1.0
            found.append(units)
        return found[0], found[1]

    @cached_property
    def outer_D(self) -> np.ndarray:
        """``D_i``, (M, p, w)."""
        return self.R @ self.E

    @cached_property
    def U(self) -> np.ndarray:
        """``U_j'``, (m, q, p)."""
        return np.ascontiguousarray(self.D[..., : self.K.shape[1]])

    @cached_property
    def inner_D(self) -> np.ndarray:
        """``D_j``, (m, q, w)."""
        return self.D[..., self.K.shape[1] :] - self.U @ self._each(self.K @ self.E)

    @cached_property
    def P(self) -> np.ndarray:
        """``U_j'K U_j``, (m, q, q)."""
        return self.U @ self._each(self.K) @ np.swapaxes(self.U, 1, 2)

    def _each(self, outer: np.ndarray) -> np.ndarray:
        """Of the outer group of every inner one."""
        return np.repeat(outer, np.diff(self.starts), axis=0)

    @property
    def slopes(self) -> np.ndarray:
        return -np.concatenate([_squares(D, E) for D, E in zip((self.outer_D, self.inner_D), self.units, strict=True)])

    def derivatives(self, J: np.ndarray, w: np.ndarray, scale: float, order: int):
        weights, r = scale * np.outer(w, w), len(J)
        weights[:r, :r] += J
        outer, inner = self.units
        outer_N, N = (D @ weights @ np.swapaxes(D, 1, 2) for D in (self.outer_D, self.inner_D))
        steep = np.sum(self.outer_B - outer_N, axis=0), np.sum(self.B - self.P - N, axis=0)
        gradient = np.concatenate(
            [np.einsum("sab,ab->s", E, total) for E, total in zip((outer, inner), steep, strict=True)]
        )
        if order < 2:
            return gradient, None
        n = len(outer)
        hessian = np.empty((len(gradient),) * 2)
        hessian[:n, :n] = _paired(self.outer_B, 2.0 * outer_N - self.outer_B, outer)
        G, H = self._across(inner)
        GJ = G @ weights
        both = -2.0 * np.einsum("imn,tinw,simw->st", self.K, GJ, G, optimize=True)
        KH = self.K @ H
        both -= np.einsum("tiab,siba->st", KH, KH, optimize=True)
        hessian[n:, n:] = _paired(self.B, 2.0 * (N + self.P) - self.B, inner) + both
        pulled = 2.0 * self.outer_D @ np.swapaxes(GJ, 2, 3) @ np.swapaxes(self.R, 1, 2)
        pulled -= self.R @ H @ np.swapaxes(self.R, 1, 2)
        hessian[n:, :n] = np.einsum("siab,tba->st", pulled, outer, optimize=True)
        hessian[:n, n:] = hessian[n:, :n].T
        return gradient, hessian

    def _across(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``sum_j U_j E_s D_j`` (k, M, p, w) and ``sum_j U_j E_s U_j'`` (k, M, p, p) of every outer group."""
        turned = np.swapaxes(self.U, 1, 2)
        products = [(turned @ E @ self.inner_D, turned @ E @ self.U) for E in units]
        return tuple(  # type: ignore[return-value]
            np.stack([np.add.reduceat(pair[k], self.starts[:-1], axis=0) for pair in products]) for k in (0, 1)
        )


def _squares(D: np.ndarray, units: np.ndarray) -> np.ndarray:
    """``sum_g D_g'E_s D_g`` for every s: (n, w, w)."""
    q, width = D.shape[1:]
    flat = D.reshape(len(D), q * width)
    full = (flat.T @ flat).reshape(q, width, q, width)
    return np.einsum("sab,aubv->suv", units, full, optimize=True)


def _paired(left: np.ndarray, right: np.ndarray, units: np.ndarray) -> np.ndarray:
    """``sum_g tr(E_s left_g E_t right_g)`` for all pairs, of symmetric matrices (groups, q, q)."""
    q = left.shape[1]
    sums = (left.reshape(-1, q * q).T @ right.reshape(-1, q * q)).reshape(q, q, q, q)
    found = np.einsum("sab,tcd,bcda->st", units, units, sums, optimize=True)
    return 0.5 * (found + found.T)
