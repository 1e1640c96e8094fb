"""NUTS on a log-density given as a function: by nutpie where it is installed, by PyMC otherwise.

The density is sampled in coordinates in which Laplace's approximation is standard normal, so that there is
little left to adapt to. What was drawn is kept here, chain by chain, whatever becomes of the sampler.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pmlmm.errors import OptionError, SamplingError, SamplingInterrupted
from pmlmm.kernels.interrupts import noticed
from pmlmm.kernels.log_posterior import Whitened
from pmlmm.kernels.small_matrices import outside

if TYPE_CHECKING:
    import pymc as pm

Density = Callable[[np.ndarray], tuple[float, np.ndarray]]
Graph = Callable[[Density, int], "pm.Model"]

SAMPLERS = ("auto", "nutpie", "pymc")
# Starts are draws of a Student-t around the mode: wider than the posterior, so that R-hat means something.
_START_NU = 5.0
# Sampler statistics that are kept, under ArviZ's names.
_STATISTICS = {
    "diverging": ("diverging",),
    "energy": ("energy",),
    "lp": ("logp", "model_logp"),
    "n_steps": ("n_steps",),
    "tree_depth": ("depth", "tree_depth"),
    "step_size": ("step_size",),
    "acceptance_rate": ("mean_tree_accept", "mean_tree_accept_rate"),
}


@dataclass(frozen=True)
class Schedule:
    """How many draws, of how many chains, after how many of warm-up; by what, and how.

    ``parallel``: chains side by side, which pays where the density itself, not Python, takes the time.
    """

    draws: int
    tune: int
    chains: int
    random_seed: int
    progress: bool
    sampler: str
    parallel: bool = False
    target_accept: float | None = None


@dataclass(frozen=True)
class Chains:
    """Draws (chains, draws, d) with the sampler's statistics and name."""

    x: np.ndarray
    statistics: xr.Dataset
    sampler: str


class Target:
    """What a sampler calls: a whitened density that never raises.

    The first exception inside the density ends the sampling: every later call reports a density of 0, so
    that the sampler runs out, and :func:`sample` raises with what had been drawn.
    """

    def __init__(self, whitened: Whitened):
        self.whitened = whitened
        self.error: BaseException | None = None

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        if self.error is None:
            try:
                return self.whitened(z)
            except np.linalg.LinAlgError:
                pass
            except KeyboardInterrupt as error:
                self.stop(error)
                raise
            except Exception as error:
                self.stop(error)
        return outside(z)

    def stop(self, error: BaseException) -> None:
        self.error = error

    def start(self, rng: np.random.Generator) -> np.ndarray:
        """A start of finite density, nearer to the centre the harder that is."""
        z = rng.standard_normal(len(self.whitened.centre)) / np.sqrt(rng.chisquare(_START_NU) / _START_NU)
        for _ in range(20):
            if np.isfinite(self(z)[0]):
                return z
            z = z / 2.0
        return np.zeros(len(z))


def choose_sampler(name: str) -> str:
    """ "nutpie" or "pymc" for a choice of :data:`SAMPLERS`.

    Raises
    ------
    OptionError
        No such sampler, or it is not installed.
    """
    if name not in SAMPLERS:
        raise OptionError(f"sampler={name!r}: choose one of {', '.join(map(repr, SAMPLERS))}.")
    available = find_spec("nutpie") is not None
    if name == "nutpie" and not available:
        raise OptionError("sampler='nutpie' needs the package nutpie: pip install nutpie, or sampler='pymc'.")
    return ("nutpie" if available else "pymc") if name == "auto" else name


def sample(whitened: Whitened, schedule: Schedule, graph: Graph) -> Chains:
    """Draw from a density with gradient by NUTS.

    Parameters
    ----------
    whitened : Whitened
        Around a mode or a point near it, with a root of the covariance there, about.
    schedule : Schedule
    graph : callable
        ``(function, size)`` to a PyMC model with a vector ``z`` of that size, for PyMC's sampler.

    Raises
    ------
    SamplingError
        The density failed; ``draws`` of the error holds what there is.
    SamplingInterrupted
        By Ctrl-C; with ``draws`` too.
    """
    target, sampler = Target(whitened), choose_sampler(schedule.sampler)
    drawn: list[list[np.ndarray]] = []
    try:
        with noticed(target.stop):
            if sampler == "nutpie":
                z, statistics = _with_nutpie(target, schedule, drawn)
            else:
                z, statistics = _with_pymc(target, schedule, drawn, graph)
    except KeyboardInterrupt as error:
        target.error = error
    except Exception:
        if target.error is None:
            raise
    if target.error is None and not _complete(z, schedule):  # nutpie was interrupted and says nothing
        target.error = KeyboardInterrupt()
    if target.error is not None:
        raise _ended(target, drawn, schedule) from target.error
    return Chains(whitened.point(z), statistics, sampler)


