"""Where draws come from: one protocol for learned hyperparameters and for those integrated over."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from pmlmm.design.design import Design
from pmlmm.inference.integrate import Integrated
from pmlmm.inference.learned import Learned
from pmlmm.kernels import coordinates
from pmlmm.memory import refuse_draws
from pmlmm.posterior import tree
from pmlmm.posterior.draws import WIDE_AT_MEANS, WeightedDraws, expected, laplace_draws
from pmlmm.posterior.effects import Parameters
from pmlmm.posterior.labels import label
from pmlmm.problem import Problem

#: Chains into which independent draws are cut.
CHAINS = 4
# What the Dataset of draws says of Laplace's approximation at the learned hyperparameters.
UNWEIGHTED, GIVEN_LEARNED = "Laplace draws, unweighted", "given the learned hyperparameters"


class Evidence(NamedTuple):
    """The log evidence that a fit reports first, the importance-sampled one, its error (nats), and Pareto's k-hat.

    The last three are nan where importance sampling was skipped.
    """

    log_evidence: float
    log_evidence_psis: float
    error: float
    k_hat: float


class Posterior(ABC):
    """A posterior of (sigma, Sigma), and everything that is exactly known given these.

    What is remembered of it (draws, their summaries) is remembered here.

    Attributes
    ----------
    learned : Learned
    integrated : Integrated or None
        Where the hyperparameters are integrated over.
    about_hyperparameters, about_intervals : str
        What their intervals are, and what those of the estimates are given, in words.
    given : str
        The latter in short, as the Dataset of the draws has it.
    """

    about_hyperparameters: str
    about_intervals: str
    given: str
    integrated: Integrated | None = None

    def __init__(self, learned: Learned):
        self.learned = learned

    @property
    @abstractmethod
    def evidence(self) -> Evidence:
        """What is known of log p(y)."""

    @property
    @abstractmethod
    def reliable(self) -> bool:
        """Whether there are importance weights to be trusted."""

    @property
    @abstractmethod
    def about_weights(self) -> str:
        """Where draws of equal weight come from, in words."""

    @property
    def attributes(self) -> dict[str, Any]:
        """What the Dataset of the draws says about them."""
        evidence = self.evidence
        return {
            "k_hat": evidence.k_hat,
            "weights": self.about_weights,
            "intervals": self.given,
            "beta": "given each draw" if self.weighs_draws else "given the mode of sigma and Sigma",
            "log_evidence": evidence.log_evidence,
            "log_evidence_psis": evidence.log_evidence_psis,
        }

    @property
    def weighs_draws(self) -> bool:
        """Whether draws of (sigma, Sigma) have importance weights of their own; Laplace's otherwise."""
        return self.learned.weighable

    @property
    def more_groups(self) -> dict[str, xr.Dataset]:
        """Groups that only some posteriors have."""
        return {}

    @property
    def importance(self) -> WeightedDraws | None:
        """Draws with importance weights given the learned hyperparameters, whether reliable or not."""
        return None

    @abstractmethod
    def draw(self, number: int, rng: np.random.Generator) -> WeightedDraws:
        """Weighted draws: those that there are, or ``number`` new ones."""

    @abstractmethod
    def resample(self, number: int, rng: np.random.Generator) -> tuple[WeightedDraws, dict[str, np.ndarray]]:
        """``number`` draws of equal weight, and further variables of the posterior."""

    @abstractmethod
    def draw_prior(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(sigma, vech Sigma) from their priors, (number, d), and log lambda."""

    @property
    def problem(self) -> Problem:
        return self.learned.problem

    @property
    def design(self) -> Design:
        return self.learned.problem.design

    @cached_property
    def weighted(self) -> WeightedDraws:
        """The draws behind means and sds."""
        return self.draw(self.learned.number_of_draws, np.random.default_rng([self.learned.options.random_seed, 2]))

    @cached_property
    def mean(self) -> xr.Dataset:
        """Posterior means."""
        return label(self.weighted.means(), self.design)

    @cached_property
    def sd(self) -> xr.Dataset:
        """Posterior standard deviations of all but gamma."""
        draws = self.without_effects
        values = {str(name): np.std(draws[name].to_numpy(), axis=(0, 1), ddof=1) for name in draws.data_vars}
        if self.design.wide:
            values |= self.weighted.wide_sds(np.random.default_rng(self.learned.options.random_seed))
        return label(values, self.design)

    @cached_property
    def mode(self) -> xr.Dataset:
        """The mode at the learned hyperparameters."""
        learned, options = self.learned, self.learned.options
        parameters = self.parameters(learned.mode.natural[None])
        dense = parameters.effects().mean
        values = expected(parameters, dense, self.design) | parameters.gamma(dense)
        return label(
            {name: value[0] for name, value in values.items()},
            self.design,
            approximation=options.approximation,
            coordinates=options.coordinates,
            log_posterior=learned.mode.log_posterior,
        )

    @cached_property
    def without_effects(self) -> xr.Dataset:
        """Draws without gamma and the coefficients of wide blocks."""
        return self.for_arviz(None, self.learned.options.random_seed, gamma=False, wide=False)["posterior"].to_dataset()

    @cached_property
    def population(self) -> tuple[np.ndarray, np.ndarray]:
        """beta, and last what wide blocks add at the means of their columns: mean (p + 1,), draws (draws, p + 1).

        The draws are those of :attr:`without_effects`.
        """
        mean = np.append(self.mean["beta"].to_numpy(), 0.0)
        drawn = self.without_effects["beta"].to_numpy()
        draws = np.zeros((drawn.shape[0] * drawn.shape[1], len(mean)))
        draws[:, :-1] = drawn.reshape(len(draws), -1)
        if self.design.wide:
            rng = np.random.default_rng([self.learned.options.random_seed, 1])
            again = self.resample(len(draws), rng)[0].draw(rng, gamma=False, wide=False, at_means=True)
            draws[:, -1] = again[WIDE_AT_MEANS]
            mean[-1] = sum(block.at_means(self.mean[f"beta_{block.name}"].to_numpy()) for block in self.design.wide)
        return mean, draws

    def parameters(self, natural: np.ndarray) -> Parameters:
        """(sigma, Sigma) at natural coordinates (draws, d), with the learned lambda."""
        problem = self.problem
        return Parameters(natural, self.learned.theta.log_lambda, problem.design, problem.statistics)

    def for_arviz(self, draws: int | None, seed: int, *, corrected: bool = True, **options: Any) -> xr.DataTree:
        """Draws for ArviZ, ``draws`` per chain; ``options`` are those of :func:`tree.posterior_groups`."""
        number = CHAINS * draws if draws else self.learned.number_of_draws
        groups, _, _ = self.groups(number, np.random.default_rng([seed, 1]), corrected=corrected, **options)
        return xr.DataTree.from_dict(groups | self.more_groups)

    def groups(self, number: int, rng: np.random.Generator, *, corrected: bool = True, **options: Any):
        """Groups of a DataTree, everything that was drawn, and the shape (chains, draws)."""
        shape = CHAINS, number // CHAINS
        each = self.design.numbers_each(gamma=options.get("gamma"), wide=options.get("wide"))
        refuse_draws(number, each, f"draws={shape[1]}")
        attributes = self.attributes
        if corrected:
            draws, more = self.resample(shape[0] * shape[1], rng)
        else:
            draws, more = self.laplace(number, rng).resampled(shape[0] * shape[1], rng), {}
            attributes["weights"] = UNWEIGHTED
            attributes["intervals"] = GIVEN_LEARNED
        groups, values = tree.posterior_groups(draws, shape, rng, more=more, attributes=attributes, **options)
        return groups, values, shape

    def laplace(self, number: int, rng: np.random.Generator) -> WeightedDraws:
        """Draws of (sigma, Sigma) from Laplace's approximation at the learned hyperparameters.

        Where effects given each of these would take too long, they are those given the mode.
        """
        learned, proposal = self.learned, self.learned.proposal
        precision = learned.proposals.proposal_precision(proposal, learned.phi)
        x = laplace_draws(proposal.x, precision, number, rng)
        natural, weights = coordinates.natural_draws(x, self.design.sizes)[0], np.full(number, 1.0 / number)
        pinned = None if self.weighs_draws else proposal.natural
        return WeightedDraws(self.problem, natural, learned.theta.log_lambda, weights, pinned).proper()

    @property
    def data_fingerprint(self) -> str:
        """Whether two posteriors are of the same formula and data."""
        more = [x for x in (self.design.weights, self.design.offset) if x is not None]
        return tree.fingerprint(self.problem.formula, self.design.y, self.design.X, *more)

    @property
    def theta_fingerprint(self) -> str:
        """Whether two posteriors are given the same hyperparameters."""
        return tree.fingerprint(self.learned.theta.packed)
