"""The approximation beside MCMC: numbers, a verdict in words, and a picture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from pmlmm.checks import verdict
from pmlmm.design.design import Design
from pmlmm.errors import OptionError
from pmlmm.inference.bridge import bridge
from pmlmm.inference.conditional import Conditional
from pmlmm.inference.integrate import Integrated
from pmlmm.kernels.coordinates import from_natural, vech, vech_indices
from pmlmm.options import count
from pmlmm.posterior.draws import WeightedDraws
from pmlmm.posterior.source import Posterior
from pmlmm.posterior.tree import covariance_draws, refuse_other_objects, search_scale
from pmlmm.report import html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEVELS = {"2.5%": 0.025, "97.5%": 0.975}
_LAPLACE_DRAWS = 4000


@dataclass(frozen=True, eq=False)
class Marginals:
    """One method's weighted draws (draws, parameters), with the Monte Carlo errors of their means and sds."""

    method: str
    values: np.ndarray
    weights: np.ndarray
    mcse_mean: np.ndarray
    mcse_sd: np.ndarray

    @cached_property
    def mean(self) -> np.ndarray:
        return self.weights @ self.values

    @cached_property
    def sd(self) -> np.ndarray:
        return np.sqrt(self.weights @ (self.values - self.mean) ** 2)

    def quantiles(self, level: float) -> np.ndarray:
        """(parameters,)."""
        return np.quantile(self.values, level, axis=0, weights=self.weights, method="inverted_cdf")


@dataclass(frozen=True, eq=False)
class Comparison:
    """A fit beside MCMC draws of the same posterior; made by :func:`compare`. Printing it shows the report.

    Attributes
    ----------
    table : DataFrame
        One row per parameter, the worst first. Columns (method, statistic): ``mean``, ``sd``, ``2.5%``, ``97.5%``, and
        ``mcse``, the Monte Carlo error of the mean; of the approximations also ``shift`` (mean less that of NUTS,
        in posterior sds), ``sd ratio`` (over NUTS) and ``z`` (the worse of both differences, in their
        Monte Carlo errors); of NUTS also ``ess`` and ``r_hat``.
    effects : DataFrame
        For the random effects of every term and the coefficients of every wide block: their ``number``, and the
        largest ``shift`` of a posterior mean, in posterior sds.
    evidence : DataFrame
        ``log_evidence`` and its Monte Carlo ``error`` (nats), one row per method.
    diagnostics : dict
        ``r_hat`` (largest), ``ess`` (smallest), ``divergences``, ``draws``, ``k_hat``.
    trustworthy : dict
        Method to bool.
    verdict : str
        What to trust, and what to use, in words.
    """

    table: pd.DataFrame
    effects: pd.DataFrame
    evidence: pd.DataFrame
    diagnostics: dict[str, float]
    trustworthy: dict[str, bool]
    verdict: str
    _marginals: tuple[Marginals, ...] = field(repr=False)

    def __repr__(self) -> str:
        return verdict.report(self.table, self.evidence, self.verdict)

    def _repr_html_(self) -> str:
        return html.small(html.verbatim(verdict.report(self.table, self.evidence, self.verdict)))

    def plot(self, parameters: int = 6) -> "Figure":
        """Marginals of every method on top of each other, the worst parameters first.

        Parameters
        ----------
        parameters : int
            How many; 6 by default.

        Raises
        ------
        OptionError
            matplotlib is not installed.
        """
        from pmlmm.report.plots.overlay import overlay

        chosen = list(self.table.index[: count("parameters", parameters)])
        return overlay(chosen, {m.method: (m.values[:, : len(chosen)], m.weights) for m in self._marginals})


def compare(posterior: Posterior, mcmc: xr.DataTree, random_seed: int) -> Comparison:
    """See :func:`pmlmm.compare`."""
    _refuse_other(posterior, mcmc)
    rng = np.random.default_rng([random_seed, 7])
    labels, reference, ess, r_hat = _of_mcmc(mcmc, posterior.design)
    approximations = _of_fit(posterior, rng)
    table = _table(labels, approximations, reference)
    table[("NUTS", "ess")], table[("NUTS", "r_hat")] = ess, r_hat
    statistics = mcmc["sample_stats"].to_dataset() if "sample_stats" in mcmc.children else xr.Dataset()
    diagnostics = {
        "r_hat": float(np.max(r_hat)),
        "ess": float(np.min(ess)),
        "divergences": int(statistics["diverging"].sum()) if "diverging" in statistics else 0,
        "draws": len(reference.values),
        "k_hat": posterior.evidence.k_hat,
    }
    effects = _effects(posterior, mcmc)
    order = np.argsort(-verdict.badness(table, [m.method for m in approximations]), kind="stable")
    table = table.iloc[order]
    trustworthy, words = verdict.judge(table, effects, diagnostics)
    marginals = tuple(
        Marginals(m.method, m.values[:, order], m.weights, m.mcse_mean[order], m.mcse_sd[order])
        for m in (*approximations, reference)
    )
    evidence = _evidence(posterior, mcmc, rng)
    return Comparison(table, effects, evidence, diagnostics, trustworthy, words, marginals)


