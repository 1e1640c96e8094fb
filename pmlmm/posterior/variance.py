"""How much of the response's variance fixed effects, wide blocks, random effects and errors carry at every draw."""

from dataclasses import dataclass

import numpy as np

from pmlmm.design.design import Design
from pmlmm.kernels.layout import SIGMA
from pmlmm.posterior.draws import WeightedDraws
from pmlmm.posterior.labels import covariances
from pmlmm.posterior.source import Posterior


@dataclass(frozen=True, eq=False)
class Variances:
    """Variances, (draws,) each, in squared units of y.

    Attributes
    ----------
    fixed : array
        Of what the formula's fixed effects and all wide blocks predict together, over the rows.
    parts : dict
        The same of the formula's fixed effects, and of each wide block, by themselves.
    terms : dict
        Mean over the rows of ``z' Sigma z``, by term.
    factors : dict
        Factor of each term.
    residual : array
        Mean over the rows of ``sigma^2 / weight``.
    """

    fixed: np.ndarray
    parts: dict[str, np.ndarray]
    terms: dict[str, np.ndarray]
    factors: dict[str, str]
    residual: np.ndarray

    @property
    def random(self) -> np.ndarray:
        """Of all terms together."""
        return sum(self.terms.values(), np.zeros_like(self.residual))

    @property
    def total(self) -> np.ndarray:
        return self.fixed + self.random + self.residual

    def of_factor(self, factor: str) -> np.ndarray:
        """Of all terms of a factor."""
        return sum((v for name, v in self.terms.items() if self.factors[name] == factor), np.zeros_like(self.residual))


def draw_variances(posterior: Posterior) -> Variances:
    """Variances at draws of equal weight, as many as the fit has, from the fit's seed."""
    learned = posterior.learned
    rng = np.random.default_rng([learned.options.random_seed, 13])
    draws = posterior.resample(learned.number_of_draws, rng)[0]
    fixed, parts = _of_fixed_effects(draws, rng)
    problem = posterior.problem
    Sigmas = covariances(draws.natural, problem.design.sizes)
    # columns of Z from their origin: far from it a covariance on the user's scale is a difference of large numbers
    terms = {t.name: mean_variance(Sigma, t.Z) for t, Sigma in zip(problem.statistics.terms, Sigmas, strict=True)}
    residual = draws.natural[:, SIGMA] ** 2 * float(np.mean(np.square(problem.design.noise_sd)))
    return Variances(fixed, parts, terms, factors_of(problem.design), residual)


def factors_of(design: Design) -> dict[str, str]:
    """Factor of each term, by name."""
    return {term.name: term.factor for term in design.terms}


def mean_variance(Sigma: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Mean over the rows of ``z' Sigma z``: Sigma (draws, q, q), Z (n, q) -> (draws,).

    References
    ----------
    Johnson (2014). Extension of Nakagawa & Schielzeth's R2_GLMM to random slopes models. Methods in Ecology and
    Evolution 5(9), 944-946, equation 10.
    """
    return np.einsum("sab,ab->s", Sigma, Z.T @ Z / len(Z))


def _root(columns: np.ndarray) -> np.ndarray:
    """R with R'R the columns' covariance; by QR, as forming that first would square rounding errors."""
    return np.linalg.qr(columns - columns.mean(axis=0), mode="r") / np.sqrt(len(columns) - 1.0)


def _of_fixed_effects(draws: WeightedDraws, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Of all of them together, and of each part by itself."""
    beta, alpha = draws.fixed_effects(rng)
    blocks = draws.problem.statistics.wide
    names = ["fixed effects", *(block.block.name for block in blocks)]
    X = draws.problem.design.X
    coefficients, root = np.hstack([beta, alpha]), _root(np.hstack([X, *(block.columns for block in blocks)]))
    edges = np.cumsum([X.shape[1], *(block.rank for block in blocks)])[:-1]
    pieces = zip(np.split(coefficients, edges, axis=1), np.split(root, edges, axis=1), strict=True)
    moved = {name: b @ R.T for name, (b, R) in zip(names, pieces, strict=True)}
    together = sum(moved.values(), np.zeros((len(beta), len(root))))
    return np.sum(together**2, axis=1), {name: np.sum(values**2, axis=1) for name, values in moved.items()}