@contextmanager
def keeping(draws: list) -> Iterator[None]:
    """Context of what comes after sampling: Ctrl-C does not cost the draws, given chain by chain."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise SamplingInterrupted(
            "Interrupted after sampling; all draws are in the attribute 'draws' of this exception.",
            draws,
        ) from error


def _complete(values: np.ndarray, schedule: Schedule) -> bool:
    return values.shape[:2] == (schedule.chains, schedule.draws) and bool(np.isfinite(values).all())


def _ended(target: Target, drawn: list, schedule: Schedule) -> SamplingError | SamplingInterrupted:
    """What is raised; what was drawn after the warm-up is kept."""
    kept = [np.array(chain[schedule.tune :]) for chain in drawn if len(chain) > schedule.tune]
    numbers = ", ".join(str(len(chain)) for chain in kept) or "none"
    interrupted = isinstance(target.error, KeyboardInterrupt)
    what = "was interrupted" if interrupted else f"failed: {target.error}"
    return (SamplingInterrupted if interrupted else SamplingError)(
        f"Sampling {what}. Draws after the warm-up, chain by chain: {numbers}; they are in the attribute 'draws' of "
        "this exception, in unconstrained coordinates.",
        [target.whitened.point(chain) for chain in kept],
    )


def _with_nutpie(target: Target, schedule: Schedule, drawn: list[list[np.ndarray]]) -> tuple[np.ndarray, xr.Dataset]:
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    size = len(target.whitened.centre)

    def make_expand(seed1: int, seed2: int, chain: int) -> Callable:
        own: list[np.ndarray] = []
        drawn.append(own)

        def expand(z: np.ndarray) -> dict[str, np.ndarray]:
            point = np.array(z)
            if target.error is None:
                own.append(point)
            return {"z": point}

        return expand

    model = from_pyfunc(
        size,
        lambda: target,
        make_expand,
        [np.dtype("float64")],
        [(size,)],
        ["z"],
        make_initial_point_fn=lambda seed: target.start(np.random.default_rng(seed)),
    )
    tree = nutpie.sample(
        model,
        draws=schedule.draws,
        tune=schedule.tune,
        chains=schedule.chains,
        cores=None if schedule.parallel else 1,
        seed=schedule.random_seed,
        progress_bar=schedule.progress,
        save_warmup=False,
        **_steps(schedule),
    )
    return tree["posterior"]["z"].to_numpy(), keep_statistics(tree["sample_stats"].to_dataset())


def _with_pymc(
    target: Target, schedule: Schedule, drawn: list[list[np.ndarray]], graph: Graph
) -> tuple[np.ndarray, xr.Dataset]:
    import pymc as pm
    from pytensor.compile.mode import Mode

    drawn.extend([] for _ in range(schedule.chains))

    def keep(trace: Any, draw: Any) -> None:
        if target.error is None:
            drawn[draw.chain].append(np.array(draw.point["z"]))

    def density(point: np.ndarray) -> tuple[float, np.ndarray]:
        if isinstance(target.error, KeyboardInterrupt):  # PyMC has gone to the next chain
            raise KeyboardInterrupt
        return target(point)

    rng = np.random.default_rng(schedule.random_seed)
    model = graph(density, len(target.whitened.centre))
    tree = pm.sample(
        draws=schedule.draws,
        tune=schedule.tune,
        chains=schedule.chains,
        cores=1,  # a chain is quicker than a process with PyMC in it
        blas_cores=None,  # blas_threads has set that
        random_seed=schedule.random_seed,
        initvals=[{"z": target.start(rng)} for _ in range(schedule.chains)],
        init="adapt_diag",
        nuts_sampler="pymc",
        **_steps(schedule),
        progressbar=schedule.progress,
        compute_convergence_checks=False,
        compile_kwargs={"mode": Mode(linker="py", optimizer=None)},
        callback=keep,
        model=model,
    )
    return tree["posterior"]["z"].to_numpy(), keep_statistics(tree["sample_stats"].to_dataset())


@dataclass
class _Run:
    """A run on a full graph: what there is of it, PyMC's own record of each chain, and what ended it."""

    drawn: xr.Dataset | None = None
    traces: dict[int, Any] = field(default_factory=dict)
    error: BaseException | None = None

    def stop(self, error: BaseException) -> None:
        self.error = error

    def keep(self, trace: Any, draw: Any) -> None:
        """Called by PyMC after each draw; after Ctrl-C no further chain is to be sampled."""
        if self.error is not None:
            raise KeyboardInterrupt
        self.traces[draw.chain] = trace


