"""All that the likelihood needs of the data: cross-products, and where each parameter enters."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pmlmm.kernels.coordinates import block_diagonal, unvech
from pmlmm.kernels.eliminate.blocks import Block
from pmlmm.kernels.eliminate.protocol import Eliminated, EliminatedDraws, Elimination
from pmlmm.kernels.layout import Layout, columns
from pmlmm.kernels.remember import Last

# The residual sum of squares is a small difference of large sums where sigma is far below the size of y. Rounding may
# move the log-likelihood by so many nats, and by so many per row (sigma 1e-5 of the size of y).
_MOST_ROUNDING, _MOST_ROUNDING_PER_ROW = 1e-2, 2.2e-6


@dataclass(frozen=True, eq=False)
class Crossproducts:
    """All that the likelihood needs of the data, and where each parameter enters.

    Attributes
    ----------
    first : Elimination
        What is eliminated first; it holds the cross-products of the dense columns W.
    sizes, levels : tuples of int
        q and number of groups of each random-effect term.
    grouped : tuple of int
        Terms that are eliminated first, group by group; in the order of ``first.sizes``.
    ridges : tuple of int
        Penalty groups that are eliminated first, in the order of ``first``.
    blocks : tuple of Block
        Blocks of W with a proper prior; random effects come before coefficients.
    gammas : int
        Number of columns of W that are random effects.
    counts : (G,) array
        Number of coefficients of each penalty group.
    absolute : (G,) bool array
        Groups whose prior is in the units of y instead of sigma's: where the others have log lambda these have
        ``v = -log tau^2``, with ``beta ~ N(0, tau^2)``. They are among the dense blocks.
    n : float
        Number of rows.
    log_weights : float
        Sum of the logarithms of the rows' weights, where the sums are of rows times the root of these: the likelihood
        is that of the rows themselves.
    """

    first: Elimination
    sizes: tuple[int, ...]
    levels: tuple[int, ...]
    grouped: tuple[int, ...]
    ridges: tuple[int, ...]
    blocks: tuple[Block, ...]
    gammas: int
    counts: np.ndarray
    absolute: np.ndarray
    n: float
    log_weights: float = 0.0
    last: tuple[Last, Last] = field(default_factory=lambda: (Last(), Last()), init=False, repr=False)

    @cached_property
    def layout(self) -> Layout:
        """Positions in u."""
        return Layout(self.sizes, len(self.counts))

    @property
    def parameters(self) -> int:
        """Length of theta: 1 + sum of q(q+1)/2."""
        return self.layout.parameters

    @cached_property
    def effects(self) -> slice:
        """Columns of ``[W Y]`` that are effects, W."""
        return columns(self.first.width)[0]

    @cached_property
    def responses(self) -> slice:
        """Columns of ``[W Y]`` that are responses, Y."""
        return columns(self.first.width)[1]

    @property
    def columns(self) -> int:
        """Number of dense columns, r."""
        return self.effects.stop

    @cached_property
    def flat(self) -> int:
        """Number of columns with a flat prior."""
        covered = self.blocks[-1].columns.stop if self.blocks else 0
        return self.columns - covered

    @property
    def response_squares(self) -> float:
        """Sum of squares of the response; of several, the largest."""
        return float(self.first.column_squares[self.responses].max())

    def rounding(self, sigma: float) -> float:
        """How far rounding moves the log-likelihood at sigma (nats), to within a factor of about ten."""
        return float(np.finfo(float).eps * self.response_squares / sigma**2)

    def lost(self, sigma: float) -> bool:
        """Whether what is left of y beside its effects is lost in rounding."""
        return self.rounding(sigma) > min(_MOST_ROUNDING, _MOST_ROUNDING_PER_ROW * self.n)

    def seconds(self) -> float:
        """What one evaluation with its Hessian takes on an ordinary core, about."""
        return self.first.work() / 3e8 + (1.0 + 2.0 * self.first.parameters) * self.columns**3 / 3e10

    @property
    def ridge_columns(self) -> int:
        """Number of dense columns with a prior in units of sigma."""
        return sum(block.levels for block in self.blocks if block.ridge and not self.absolute[block.parameter])

    @cached_property
    def order(self) -> np.ndarray:
        """Position in u of each parameter of the two stages: (sigma, first elimination, dense blocks)."""
        layout = self.layout
        every = np.arange(layout.size)
        terms, lambdas = [every[part] for part in layout.Sigmas], every[layout.log_lambda, None]
        parts = [every[:1], *(terms[k] for k in self.grouped), *(lambdas[g] for g in self.ridges)]
        return np.concatenate([*parts, *((lambdas if b.ridge else terms)[b.parameter] for b in self.blocks)])

    def roots(self, u: np.ndarray) -> list[np.ndarray]:
        """Lower factors of every term's Sigma / sigma^2 at (..., k) values of u, or of theta."""
        layout = self.layout
        variance = u[..., layout.sigma, None, None] ** 2
        pairs = zip(self.sizes, layout.Sigmas, strict=True)
        return [np.linalg.cholesky(unvech(u[..., part], q) / variance) for q, part in pairs]

    def relative(self, log_lambda: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """log lambda in units of sigma for all groups, (..., G): ``lambda = sigma^2 / tau^2`` of the absolute ones."""
        if not self.absolute.any():
            return log_lambda
        return log_lambda + 2.0 * np.log(sigma)[..., None] * self.absolute

    def block_roots(self, roots: list[np.ndarray], log_lambda: np.ndarray) -> list[np.ndarray]:
        """Lower factor of the prior covariance of each dense block, over sigma^2."""
        return [
            np.exp(-0.5 * log_lambda[..., b.parameter])[..., None, None] if b.ridge else roots[b.parameter]
            for b in self.blocks
        ]

    def group_root(self, roots: list[np.ndarray], leading: tuple[int, ...] = ()) -> np.ndarray:
        """Lower factor of the covariance of all effects of one group of the factor eliminated first."""
        chosen = [roots[k] for k in self.grouped]
        return block_diagonal(chosen) if chosen else np.zeros((*leading, 0, 0))

    def eliminate(self, roots: list[np.ndarray], log_lambda: np.ndarray) -> Eliminated:
        """The first elimination, at the terms' factors and log lambda (G,)."""
        return self.first.eliminate(self.group_root(roots), log_lambda[list(self.ridges)])

    def eliminate_draws(self, theta: np.ndarray, log_lambda: np.ndarray) -> EliminatedDraws:
        """The same at natural coordinates (draws, d); lambda is used only where penalised columns go first."""
        roots = self.roots(theta) if self.grouped else []
        L = np.ascontiguousarray(self.group_root(roots, (len(theta),)))
        return self.first.eliminate_draws(L, log_lambda[list(self.ridges)])
