"""NUTS on a tuned model: on the collapsed density, or on the full PyMC graph."""

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pmlmm.errors import OptionError
from pmlmm.inference import nuts
from pmlmm.inference.conditional import Conditional
from pmlmm.kernels import coordinates
from pmlmm.kernels.log_posterior import Whitened
from pmlmm.kernels.threads import blas_threads
from pmlmm.memory import refuse_draws
from pmlmm.options import seed
from pmlmm.posterior import tree
from pmlmm.posterior.draws import WeightedDraws
from pmlmm.posterior.labels import data_groups, label
from pmlmm.posterior.source import Posterior

if TYPE_CHECKING:
    import pymc as pm

# Dense columns from which chains run side by side: below, Python's interpreter is the bottleneck.
_HEAVY = 60
# Hyperparameters make for funnels: shorter steps.
_CAREFUL = 0.95


def sample(
    posterior: Posterior,
    *,
    draws: int,
    chains: int,
    tune: int,
    collapsed: bool,
    hyperparameters: bool | None,
    sampler: str,
    random_seed: int | None,
    progress: bool,
    gamma: bool | None,
    wide: bool | None,
) -> xr.DataTree:
    """Draw from the posterior by NUTS; see :meth:`pmlmm.Fit.sample`."""
    for name, value, least in (("draws", draws, 4), ("chains", chains, 1), ("tune", tune, 50)):
        if not (isinstance(value, Integral) and value >= least):
            raise OptionError(f"sample({name}={value!r}): an integer of at least {least}.")
    chosen = seed(random_seed, posterior.learned.options.random_seed, "sample(random_seed={})")
    if hyperparameters is None:
        hyperparameters = posterior.integrated is not None and collapsed
    if hyperparameters and not collapsed:
        raise OptionError("sample(hyperparameters=True) runs on the collapsed density: leave collapsed=True.")
    if hyperparameters and posterior.learned.space.hyperprior is None:
        raise OptionError("sample(hyperparameters=True) needs a proper hyperprior: this fit has none.")
    each = posterior.design.numbers_each(gamma=gamma or not collapsed, wide=wide or not collapsed)
    refuse_draws(chains * (draws + tune), each, f"sample(draws={draws}, chains={chains}, tune={tune})")
    schedule = nuts.Schedule(
        int(draws),
        int(tune),
        int(chains),
        chosen,
        progress,
        nuts.choose_sampler(sampler),
        parallel=posterior.learned.data.columns >= _HEAVY,
        target_accept=_CAREFUL if hyperparameters else None,
    )
    with blas_threads(posterior.learned.dense):
        if not collapsed:
            return _full(posterior, schedule, gamma, wide)
        return _collapsed(posterior, schedule, hyperparameters, gamma, wide)


def _collapsed(
    posterior: Posterior, schedule: nuts.Schedule, hyperparameters: bool, gamma: bool | None, wide: bool | None
) -> xr.DataTree:
    """NUTS on (sigma, Sigma), perhaps with the hyperparameters; beta and gamma drawn exactly given these."""
    near, phi = Conditional(posterior.learned), posterior.learned.phi
    if hyperparameters:
        k = len(phi)
        scale = np.block([[near.scale, near.slopes], [np.zeros((k, len(near.x))), np.eye(k)]])
        whitened = Whitened(near.hyperparameter_density(), np.concatenate([near.x, phi]), scale)
    else:
        whitened = Whitened(near.density(phi), near.x, near.scale)
    chains = nuts.sample(whitened, schedule, _density_graph)
    with nuts.keeping(list(chains.x)):
        return _all_parameters(posterior, schedule, chains, hyperparameters, gamma, wide)


def _density_graph(function: nuts.Density, size: int) -> "pm.Model":
    from pmlmm.graph.build import density_graph  # PyMC takes seconds to import, and nutpie does without

    return density_graph(function, size)


def _all_parameters(
    posterior: Posterior,
    schedule: nuts.Schedule,
    chains: nuts.Chains,
    hyperparameters: bool,
    gamma: bool | None,
    wide: bool | None,
) -> xr.DataTree:
    """beta and gamma drawn given each draw of (sigma, Sigma), and all of it labelled."""
    learned, x = posterior.learned, chains.x.reshape(-1, chains.x.shape[-1])
    data, space = learned.data, learned.space
    size, number = data.parameters, len(x)
    natural = coordinates.to_natural(x[:, :size], data.sizes)
    log_lambda, more = learned.theta.log_lambda, {}
    if hyperparameters:
        log_lambda = np.stack([space.theta(point).log_lambda for point in x[:, size:]])
        more = tree.hyperparameter_draws(space, x[:, size:], posterior.design)
    draws = WeightedDraws(posterior.problem, natural, log_lambda, np.full(number, 1.0 / number))
    groups, _ = tree.posterior_groups(
        draws,
        chains.x.shape[:2],
        np.random.default_rng([schedule.random_seed, 4]),
        gamma=gamma,
        wide=wide,
        more=more,
        attributes=_attributes(posterior, schedule, "collapsed", hyperparameters),
    )
    return xr.DataTree.from_dict(groups | {"sample_stats": chains.statistics})


def _full(posterior: Posterior, schedule: nuts.Schedule, gamma: bool | None, wide: bool | None) -> xr.DataTree:
    """NUTS on the full graph: nothing of it is ours but the inverse-Wishart density."""
    from pmlmm.graph.build import build_graph

    design = posterior.design
    names = ["sigma", "beta", *(f"Sigma_{term.name}" for term in design.terms)]
    few = schedule.chains * schedule.draws * design.random_effects <= tree.MOST_GAMMA
    names += [f"gamma_{term.name}" for term in design.terms] if (few if gamma is None else gamma) else []
    names += [] if wide is False else [f"beta_{block.name}" for block in design.wide]
    drawn, statistics = nuts.sample_graph(build_graph(posterior.problem, posterior.learned.theta), names, schedule)
    with nuts.keeping([drawn.isel(chain=k) for k in range(schedule.chains)]):
        values = {name: drawn[name].to_numpy() for name in names if name in drawn}
        attributes = _attributes(posterior, schedule, "full", False)
        group = label(values, design, ("chain", "draw"), **attributes)
        return xr.DataTree.from_dict({"posterior": group, "sample_stats": statistics} | data_groups(design))


def _attributes(posterior: Posterior, schedule: nuts.Schedule, graph: str, hyperparameters: bool) -> dict[str, Any]:
    given = "hyperparameters sampled" if hyperparameters else "given the learned hyperparameters"
    return {
        "sampler": schedule.sampler,
        "graph": graph,
        "tune": schedule.tune,
        "intervals": given,
        "data": posterior.data_fingerprint,
        "theta": "" if hyperparameters else posterior.theta_fingerprint,
    }
