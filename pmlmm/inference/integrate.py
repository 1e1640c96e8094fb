"""Theta integrated out: draws of what the likelihood depends on, nodes for the rest, and all pairs of them weighed.

The likelihood of s = (sigma, Sigma, lambda) does not depend on the hyperparameters psi of the covariances (b, A, ...):
one set of draws s and one of nodes psi make draws x nodes weights

    w_sj = p(y | s) p(sigma) p(lambda) p(Sigma | psi_j) p(psi_j) / [q(s) g(psi_j)]

for one evaluation of the likelihood a draw. Their mean is p(y), the sums of their rows weigh the draws, those of their
columns the nodes. Draws come in rounds (adaptive multiple importance sampling: Cornuet, Marin, Mira and Robert 2012,
Scandinavian Journal of Statistics 39): first from a Student-t with the covariance that the second derivatives at the
mode give, then from ones matched to the weighted draws so far, and from mixtures where these do not do. All are kept,
under the mixture of their proposals. Nodes are scrambled Sobol points of a Student-t that is matched likewise. The
result is exact up to Monte Carlo error, which the weights themselves show.
"""

from dataclasses import dataclass

import numpy as np

from pmlmm.errors import OptionError
from pmlmm.inference.around_mode import joint_covariance
from pmlmm.inference.empirical_bayes import Progress
from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.inference.learned import Learned
from pmlmm.inference.pairs import Drawn, Pairs, Weighed, joined
from pmlmm.inference.scale_free import ScaleFree
from pmlmm.inference.student import Mixture, Student
from pmlmm.kernels import likelihood_at_draws
from pmlmm.kernels.crossproducts import Crossproducts
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.priors.hyperprior import Hyperprior
from pmlmm.priors.search_space import Space

# Draws of a round, at least and for each dimension; fewer where they would take more than so many floating-point
# operations.
_DRAWS, _DRAWS_A_DIMENSION, _FEWEST_DRAWS, _OPERATIONS = 1000, 200, 150, 3e8
# What a draw takes at least, what one that is evaluated by itself does, and what an integration may that is quick.
_FEW_OPERATIONS, _BY_ITSELF, _QUICK = 200.0, 1e5, 5e8
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 8
# Rounds go on below this effective share of a round's draws.
_ENOUGH = 0.6
# Nodes while proposals adapt; and at the end, in sets that are scrambled independently, which show the error.
_PILOT_NODES, _NODES, _SETS = 64, 512, 8
_FEWEST_NODES, _FEWEST_OF_USER = 64, 100
# Fewer nodes where there are so many draws that the pairs would be more than this.
_PAIRS = 2_100_000
# Weights are tempered where fewer draws, for each dimension, are effective.
_FEW, _TEMPER = 20.0, 0.6
# Proposals are so much wider (variance) than what they are matched to: one Student-t, nodes, a mixture of components.
_WIDER, _WIDER_NODES, _WIDER_MIXTURE, _COMPONENTS = 1.1, 1.3, 1.54, 3
# Draws of such a share of the average weight are left out.
_NEGLIGIBLE = 1e-3
# Share of draws from a much wider proposal, and how much wider.
_DEFENCE, _MUCH_WIDER = 0.25, 6.0


