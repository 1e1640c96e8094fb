"""The steps that every kind's compiled likelihood shares: from u to factors, the dense columns, back to u.

The same numbers as :func:`pmlmm.kernels.likelihood.evaluate` without the Hessian, callable from compiled
code: a sampler calls it a hundred thousand times. Arrays come one by one, not as the tuple ``plan`` that holds
them, as every step would count references to all of its members.
"""

from typing import NamedTuple

import numpy as np

from pmlmm.kernels.derivatives import LOG_2PI
from pmlmm.kernels.eliminate.blocks import apply_to_columns, apply_to_rows
from pmlmm.kernels.jit import kernel
from pmlmm.kernels.layout import RESPONSES, term_starts
from pmlmm.kernels.small_matrices import congruence, factor, inverse_factor, root_gram


class DenseEliminated(NamedTuple):
    """The dense columns eliminated; see :class:`pmlmm.kernels.eliminate.dense.ConditionalEffects`.

    Whether P is positive definite, log|P|, q_tilde, J, w = (-mean, 1), and the whitened effects with their covariance.
    """

    proper: bool
    log_det: float
    q_tilde: float
    J: np.ndarray
    w: np.ndarray
    standard: np.ndarray
    inverse: np.ndarray


@kernel
def start(u: np.ndarray, sizes: np.ndarray, grouped: np.ndarray, absolute: np.ndarray):
    """Factors at u: whether it is in the support, those of Sigma_k / sigma^2, of a group's effects, and log lambda.

    The first ones are padded to (K, q, q) of the largest q. ``absolute`` (G,) is 1 where u has ``-log tau^2``.
    """
    largest, total, at = 1, 0, 1
    for q in sizes:
        largest = max(largest, q)
    for k in grouped:
        total += sizes[k]
    roots, L = np.zeros((sizes.shape[0], largest, largest)), np.zeros((total, total))
    log_lambda, proper = u[u.shape[0] - absolute.shape[0] :].copy(), u[0] > 0.0
    if proper:
        log_lambda += 2.0 * np.log(u[0]) * absolute
    for k in range(sizes.shape[0]):
        q = sizes[k]
        root = np.zeros((q, q))  # of its own, as every layout of an argument is compiled anew
        for a in range(q):
            for b in range(a + 1):
                root[a, b] = u[at] / u[0] ** 2
                at += 1
        proper = proper and factor(root)
        for a in range(q):
            for b in range(a + 1):
                roots[k, a, b] = root[a, b]
    first = 0
    for k in grouped:
        q = sizes[k]
        L[first : first + q, first : first + q] = roots[k, :q, :q]
        first += q
    return proper, roots, L, log_lambda


@kernel
def _block_root(block: np.ndarray, roots: np.ndarray, log_lambda: np.ndarray):
    q, root = block[2], np.empty((1, block[2], block[2]))
    if block[4]:
        root[0, 0, 0] = np.exp(-0.5 * log_lambda[block[3]])
    else:
        root[0] = roots[block[3], :q, :q]
    return root


@kernel
def eliminate_dense(Q: np.ndarray, blocks: np.ndarray, roots: np.ndarray, log_lambda: np.ndarray):
    """Eliminate the dense columns of Q (w, w): O(w^3)."""
    r = Q.shape[0] - RESPONSES
    P, right = np.empty((1, r, r)), np.empty((1, r, 1))
    P[0], right[0, :, 0] = Q[:r, :r], Q[:r, r]
    for block in blocks:
        root = _block_root(block, roots, log_lambda)
        apply_to_rows(P, block[0], block[1], root)
        apply_to_columns(P, block[0], block[1], root)
        apply_to_rows(right, block[0], block[1], root)
        for a in range(block[0], block[0] + block[1] * block[2]):
            P[0, a, a] += 1.0
    w, log_det, q_tilde = np.ones(Q.shape[0]), 0.0, Q[r, r]
    if not factor(P[0]):
        return DenseEliminated(False, log_det, q_tilde, P[0], w, w, P[0])
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
        apply_to_rows(J, block[0], block[1], turned)
        apply_to_columns(J, block[0], block[1], turned)
        apply_to_rows(mean, block[0], block[1], turned)
    w[:r] = -mean[0, :, 0]
    return DenseEliminated(True, log_det, q_tilde, J[0], w, standard, inverse)


@kernel
def _add_vech(gradient: np.ndarray, at: int, total: np.ndarray):
    """Add ``d tr(total dX) / d vech X`` from entry ``at`` on."""
    for a in range(total.shape[0]):
        for b in range(a + 1):
            gradient[at] += total[a, b] * (1.0 if a == b else 2.0)
            at += 1


@kernel
def _add_block_slopes(
    gradient: np.ndarray,
    variance: float,
    starts: np.ndarray,
    blocks: np.ndarray,
    roots: np.ndarray,
    dense: DenseEliminated,
):
    """Add the derivatives of ``log|P| + q_tilde / variance`` along the blocks' parameters."""
    standard, inverse = dense.standard, dense.inverse
    for block in blocks:
        first, levels, q = block[0], block[1], block[2]
        T = np.zeros((q, q))
        for level in range(levels):
            for a in range(q):
                T[a, a] += 1.0
                for b in range(q):
                    i, j = first + level * q + a, first + level * q + b
                    T[a, b] -= inverse[i, j] + standard[i] * standard[j] / variance
        if block[4]:
            gradient[starts[-1] + block[3]] -= T[0, 0]
        else:
            back = inverse_factor(np.ascontiguousarray(roots[block[3], :q, :q]))
            _add_vech(gradient, starts[block[3]], congruence(back, T))


@kernel
def finish(
    u: np.ndarray,
    sizes: np.ndarray,
    grouped: np.ndarray,
    blocks: np.ndarray,
    absolute: np.ndarray,
    scalars: np.ndarray,
    roots: np.ndarray,
    dense: DenseEliminated,
    log_det: float,
    total: np.ndarray,
    inner: np.ndarray,
):
    """Value and gradient in u.

    ``inner`` has the derivatives of -2 log-likelihood along log lambda of what was eliminated first, and zeros; those
    along the relative covariances of what was eliminated group by group (``total``, a matrix over all its effects) and
    of the dense blocks are added to it.
    """
    starts, first = term_starts(sizes), 0
    for k in grouped:
        last = first + sizes[k]
        _add_vech(inner, starts[k], total[first:last, first:last])
        first = last
    variance, d, flat = u[0] ** 2, starts[-1], dense.standard.shape[0]
    n, log_weights = scalars[1], scalars[2]
    _add_block_slopes(inner, variance, starts, blocks, roots, dense)
    for block in blocks:
        flat -= block[1] * block[2]
    power = n - flat
    log_dets = log_det + dense.log_det
    value = -0.5 * (power * (LOG_2PI + np.log(variance)) - log_weights + log_dets + dense.q_tilde / variance)
    gradient = -0.5 * inner
    gradient[0] = (dense.q_tilde / variance - power) / u[0]
    for j in range(1, d):
        gradient[0] -= 2.0 * u[j] / variance * gradient[j] / u[0]
    for j in range(1, d):
        gradient[j] /= variance
    for g in range(absolute.shape[0]):
        gradient[0] += 2.0 * absolute[g] * gradient[d + g] / u[0]
    return value, gradient