def _refuse_other(posterior: Posterior, mcmc: xr.DataTree) -> None:
    refuse_other_objects(mcmc, "compare(fit, mcmc)")
    draws, design = mcmc["posterior"], posterior.design
    wanted = ["sigma", "beta", *(f"Sigma_{term.name}" for term in design.terms)]
    if missing := [name for name in wanted if name not in draws]:
        raise OptionError(
            f"compare(fit, mcmc): the draws have no {', '.join(map(repr, missing))}; are they of this model?"
        )
    if list(draws["coefficient"].to_numpy()) != list(design.coefficients):
        raise OptionError("compare(fit, mcmc): the draws have other coefficients than the fit; are they of this model?")
    _refuse_other_data(posterior, draws.attrs)
    for term in design.terms:
        if draws[f"Sigma_{term.name}"].shape[2:] != (term.q, term.q):
            raise OptionError(f"compare(fit, mcmc): Sigma_{term.name} has another size than in the fit.")
    sampled, integrated = "sampled" in draws.attrs.get("intervals", ""), posterior.integrated is not None
    if sampled and not integrated:
        raise OptionError("The draws carry the uncertainty of the hyperparameters: compare(fit.integrate(), mcmc).")
    if integrated and not sampled:
        raise OptionError(
            "The fit has its hyperparameters integrated out, the draws are given the learned ones: compare it with "
            "fit.sample(hyperparameters=True)."
        )


def _refuse_other_data(posterior: Posterior, attributes: dict) -> None:
    """What ``fit.sample`` notes about the posterior that it drew from; draws from elsewhere carry no such note."""
    if attributes.get("data", posterior.data_fingerprint) != posterior.data_fingerprint:
        raise OptionError("The draws are of a model of other data, or with another formula, than the fit.")
    if (attributes.get("theta") or posterior.theta_fingerprint) != posterior.theta_fingerprint:
        raise OptionError("The draws are of a fit with other hyperparameters: draw them with this fit's own sample().")


def labelled_columns(values: dict[str, np.ndarray], design: Design) -> tuple[list[str], np.ndarray]:
    """Names and columns (draws, parameters) of sigma, the lower triangles of all Sigma, and beta."""
    labels, columns = ["sigma"], [values["sigma"][:, None]]
    for term in design.terms:
        names = term.coefficients
        labels += [f"Sigma_{term.name}[{names[a]}, {names[b]}]" for a, b in zip(*vech_indices(term.q), strict=True)]
        columns.append(vech(values[f"Sigma_{term.name}"]))
    labels += [f"beta[{name}]" for name in design.coefficients]
    return labels, np.hstack([*columns, values["beta"]])


def _of_mcmc(mcmc: xr.DataTree, design: Design) -> tuple[list[str], Marginals, np.ndarray, np.ndarray]:
    """Labels, marginals, effective numbers of draws and R-hat."""
    from arviz_stats.base import array_stats

    draws = mcmc["posterior"].to_dataset()
    shape = draws["sigma"].shape
    names = [str(name) for name in draws.data_vars]
    flat = {name: draws[name].to_numpy() for name in names if name.startswith(("sigma", "beta", "Sigma_"))}
    number = shape[0] * shape[1]
    labels, values = labelled_columns({k: v.reshape(number, *v.shape[2:]) for k, v in flat.items()}, design)
    chains = values.reshape(*shape, -1)
    axes = {"chain_axis": 0, "draw_axis": 1}
    tails = array_stats.ess(chains, **axes, method="tail", prob=(0.05, 0.95))
    ess = np.minimum(array_stats.ess(chains, **axes, method="bulk"), tails)
    mean, sd = (array_stats.mcse(chains, **axes, method=method) for method in ("mean", "sd"))
    weights = np.full(len(values), 1.0 / len(values))
    return labels, Marginals("NUTS", values, weights, mean, sd), ess, array_stats.rhat(chains, **axes)


