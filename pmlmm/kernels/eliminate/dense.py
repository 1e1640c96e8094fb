"""The columns W that are eliminated together, at the end: one dense factorisation.

Their effects come in blocks with prior covariance ``sigma^2 (I x S)``, ``S = L L'`` (levels of a further
grouping factor, or penalised coefficients with ``S = 1 / lambda``); columns after the last block have
a flat prior. Everything is in whitened coordinates, where each block's prior is standard::

    P = 1 + Lambda' Q_WW Lambda,   Lambda = blockdiag(I x L_1, ..., I x L_k, I)

with 1 the identity on the blocks and 0 on flat columns. A small or nearly singular S then does no
harm. Derivatives are along ``S -> L (I + dOmega) L'`` and taken back to S or log lambda at the end.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import lapack, solve_triangular

from pmlmm.kernels.coordinates import traces, unvech, vech, vech_indices, vech_size, vech_slope
from pmlmm.kernels.eliminate.blocks import Block, proper, unwhiten, whiten, whiten_rows
from pmlmm.kernels.eliminate.design_loops import mirror_in_place
from pmlmm.kernels.layout import columns

# From these sizes on LAPACK on half a matrix beats NumPy's general routines.
_LARGE_INVERSE, _LARGE_SOLVE = 50, 150


@dataclass(eq=False)
class ConditionalEffects:
    """The law of the dense effects given everything else, and what follows from it.

    Parameters
    ----------
    Q : (w, w) array
        Cross-products of ``[W Y]`` after the first elimination.
    blocks : tuple of Block
    roots : list of (q, q) arrays
        Lower factors of the blocks' S.
    gammas : int
        The first so many columns are random effects, the others coefficients.
    profile : bool
        Leave the coefficients out of the log-determinant (they are at their maximum, not integrated out).

    Raises
    ------
    LinAlgError
        P is not positive definite.
    """

    Q: np.ndarray
    blocks: tuple[Block, ...]
    roots: list[np.ndarray]
    gammas: int
    profile: bool

    def __post_init__(self) -> None:
        W, Y = columns(len(self.Q))
        P = whiten(self.Q[W, W], self.blocks, self.roots)
        P[np.diag_indices(len(P))] += proper(self.blocks, len(P))
        self.chol = np.linalg.cholesky(P)
        half = _solve_lower(self.chol, whiten_rows(self.Q[W, Y], self.blocks, self.roots))[:, 0]
        self._half = half
        self.q_tilde = (self.Q[Y, Y] - half @ half).item()

    @property
    def log_det(self) -> float:
        """``log|P|`` in whitened coordinates, of all columns or of the random effects alone."""
        diagonal = np.diag(self.chol)
        return 2.0 * float(np.sum(np.log(diagonal[: self.gammas] if self.profile else diagonal)))

    @cached_property
    def inverse(self) -> np.ndarray:
        """``P^{-1}``: covariance of the whitened effects over sigma^2."""
        return _inverse(self.chol)

    @cached_property
    def det_inverse(self) -> np.ndarray:
        """The inverse that belongs to the log-determinant, zero where columns are left out of it."""
        if not self.profile:
            return self.inverse
        result = np.zeros_like(self.chol)
        g = self.gammas
        if g:
            result[:g, :g] = _inverse(self.chol[:g, :g])
        return result

    @cached_property
    def det_weights(self) -> np.ndarray:
        """``J`` with ``d log|P| = tr(J dQ_WW)``."""
        if not self.profile:
            return self.effect_covariance
        return whiten(self.det_inverse, self.blocks, [root.T for root in self.roots])

    @cached_property
    def standard(self) -> np.ndarray:
        """Conditional mean of the whitened effects."""
        return _solve_upper(self.chol, self._half[:, None])[:, 0]

    @cached_property
    def mean(self) -> np.ndarray:
        """Conditional mean of the effects, (r,)."""
        return unwhiten(self.standard[:, None], self.blocks, self.roots)[:, 0]

    @cached_property
    def effect_covariance(self) -> np.ndarray:
        """Covariance of the effects over sigma^2, (r, r)."""
        return whiten(self.inverse, self.blocks, [root.T for root in self.roots])

    @property
    def residual_weights(self) -> np.ndarray:
        """``w = (-mean, 1)``: ``d q_tilde = w' dQ w``."""
        return np.append(-self.mean, 1.0)

    def draw(self, standard_normal: np.ndarray) -> np.ndarray:
        """Deviations from the mean over sigma, (r, k), made of standard normals (r, k)."""
        return unwhiten(_solve_upper(self.chol, standard_normal), self.blocks, self.roots)


