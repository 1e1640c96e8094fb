"""The one dense log-density: a model at one value of its parameters, with every matrix written out.

Nothing here is fast, shared with the kernels, or clever: n x n matrices and the formulas of a textbook.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pmlmm.kernels import coordinates


@dataclass(frozen=True, eq=False)
class Dense:
    """``y = X beta + sum_t Z_t gamma_t + noise`` with ``beta_j ~ N(0, sigma^2 / lam_j)``, ``gamma_t ~ N(0, G_t)``.

    Attributes
    ----------
    y : (n,) array
    X : (n, p) array
    lam : (p,) array
        Precisions of beta in units of ``1 / sigma^2``; a coefficient with 0 has density 1.
    sigma : float
        Standard deviation of the noise, of a row of weight 1.
    Z : tuple of (n, k_t) arrays
    G : tuple of (k_t, k_t) arrays
    weights : (n,) array, optional
    """

    y: np.ndarray
    X: np.ndarray
    lam: np.ndarray
    sigma: float
    Z: tuple[np.ndarray, ...]
    G: tuple[np.ndarray, ...]
    weights: np.ndarray | None = None

    @property
    def noise(self) -> np.ndarray:
        """Standard deviation of every row's noise, (n,)."""
        return self.sigma / np.sqrt(np.ones(len(self.y)) if self.weights is None else self.weights)

    @cached_property
    def V(self) -> np.ndarray:
        """Covariance of y given beta, (n, n)."""
        V = np.diag(self.noise**2)
        return V + sum((Z @ G @ Z.T for Z, G in zip(self.Z, self.G, strict=True)), np.zeros_like(V))

    @cached_property
    def information(self) -> np.ndarray:
        """Precision of beta given y, (p, p)."""
        return self.X.T @ np.linalg.solve(self.V, self.X) + np.diag(self.lam) / self.sigma**2

    @cached_property
    def beta(self) -> np.ndarray:
        """Mean of beta given y, (p,)."""
        if not len(self.lam):
            return np.zeros(0)
        return np.linalg.solve(self.information, self.X.T @ np.linalg.solve(self.V, self.y))

    def given_beta(self, beta: np.ndarray) -> float:
        """``log p(y | beta)``, the random effects integrated out."""
        e = self.y - self.X @ beta
        return -0.5 * (len(e) * np.log(2 * np.pi) + np.linalg.slogdet(self.V)[1] + e @ np.linalg.solve(self.V, e))

    def given_effects(self, beta: np.ndarray, gamma: tuple[np.ndarray, ...]) -> np.ndarray:
        """``log p(y_i | beta, gamma)`` of every row, (n,)."""
        mean = self.X @ beta + sum((Z @ g for Z, g in zip(self.Z, gamma, strict=True)), np.zeros_like(self.y))
        return -0.5 * np.log(2 * np.pi * self.noise**2) - 0.5 * ((self.y - mean) / self.noise) ** 2

    def profile(self) -> float:
        """``max_beta log p(y, beta)``."""
        ridged = self.lam > 0
        precision = self.lam[ridged] / self.sigma**2
        prior = 0.5 * np.sum(np.log(precision / (2 * np.pi)) - precision * self.beta[ridged] ** 2)
        return self.given_beta(self.beta) + prior

    def marginal(self) -> float:
        """``log p(y)``, beta integrated out."""
        return self.profile() + 0.5 * len(self.lam) * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(self.information)[1]

    def log_density(self, profile: bool) -> float:
        """:meth:`profile` or :meth:`marginal`."""
        return self.profile() if profile else self.marginal()

    def effects(self, term: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean (k_t,) and covariance (k_t, k_t) of one term's gamma given y, beta integrated out."""
        Z, G = self.Z[term], self.G[term]
        gain = G @ Z.T @ np.linalg.inv(self.V)
        mean = gain @ (self.y - self.X @ self.beta)
        carried = gain @ self.X
        return mean, G - gain @ Z @ G + carried @ np.linalg.solve(self.information, carried.T)

    def rows(self, kept: np.ndarray) -> "Dense":
        """The same model of some of the rows."""
        weights = None if self.weights is None else self.weights[kept]
        return replace(self, y=self.y[kept], X=self.X[kept], Z=tuple(Z[kept] for Z in self.Z), weights=weights)


def wide_columns(block, weights=None) -> np.ndarray:
    """Standardised columns of a wide block of the design, computed anew from what was given, (n, p)."""
    values = np.asarray(block.matrix)[block.rows].astype(float)
    centred = values - np.average(values, axis=0, weights=weights)
    return centred / np.sqrt(np.average(centred**2, axis=0, weights=weights))


def dense(model, u: np.ndarray) -> Dense:
    """A model at the point ``u = (sigma, vech Sigma_1, ..., log lambda_1, ...)``, from its design alone."""
    design, priors, standard = model.design, model.priors, model.statistics.standardization
    Zs, Gs, position = [], [], 1
    for term in design.terms:
        size, m = coordinates.vech_size(term.q), term.grouping.n_groups
        own = term.grouping.codes[:, None] == np.arange(m)
        Zs.append((own[:, :, None] * term.Z[:, None, :]).reshape(design.n_rows, m * term.q))
        Gs.append(np.kron(np.eye(m), coordinates.unvech(u[position : position + size], term.q)))
        position += size
    X = (design.X - standard.center) / standard.scale
    columns, lam = [X[:, list(priors.flat_columns)]], [0.0] * len(priors.flat_columns)
    for group, log_lambda in zip(priors.penalty_groups, u[position:], strict=True):
        own = (
            X[:, list(group.columns)] if group.block is None else wide_columns(design.wide[group.block], design.shares)
        )
        columns.append(own)
        lam += [np.exp(log_lambda) * (u[0] ** 2 if group.absolute else 1.0)] * own.shape[1]
    y = design.y - standard.offset
    return Dense(y, np.hstack(columns), np.array(lam), u[0], tuple(Zs), tuple(Gs), design.weights)


def integrated_out(logp, known, start):
    """log of the integral of a density that is Gaussian in the variables of ``start`` that are not ``known``.

    By ``l(mode) + k/2 log 2 pi - 1/2 log|-H|``; of a quadratic, differences with unit steps are exact.
    """
    names = [name for name in start if name not in known]
    edges = np.cumsum([start[name].size for name in names])

    def value(v):
        pieces = np.split(v, edges[:-1])
        more = {name: piece.reshape(start[name].shape) for name, piece in zip(names, pieces, strict=True)}
        return float(logp(known | more))

    k = int(edges[-1])
    unit, base = np.eye(k), value(np.zeros(k))
    plus, minus = np.array([value(e) for e in unit]), np.array([value(-e) for e in unit])
    hessian = np.diag(plus + minus - 2 * base)
    for i in range(k):
        for j in range(i):
            hessian[i, j] = hessian[j, i] = value(unit[i] + unit[j]) - plus[i] - plus[j] + base
    gradient = (plus - minus) / 2
    top = base + 0.5 * gradient @ np.linalg.solve(-hessian, gradient)
    return top + k / 2 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(-hessian)[1]