def _of_fit(posterior: Posterior, rng: np.random.Generator) -> list[Marginals]:
    """Laplace's approximation and the weighted draws, or the integrated posterior."""
    if posterior.integrated is not None:
        return [_of_draws("integrated", posterior.weighted, rng, posterior.integrated)]
    found = [_of_draws("Laplace", posterior.laplace(_LAPLACE_DRAWS, rng), rng)]
    if (weighted := posterior.importance) is not None:
        found.append(_of_draws("PSIS", weighted, rng))
    return found


def _of_draws(
    method: str, draws: WeightedDraws, rng: np.random.Generator, integrated: Integrated | None = None
) -> Marginals:
    """Weighted draws with their Monte Carlo errors, and those of the nodes of an integrated posterior."""
    _, values = labelled_columns(draws.draw(rng, gamma=False, wide=False), draws.problem.design)
    weights = draws.weights
    mean = weights @ values
    squares = (values - mean) ** 2
    variance = weights @ squares
    influence = weights[:, None] * (values - mean), weights[:, None] * (squares - variance)
    errors = [np.sum(part**2, axis=0) for part in influence]
    if integrated is not None:
        errors = [error + integrated.variance(part) for error, part in zip(errors, influence, strict=True)]
    return Marginals(method, values, weights, np.sqrt(errors[0]), np.sqrt(errors[1] / (4.0 * variance)))


def _table(labels: list[str], approximations: list[Marginals], reference: Marginals) -> pd.DataFrame:
    columns: dict[tuple[str, str], np.ndarray] = {}
    for m in (*approximations, reference):
        columns[m.method, "mean"], columns[m.method, "sd"] = m.mean, m.sd
        for name, level in _LEVELS.items():
            columns[m.method, name] = m.quantiles(level)
        columns[m.method, "mcse"] = m.mcse_mean
        if m is not reference:
            shift, spread = m.mean - reference.mean, m.sd - reference.sd
            errors = np.hypot(m.mcse_mean, reference.mcse_mean), np.hypot(m.mcse_sd, reference.mcse_sd)
            columns[m.method, "shift"] = shift / reference.sd
            columns[m.method, "sd ratio"] = m.sd / reference.sd
            columns[m.method, "z"] = np.maximum(np.abs(shift) / errors[0], np.abs(spread) / errors[1])
    frame = pd.DataFrame(columns, index=pd.Index(labels, name="parameter"))
    frame.columns.names = ["method", "statistic"]
    return frame


def _effects(posterior: Posterior, mcmc: xr.DataTree) -> pd.DataFrame:
    """Posterior means of the effects that the table leaves out."""
    design, draws, rows = posterior.design, mcmc["posterior"], {}
    names = [f"gamma_{term.name}" for term in design.terms] + [f"beta_{block.name}" for block in design.wide]
    for name in names:
        if name in draws:
            mean, sd = draws[name].mean(("chain", "draw")), draws[name].std(("chain", "draw"))
            shift = np.abs((posterior.mean[name].to_numpy() - mean.to_numpy()) / sd.to_numpy())
            rows[name] = {"number": shift.size, "shift": float(np.max(shift))}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["number", "shift"])
    return frame.astype({"number": int, "shift": float}).rename_axis("effects")


def _evidence(posterior: Posterior, mcmc: xr.DataTree, rng: np.random.Generator) -> pd.DataFrame:
    """Evidence by every method."""
    learned, draws, design = posterior.learned, mcmc["posterior"], posterior.design
    near = Conditional(learned)
    x = from_natural(covariance_draws(draws.to_dataset(), design, posterior.problem.statistics.origins), design.sizes)
    if posterior.integrated is not None:
        x = np.concatenate([x, search_scale(learned.space, draws.to_dataset())], axis=-1)
        rows = {"integrated": (posterior.evidence.log_evidence, posterior.evidence.error)}
        density: Callable = near.hyperparameter_density()
    else:
        rows = {
            "Laplace": (posterior.evidence.log_evidence, np.nan),
            "PSIS": (posterior.evidence.log_evidence_psis, posterior.evidence.error),
        }
        density = near.density(learned.phi)
    found = bridge(x, lambda point: density(point)[0], rng)
    rows["bridge"] = found.log_evidence, found.error
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["log_evidence", "error"])
    return frame.rename_axis("method").dropna(subset="log_evidence")