def gradient(posterior: ConditionalEffects, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Along every whitened block entry: of ``log_det + q_tilde / variance``, and of ``q_tilde`` alone."""
    total, squares = [np.zeros(0)], [np.zeros(0)]
    diagonal = np.diagonal(posterior.det_inverse)
    for block in posterior.blocks:
        if block.q == 1:
            effects = posterior.standard[block.columns]
            square = effects @ effects
            total.append(np.array([block.levels - diagonal[block.columns].sum() - square / variance]))
            squares.append(np.array([-square]))
            continue
        inside = _diagonal_blocks(posterior.det_inverse, block)
        effects = posterior.standard[block.columns].reshape(block.levels, block.q)
        square = effects.T @ effects
        total.append(vech_slope(block.levels * np.eye(block.q) - inside - square / variance))
        squares.append(vech_slope(-square))
    return np.concatenate(total), np.concatenate(squares)


def hessian(posterior: ConditionalEffects, variance: float) -> np.ndarray:
    """Second derivatives of ``log_det + q_tilde / variance`` along pairs of whitened block entries."""
    X = directions(posterior)
    quadratic = 2.0 * (X @ X.T - X @ posterior.inverse @ X.T) / variance
    edges = np.cumsum([0, *(vech_size(block.q) for block in posterior.blocks)])
    for k, left in enumerate(posterior.blocks):
        for j, right in enumerate(posterior.blocks[: k + 1]):
            part = -_traces(posterior.det_inverse, left, right)
            at = slice(edges[k], edges[k + 1]), slice(edges[j], edges[j + 1])
            quadratic[at] += part
            if k != j:
                quadratic[at[1], at[0]] += part.T
    return quadratic


def directions(posterior: ConditionalEffects) -> np.ndarray:
    """``dOmega_s`` times the standardised effects, for every whitened block entry s: (n, r)."""
    r = len(posterior.standard)
    parts = [np.zeros((0, r))]
    for block in posterior.blocks:
        if block.q == 1:
            full = np.zeros((1, r))
            full[0, block.columns] = posterior.standard[block.columns]
            parts.append(full)
            continue
        effects = posterior.standard[block.columns].reshape(block.levels, block.q)
        rows, cols = vech_indices(block.q)
        part = np.zeros((len(rows), block.levels, block.q))
        for s, (a, b) in enumerate(zip(rows, cols, strict=True)):
            part[s, :, a] = effects[:, b]
            part[s, :, b] = effects[:, a]
        full = np.zeros((len(rows), r))
        full[:, block.columns] = part.reshape(len(rows), -1)
        parts.append(full)
    return np.concatenate(parts)


def coupling(posterior: ConditionalEffects, slopes: np.ndarray, variance: float):
    """Second derivatives that involve the parameters of the first elimination.

    ``slopes`` (n, w, w) are the derivatives of Q along them.

    Returns
    -------
    squares : (n,) array
        Derivatives of q_tilde.
    own : (n, n) array
        Of ``log_det + q_tilde / variance`` for pairs of them, second derivatives of Q left out.
    mixed : (n, blocks' entries) array
    """
    w = posterior.residual_weights
    W, _ = columns(len(w))
    moved = slopes @ w
    whitened = whiten_rows(np.swapaxes(moved[:, W], 0, 1), posterior.blocks, posterior.roots).T
    pulled = whitened @ posterior.inverse
    own = -2.0 * pulled @ whitened.T / variance
    mixed = -2.0 * pulled @ directions(posterior).T / variance
    if posterior.gammas or not posterior.profile:
        own_trace, mixed_trace = _coupled_traces(posterior, slopes[:, W, W])
        own -= own_trace
        mixed += mixed_trace
    return moved @ w, own, mixed


def _coupled_traces(posterior: ConditionalEffects, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``tr(J Q_s J Q_t)``, and ``tr(J Q_s J dS_t)`` with the entries of the blocks."""
    inverse = posterior.det_inverse
    products = inverse @ whiten(slopes, posterior.blocks, posterior.roots)
    diagonal = np.einsum("suv,uv->su", products, inverse)
    parts = [np.zeros((len(slopes), 0))]
    for block in posterior.blocks:
        if block.q == 1:
            parts.append(diagonal[:, block.columns].sum(axis=1, keepdims=True))
        else:
            parts.append(np.array([vech_slope(_product_blocks(product, inverse, block)) for product in products]))
    return traces(products, products), np.concatenate(parts, axis=1)


def to_parameters(posterior: ConditionalEffects) -> tuple[np.ndarray, np.ndarray]:
    """The map from (vech S of terms, log lambda of ridges) to whitened entries, and its curvature.

    Returns
    -------
    jacobian : (n, n) array
        Block-diagonal: ``vech(L^{-1} dS L^{-T})``, or -1 for log lambda.
    curvature : (n,) array
        Second derivative of the whitened entry in log lambda (1); 0 for S, where the map is linear.
    """
    sizes = [vech_size(block.q) for block in posterior.blocks]
    jacobian, curvature, at = np.zeros((sum(sizes),) * 2), np.zeros(sum(sizes)), 0
    for block, root, size in zip(posterior.blocks, posterior.roots, sizes, strict=True):
        part = slice(at, at + size)
        if block.ridge:
            jacobian[part, part], curvature[part] = -1.0, 1.0
        else:
            inverse = np.linalg.inv(root)
            jacobian[part, part] = vech(inverse @ unvech(np.eye(size), block.q) @ inverse.T).T
        at += size
    return jacobian, curvature


def _diagonal_blocks(matrix: np.ndarray, block: Block) -> np.ndarray:
    """Sum over levels of the diagonal (q, q) blocks of a symmetric matrix."""
    inside = matrix[block.columns, block.columns].reshape(block.levels, block.q, block.levels, block.q)
    return np.einsum("iaib->ab", inside)


def _product_blocks(left: np.ndarray, right: np.ndarray, block: Block) -> np.ndarray:
    """The same of the symmetric part of ``left @ right``, right symmetric."""
    rows, others = (x[block.columns].reshape(block.levels, block.q, -1) for x in (left, right))
    total = np.tensordot(rows, others, axes=([0, 2], [0, 2]))
    return 0.5 * (total + total.T)


def _traces(inverse: np.ndarray, left: Block, right: Block) -> np.ndarray:
    """``tr(B E_s B E_t)`` with ``B = 1 - inverse`` between two blocks, over their vech entries."""
    B = -inverse[left.columns, right.columns]
    if left is right:
        B[np.diag_indices(len(B))] += 1.0
    p, q = left.q, right.q
    if p == q == 1:
        return np.array([[np.sum(B * B)]])
    parts = B.reshape(left.levels, p, right.levels, q).transpose(1, 3, 0, 2).reshape(p * q, -1)
    gram = (parts @ parts.T).reshape(p, q, p, q)  # [b, c, a, d] = sum_ij B[ib, jc] B[ia, jd]
    E, F = unvech(np.eye(vech_size(p)), p), unvech(np.eye(vech_size(q)), q)
    return np.einsum("sab,tcd,bcad->st", E, F, gram, optimize=True)


def _solve_lower(chol: np.ndarray, right: np.ndarray) -> np.ndarray:
    if len(chol) < _LARGE_SOLVE:
        return np.linalg.solve(chol, right) if len(chol) else right
    return solve_triangular(chol, right, lower=True, check_finite=False)


def _solve_upper(chol: np.ndarray, right: np.ndarray) -> np.ndarray:
    if len(chol) < _LARGE_SOLVE:
        return np.linalg.solve(chol.T, right) if len(chol) else right
    return solve_triangular(chol, right, lower=True, trans="T", check_finite=False)


def _inverse(chol: np.ndarray) -> np.ndarray:
    if len(chol) < _LARGE_INVERSE:
        root = np.linalg.inv(chol)
        return root.T @ root
    inverse, _ = lapack.dpotri(chol.T, lower=False)  # Fortran's order: nothing is copied but the result
    lower = inverse.T
    mirror_in_place(lower)
    return lower