@dataclass(frozen=True, eq=False)
class Integrated:
    """Weighted draws of (sigma, Sigma, lambda), nodes of the other hyperparameters, and how they go together.

    Attributes
    ----------
    natural : (draws, d) array
    learned_lambda : (draws, l) array
        Logarithms of the learned lambdas.
    log_lambda : (draws, G) or (G,) array
        The same of all penalty groups; of one dimension where none is learned.
    weights : (draws,) array
        They sum to 1.
    nodes : (nodes, k - l) array
        The other hyperparameters, on the search scale.
    given : (draws, nodes) array
        Posterior probabilities of the nodes given each draw.
    sets : (nodes,) int array
        Of which set each node is; sets are independent.
    log_evidence, error : float
        log of ``int p(y | phi) p(phi) dphi`` with its Monte Carlo standard error (nats).
    k_hat : float
        Pareto shape of the draws' weights.
    """

    natural: np.ndarray
    learned_lambda: np.ndarray
    log_lambda: np.ndarray
    weights: np.ndarray
    nodes: np.ndarray
    given: np.ndarray
    sets: np.ndarray
    log_evidence: float
    error: float
    k_hat: float

    @property
    def effective(self) -> float:
        """Effective number of draws."""
        return float(1.0 / np.sum(self.weights**2))

    def variance(self, influence: np.ndarray) -> np.ndarray:
        """Variance that the nodes add to means whose influence of each draw this is, (draws, ...): from set to set."""
        of_draws = np.stack([self.given[:, self.sets == s].sum(axis=1) for s in range(self.sets[-1] + 1)])
        of_sets = of_draws @ influence
        number = len(of_sets)
        return number * np.var(of_sets, axis=0, ddof=1) if number > 1 else np.zeros(influence.shape[1:])

    def quantiles(self, levels: list[float]) -> np.ndarray:
        """Of every hyperparameter on its search scale: (k, levels)."""
        of_nodes = self.weights @ self.given
        of_nodes /= np.sum(of_nodes)
        pairs = [(values, self.weights) for values in self.learned_lambda.T] + [(v, of_nodes) for v in self.nodes.T]
        found = [np.quantile(values, levels, weights=w, method="inverted_cdf") for values, w in pairs]
        return np.reshape(found, (len(pairs), len(levels)))

    def phi(self, chosen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Hyperparameters for some of the draws, a node drawn given each: (len(chosen), k)."""
        cumulative = np.cumsum(self.given[chosen], axis=1, dtype=float)
        node = np.argmax(cumulative > rng.random((len(chosen), 1)) * cumulative[:, -1:], axis=1)
        return np.hstack([self.learned_lambda[chosen], self.nodes[node]])


def integrate_out(
    learned: Learned, nodes: int | None, draws: int | None, random_seed: int, progress: Progress = None
) -> Integrated:
    """Integrate the hyperparameters of a model out around their learned values; see the module.

    ``draws`` are those of a round; ``nodes`` are rounded up to a power of two.

    Raises
    ------
    OptionError
        There is no hyperprior, or an option is out of its range.
    """
    refuse_without_hyperprior(learned.space.hyperprior, "integrate()")
    for name, value, least in (("nodes", nodes, _FEWEST_NODES), ("draws", draws, _FEWEST_OF_USER)):
        if value is not None and not (isinstance(value, int | np.integer) and value >= least):
            raise OptionError(f"integrate({name}={value!r}): an integer of at least {least}.")
    number = draws or _draws_of_a_round(learned.data, learned.space, learned.weighable)
    each = learned.problem.design.numbers_each(gamma=None, wide=None) + (nodes or _NODES)
    refuse_draws(_MOST_ROUNDS * number, each, f"integrate(nodes={nodes}, draws={draws})")
    nodes = nodes and 2 ** int(np.ceil(np.log2(nodes)))
    with blas_threads(learned.dense), np.errstate(all="ignore"):  # what overflows has no weight
        return _Integration(learned, nodes, number, random_seed).run(progress)


def refuse_without_hyperprior(hyperprior: Hyperprior | None, call: str) -> None:
    """Raise where there is nothing to integrate against; ``call`` is what the user wrote."""
    if hyperprior is None:
        raise OptionError(
            f"{call} needs a proper hyperprior, and this fit has none (hyperprior=None). Fit with the default, or with "
            "a pmlmm.Hyperprior of your own."
        )


def is_quick(data: Crossproducts, space: Space, weighable: bool) -> bool:
    """Whether an integration takes well under a second, by its operations: the same on every machine."""
    operations = _draws_of_a_round(data, space, weighable) * _operations_a_draw(data, space, weighable)
    return _FEWEST_ROUNDS * operations <= _QUICK


def _draws_of_a_round(data: Crossproducts, space: Space, weighable: bool) -> int:
    wanted = max(_DRAWS, _DRAWS_A_DIMENSION * (data.parameters + len(space.learned_groups)))
    return int(np.clip(_OPERATIONS / _operations_a_draw(data, space, weighable), _FEWEST_DRAWS, wanted))


def _operations_a_draw(data: Crossproducts, space: Space, weighable: bool) -> float:
    """Of the likelihood; few where an expansion takes its place."""
    if not weighable:
        return _FEW_OPERATIONS
    by_itself = data.columns > likelihood_at_draws.LARGE or (data.ridges and len(space.learned_groups))
    return data.first.work() + data.columns**3 / 5.0 + (_BY_ITSELF if by_itself else _FEW_OPERATIONS)


class _Integration:
    """The rounds of one model."""

    def __init__(self, learned: Learned, nodes: int | None, draws: int, random_seed: int):
        self.pairs, self.nodes, self.number_of_draws = Pairs(learned), nodes, draws
        self.rng = np.random.default_rng([random_seed, 3])
        centre = np.concatenate([learned.proposal.x, learned.phi])
        covariance = _WIDER * joint_covariance(learned.proposal, learned.space, learned.phi)
        split = self.pairs.size + self.pairs.lambdas
        # scale-free coordinates of s are centre + root z: in z the units of y and of the columns do not matter
        self.coordinates = ScaleFree(learned.data.sizes)
        self.centre = self.coordinates.here(centre[:split])
        back = np.linalg.inv(self.coordinates.jacobian(self.centre))
        self.root = np.linalg.cholesky(back @ covariance[:split, :split] @ back.T)
        self.proposal = Mixture.of(Student(np.zeros(split), np.eye(split))).defended(_DEFENCE, _MUCH_WIDER)
        self.node_proposal = Student.of(centre[split:], covariance[split:, split:])
        self.proposals: list[Mixture] = []
        self.rounds: list[Drawn] = []
        self.standard, self.volumes = np.empty((0, split)), np.empty(0)

    def run(self, progress: Progress) -> Integrated:
        for count in range(1, _MOST_ROUNDS + 1):
            if progress is not None:
                progress(f"integrating the hyperparameters out, round {count}")
            drawn, log_proposal = self._draw()
            nodes, log_node_proposal = self._nodes(_PILOT_NODES, 1)
            weighed = self.pairs.weigh(drawn, log_proposal, nodes, log_node_proposal)
            self._adapt(count, nodes, weighed)
            last = count == _MOST_ROUNDS
            if last or (count >= _FEWEST_ROUNDS and self._settled(weighed)):
                nodes, log_node_proposal = self._nodes(self._most_nodes(len(drawn.lambdas)), _SETS)
                weighed = self.pairs.weigh(drawn, log_proposal, nodes, log_node_proposal)
                if last or self._settled(weighed):
                    break
        return self._result(drawn, nodes, weighed)

    def _draw(self) -> tuple[Drawn, np.ndarray]:
        """Another round; all draws so far, and their log-density under the mixture of the proposals."""
        self.proposals.append(self.proposal)
        z = self.proposal.draw(self.number_of_draws, self.rng)
        self.standard = np.concatenate([self.standard, z])
        y = self.centre + z @ self.root.T
        self.rounds.append(self.pairs.at(self.coordinates.there(y)))
        self.volumes = np.append(self.volumes, self.coordinates.log_jacobian(y))
        each = [proposal.log_density(self.standard) for proposal in self.proposals]
        volume = np.log(len(each)) + np.sum(np.log(np.diag(self.root))) + self.volumes
        return joined(self.rounds), np.logaddexp.reduce(each, axis=0) - volume

    def _nodes(self, number: int, sets: int) -> tuple[np.ndarray, np.ndarray]:
        """Sets of nodes, one after the other, and their log-density; a single node where there is nothing to vary."""
        if not len(self.node_proposal.centre):
            return np.empty((1, 0)), np.zeros(1)
        nodes = np.concatenate([self.node_proposal.spread(number // sets, self.rng) for _ in range(sets)])
        return nodes, self.node_proposal.log_density(self.node_proposal.squares(nodes))

    def _most_nodes(self, draws: int) -> int:
        return self.nodes or max(_FEWEST_NODES, min(_NODES, 2 ** int(np.log2(_PAIRS / draws))))

    def _settled(self, weighed: Weighed) -> bool:
        return weighed.k_hat <= LARGEST_K_HAT and weighed.effective >= _ENOUGH * self.number_of_draws

    def _adapt(self, count: int, nodes: np.ndarray, weighed: Weighed) -> None:
        """Proposals for the next round: matched to the weighted moments, and mixtures where these were not enough."""
        points = self.standard
        weights = _tempered(weighed.draws, points.shape[1])
        proposal, components = Mixture.of(Student.matched(points, weights)), 1
        while components < min(count - _FEWEST_ROUNDS + 2, _COMPONENTS):
            proposal, components = proposal.with_one_more(points, weights), components + 1
        proposal = proposal.wider(_WIDER if components == 1 else _WIDER_MIXTURE)
        self.proposal = proposal.defended(_DEFENCE, _MUCH_WIDER)
        self.node_proposal = Student.matched(nodes, _tempered(weighed.nodes, nodes.shape[1])).wider(_WIDER_NODES)

    def _result(self, drawn: Drawn, nodes: np.ndarray, weighed: Weighed) -> Integrated:
        """Without the draws that have next to no weight."""
        sets = np.arange(len(nodes)) * _SETS // len(nodes)
        of_sets = np.bincount(sets, weighed.nodes) * (sets[-1] + 1)
        between = np.var(of_sets, ddof=1) / len(of_sets) if len(of_sets) > 1 else 0.0
        within = np.sum(weighed.draws**2) - 1.0 / len(weighed.draws)
        kept = weighed.draws > _NEGLIGIBLE / len(weighed.draws)
        learned_lambda = drawn.lambdas[kept]
        return Integrated(
            drawn.covariances.natural[kept],
            learned_lambda,
            self.pairs.log_lambda(learned_lambda),
            weighed.draws[kept] / np.sum(weighed.draws[kept]),
            nodes,
            weighed.given[kept].astype(np.float32),
            sets,
            weighed.log_evidence,
            float(np.sqrt(max(within, 0.0) + between)),
            weighed.k_hat,
        )


def _tempered(weights: np.ndarray, dimension: int) -> np.ndarray:
    """Weights of which a few do not decide alone."""
    if 1.0 / np.sum(weights**2) >= _FEW * dimension:
        return weights
    return weights**_TEMPER / np.sum(weights**_TEMPER)
