"""The groups of a DataTree for ArviZ."""

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

import numpy as np
import xarray as xr

from pmlmm.design.design import Design
from pmlmm.errors import OptionError
from pmlmm.kernels.coordinates import vech
from pmlmm.posterior.draws import PREDICTOR, WeightedDraws
from pmlmm.posterior.labels import data_groups, label
from pmlmm.priors.origin import Origin
from pmlmm.priors.search_space import Space

#: Draws of gamma that would take more numbers are left out.
MOST_GAMMA = 50_000_000
#: The same for the coefficients of wide blocks.
MOST_WIDE = 2_000_000


def posterior_groups(
    draws: WeightedDraws,
    shape: tuple[int, int],
    rng: np.random.Generator,
    *,
    gamma: bool | None = None,
    wide: bool | None = None,
    more: dict[str, np.ndarray] | None = None,
    predictor: bool = False,
    attributes: dict[str, Any],
) -> tuple[dict[str, xr.Dataset], dict[str, np.ndarray]]:
    """Groups "posterior", "observed_data" and "constant_data"; and all that was drawn, (draws, ...) by name.

    Parameters
    ----------
    draws : WeightedDraws
        Those of equal weight, chain after chain.
    shape : (chains, draws)
    rng : Generator
    gamma, wide : bool, optional
        Draw the random effects, the coefficients of wide blocks; by default where they fit in memory.
    predictor : bool
        Also the linear predictor of every row, among what was drawn.
    more : dict, optional
        Further variables of the posterior, (draws, ...), by name.
    attributes : dict
        Of the posterior.
    """
    design, number = draws.problem.design, len(draws.natural)
    few_gamma = number * design.random_effects <= MOST_GAMMA
    few_wide = number * sum(block.p for block in design.wide) <= MOST_WIDE
    with_gamma, with_wide = few_gamma if gamma is None else gamma, few_wide if wide is None else wide
    values = draws.draw(rng, gamma=with_gamma or predictor, wide=with_wide, predictor=predictor) | (more or {})
    left_out = {PREDICTOR} | (set() if with_gamma else {f"gamma_{term.name}" for term in design.terms})
    shaped = {name: v.reshape(*shape, *v.shape[1:]) for name, v in values.items() if name not in left_out}
    attributes = attributes | {"gamma": "drawn" if with_gamma else "left out; fit.mean has its means"}
    if design.wide:
        attributes["wide"] = "drawn" if with_wide else "left out; draw_posterior(wide=True), fit.mean, fit.sd"
    groups = {"posterior": label(shaped, design, ("chain", "draw"), **attributes)}
    return groups | data_groups(design), values


def refuse_other_objects(mcmc: Any, where: str) -> None:
    """Draws that a user hands in must be a whole DataTree."""
    if not (isinstance(mcmc, xr.DataTree) and "posterior" in mcmc.children):
        raise OptionError(f"{where}: mcmc must be the DataTree that fit.sample() returned.")


def fingerprint(*parts: Any) -> str:
    """Short digest of strings and arrays: whether two posteriors are of the same data, or hyperparameters."""
    digest = sha1(usedforsecurity=False)
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part, dtype=float).tobytes())
    return digest.hexdigest()[:16]


def hyperparameter_draws(space: Space, phi: np.ndarray, design: Design) -> dict[str, np.ndarray]:
    """The hyperparameters of all parts of which some are learned, at every phi (draws, k): lambda_*, b_*, A_*, ..."""
    result = {f"lambda_{space.group_names[g]}": np.exp(phi[:, j]) for j, g in enumerate(space.learned_groups)}
    for term, family, columns in zip(design.terms, space.families, space.columns, strict=True):
        if len(columns):
            distinct, which = np.unique(phi[:, columns], axis=0, return_inverse=True)
            found = [family.variables(family.at(values)) for values in distinct]
            for name in found[0]:
                result[f"{name}_{term.name}"] = np.array([values[name] for values in found])[which.ravel()]
    return result


def covariance_draws(draws: xr.Dataset, design: Design, origins: Sequence[Origin]) -> np.ndarray:
    """(sigma, vech Sigma_1, ...) of every draw, as the kernels take them: (chains, draws, d)."""
    parts = [draws["sigma"].to_numpy()[..., None]]
    for term, origin in zip(design.terms, origins, strict=True):
        parts.append(vech(origin.used(draws[f"Sigma_{term.name}"].to_numpy())))
    return np.concatenate(parts, axis=-1)


def search_scale(space: Space, draws: xr.Dataset) -> np.ndarray:
    """Inverse of :func:`hyperparameter_draws`: phi of every draw, (chains, draws, k)."""
    columns = []
    for c in space.coordinates:
        values = draws[c.variable].to_numpy()
        columns.append(c.searched(values if c.entry is None else values[..., c.entry]))
    return np.stack(columns, axis=-1) if columns else np.empty((*draws["sigma"].shape, 0))