def sample_graph(model: "pm.Model", names: list[str], schedule: Schedule) -> tuple[xr.Dataset, xr.Dataset]:
    """Draws of the named variables of a PyMC model, and the sampler's statistics.

    Raises
    ------
    SamplingError
        The sampler failed.
    SamplingInterrupted
        By Ctrl-C; with ``draws``.
    """
    sampler, run = choose_sampler(schedule.sampler), _Run()
    try:
        with noticed(run.stop):
            tree = (_graph_with_nutpie if sampler == "nutpie" else _graph_with_pymc)(model, names, schedule, run)
            run.drawn = tree["posterior"].to_dataset()
    except (Exception, KeyboardInterrupt) as error:
        run.error = run.error or error
    drawn = run.drawn
    if drawn is not None and not all(_complete(drawn[name].to_numpy(), schedule) for name in names):
        run.error = run.error or KeyboardInterrupt()
    if drawn is None or run.error is not None:
        raise _graph_ended(run, model, names, schedule) from run.error
    return drawn, keep_statistics(tree["sample_stats"].to_dataset())


def _graph_ended(
    run: _Run, model: "pm.Model", names: list[str], schedule: Schedule
) -> SamplingError | SamplingInterrupted:
    if not isinstance(run.error, KeyboardInterrupt):
        return SamplingError(
            f"Sampling the full graph failed: {run.error}. The collapsed graph is easier (collapsed=True).", []
        )
    chains = [] if run.drawn is None else [run.drawn.isel(chain=k).dropna("draw") for k in run.drawn["chain"]]
    if run.traces:  # more than what PyMC returns, which is chains of one length
        dims = {name: ("draw", *(model.named_vars_to_dims.get(name) or ())) for name in names}
        chains = [
            xr.Dataset({name: (dims[name], trace.get_values(name, burn=schedule.tune)) for name in names})
            for trace in run.traces.values()
        ]
    return SamplingInterrupted(
        "Sampling the full graph was interrupted; what there is is in the attribute 'draws' of this exception, a "
        "Dataset for each chain.",
        [chain for chain in chains if chain.sizes["draw"]],
    )


def _graph_with_nutpie(model: "pm.Model", names: list[str], schedule: Schedule, run: _Run) -> xr.DataTree:
    import nutpie

    compiled = nutpie.compile_pymc_model(model, var_names=names)
    if run.error is not None:  # LLVM's callbacks lose a KeyboardInterrupt
        raise KeyboardInterrupt
    return nutpie.sample(
        compiled,
        draws=schedule.draws,
        tune=schedule.tune,
        chains=schedule.chains,
        seed=schedule.random_seed,
        progress_bar=schedule.progress,
        save_warmup=False,
        **_steps(schedule),
    )


def _graph_with_pymc(model: "pm.Model", names: list[str], schedule: Schedule, run: _Run) -> xr.DataTree:
    import pymc as pm

    return pm.sample(
        draws=schedule.draws,
        tune=schedule.tune,
        chains=schedule.chains,
        cores=1,
        random_seed=schedule.random_seed,
        nuts_sampler="pymc",
        progressbar=schedule.progress,
        compute_convergence_checks=False,
        blas_cores=None,
        callback=run.keep,
        var_names=names,
        model=model,
        **_steps(schedule),
    )


def _steps(schedule: Schedule) -> dict[str, float]:
    return {} if schedule.target_accept is None else {"target_accept": schedule.target_accept}


def keep_statistics(found: xr.Dataset) -> xr.Dataset:
    """The statistics that both samplers have, under the same names."""
    kept = {}
    for name, candidates in _STATISTICS.items():
        present = next((candidate for candidate in candidates if candidate in found), None)
        if present is not None:
            kept[name] = found[present]
    return xr.Dataset({name: (("chain", "draw"), value.to_numpy()) for name, value in kept.items()})
