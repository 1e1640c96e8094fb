"""What was learned of one model, as a value: all that checks, posteriors and reports are made from."""

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np

from pmlmm.inference.empirical_bayes import LaplaceEvidence, Position, SearchRecord
from pmlmm.inference.importance import ImportanceSample, Weights, work
from pmlmm.inference.laplace import Approximation, Coordinates, Mode
from pmlmm.inference.refine import Sampler
from pmlmm.kernels import likelihood_at_draws
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.threads import blas_threads
from pmlmm.options import refuse_unknown
from pmlmm.priors.search_space import Space
from pmlmm.priors.theta import Theta
from pmlmm.problem import Problem

# Draws, and fewer where those would take more floating-point operations than this (a quarter of a second).
_DRAWS, _FEW_DRAWS, _MOST_WORK = 2000, 500, 2e8


@dataclass(frozen=True)
class FitOptions:
    """What a user chose for :meth:`pmlmm.Model.fit`."""

    approximation: Approximation
    coordinates: Coordinates
    refine: bool | Literal["auto"]
    draws: int | None
    random_seed: int
    optimizer: Literal["newton", "em"]
    integrate: bool | Literal["auto"] = False

    @property
    def is_marginal_newton(self) -> bool:
        return self.approximation == "marginal" and self.optimizer == "newton"

    @property
    def is_default(self) -> bool:
        """Whether the approximation is the one that proposals are made from."""
        return self.is_marginal_newton and self.coordinates == "unconstrained"

    def number_of_draws(self, data: Crossproducts) -> int:
        """Importance draws: as asked for, or fewer where each is costly."""
        few = not likelihood_at_draws.cheap(data) or work(_DRAWS, data) > _MOST_WORK
        return self.draws or (_FEW_DRAWS if few else _DRAWS)


@dataclass(frozen=True, eq=False)
class Found:
    """All of :class:`Learned` that a search has found; the rest follows from the problem and the options.

    Attributes
    ----------
    phi, mode, refined, refinement, records, integrate
        As there.
    proposal : Mode or None
        None: it is ``mode``.
    weighable : bool
        Whether importance draws pay.
    positions : tuple of Position
        Of the evidence that was maximised, and of that of the default approximation where it is another one.
    """

    phi: np.ndarray
    mode: Mode
    proposal: Mode | None
    refined: bool
    refinement: str
    records: tuple[SearchRecord, ...]
    integrate: bool
    weighable: bool
    positions: tuple[Position, ...]


@dataclass(frozen=True, eq=False)
class Learned:
    """Learned hyperparameters, the mode there, and how all that was found.

    Attributes
    ----------
    problem : Problem
    space : Space
        What was learned, and the map from phi to Theta.
    options : FitOptions
    theta : Theta
    phi : (k,) array
        Learned hyperparameters on the search scale.
    mode : Mode
        In the approximation and coordinates that were asked for.
    proposal : Mode
        In the default ones.
    refined : bool
        Whether phi maximises the importance-sampled evidence.
    refinement : str
        What was done, in words.
    records : tuple of SearchRecord
    integrate : bool
        Whether the hyperparameters are to be integrated out.
    """

    problem: Problem
    space: Space
    options: FitOptions
    theta: Theta
    phi: np.ndarray
    mode: Mode
    proposal: Mode
    refined: bool
    refinement: str
    records: tuple[SearchRecord, ...]
    integrate: bool
    _evidence: LaplaceEvidence
    _proposals: LaplaceEvidence
    _sampler: Sampler | None

    @property
    def weighable(self) -> bool:
        """Whether importance draws pay here."""
        return self._sampler is not None

    @property
    def found(self) -> Found:
        """What :func:`pmlmm.inference.learn.restore` makes the same of again."""
        both = (self._evidence,) if self._proposals is self._evidence else (self._evidence, self._proposals)
        return Found(
            phi=self.phi,
            mode=self.mode,
            proposal=None if self.proposal is self.mode else self.proposal,
            refined=self.refined,
            refinement=self.refinement,
            records=self.records,
            integrate=self.integrate,
            weighable=self.weighable,
            positions=tuple(evidence.position for evidence in both),
        )

    @cached_property
    def drawn(self) -> tuple[ImportanceSample, Weights] | None:
        """Importance draws at the learned Theta and their weights; None where they do not pay."""
        if self._sampler is None:
            return None
        with blas_threads(self.dense), np.errstate(all="ignore"):  # what overflows has no weight
            return self._sampler.at(self.proposal, self.phi)

    @property
    def sample(self) -> ImportanceSample | None:
        """The importance draws, if there are any."""
        return self.drawn and self.drawn[0]

    @property
    def weights(self) -> Weights | None:
        """Theirs."""
        return self.drawn and self.drawn[1]

    def refit_arguments(
        self, changes: Mapping[str, Any], of_model: Iterable[str], *, integrated: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What :meth:`pmlmm.Model.fit` takes for a fit like this one but for ``changes``; and changes ``of_model``."""
        old = {field.name: getattr(self.options, field.name) for field in fields(self.options)}
        old |= {"hyperprior": self.space.hyperprior, "progress": None}
        if integrated and not self.options.integrate:  # by fit.integrate()
            old["integrate"] = True
        if {"approximation", "optimizer"} & set(changes):  # each has coordinates of its own
            old["coordinates"] = None
        refuse_unknown(changes, [*of_model, *old])
        own = {name: value for name, value in changes.items() if name in old}
        return old | own, {name: value for name, value in changes.items() if name not in old}

    @property
    def evidence(self) -> LaplaceEvidence:
        """The function that was maximised, at its last mode; one of its own for every caller, as it moves on."""
        return copy(self._evidence)

    @property
    def proposals(self) -> LaplaceEvidence:
        """The same in the default approximation and coordinates."""
        return copy(self._proposals)

    @property
    def data(self) -> Crossproducts:
        """Cross-products of the marginal likelihood."""
        return self.problem.statistics.crossproducts()

    @property
    def reliable(self) -> bool:
        """Whether there are importance weights to be trusted."""
        return self.weights is not None and self.weights.reliable

    @property
    def number_of_draws(self) -> int:
        """Draws of the posterior unless another number is asked for."""
        return self.options.number_of_draws(self.data)

    @property
    def dense(self) -> int:
        """Columns of the dense factorisation, which say how many BLAS threads pay."""
        return self.problem.statistics.elimination.dense
