"""Names: what every variable of a result is called, along which dimensions, in a Dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from pmlmm.design.design import Design
from pmlmm.design.names import covariance_dims
from pmlmm.kernels.coordinates import unvech, vech_slices
from pmlmm.kernels.layout import SIGMA
from pmlmm.priors.covariance_priors import PER_EFFECT
from pmlmm.priors.origin import Origin


def covariances(theta: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Covariance of each term, (draws, q, q), of natural coordinates (draws, d)."""
    return [unvech(theta[:, part], q) for q, part in zip(sizes, vech_slices(sizes), strict=True)]


def covariance_parameters(theta: np.ndarray, design: Design, origins: Sequence[Origin]) -> dict[str, np.ndarray]:
    """sigma (draws,) and every Sigma (draws, q, q) on the user's scale, by variable name."""
    result = {"sigma": theta[:, SIGMA]}
    for term, origin, used in zip(design.terms, origins, covariances(theta, design.sizes), strict=True):
        result[f"Sigma_{term.name}"] = origin.users(used)
    return result


def dimensions(design: Design) -> dict[str, list[str]]:
    """Named dimensions of every variable."""
    dims = {"beta": ["coefficient"], "sigma": []}
    for block in design.wide:
        dims[f"beta_{block.name}"] = [block.name]
    for term in design.terms:
        dims[f"Sigma_{term.name}"] = list(covariance_dims(term.name))
        dims |= {f"{name}_{term.name}": [covariance_dims(term.name)[0]] for name in PER_EFFECT}
        dims[f"gamma_{term.name}"] = [term.factor, f"{term.name}_effect"]
    return dims


def label(values: dict[str, np.ndarray], design: Design, leading: tuple[str, ...] = (), **attrs) -> xr.Dataset:
    """Dataset with the model's names along every dimension; ``leading`` ones are numbered from 0."""
    dims, names = dimensions(design), design.coords()
    own = {name: dims.get(name, []) for name in values}  # other hyperparameters are scalars
    variables = {name: ((*leading, *own[name]), value) for name, value in values.items()}
    used = {dim for name in values for dim in own[name]}
    numbers = {dim: np.arange(next(iter(values.values())).shape[axis]) for axis, dim in enumerate(leading)}
    return xr.Dataset(variables, coords={d: names[d] for d in names if d in used} | numbers, attrs=attrs)


def response_name(design: Design) -> str:
    """The response as a variable of a Dataset, which has no slashes and no dimension's name."""
    response = design.parsed.response
    return "y" if "/" in response or response in ("row", "chain", "draw") else response


def data_groups(design: Design) -> dict[str, xr.Dataset]:
    """Groups "observed_data" (the response) and "constant_data" (columns of X, group of each row, weights, offset)."""
    rows = {"row": design.table.rows}
    constant: dict[str, tuple] = {}
    coords: dict[str, Any] = dict(rows)
    if design.coefficients:
        taken = any(grouping.factor == "X" for grouping in design.groupings)
        constant["design_matrix" if taken else "X"] = (("row", "coefficient"), design.X)
        coords["coefficient"] = list(design.coefficients)
    names = design.coords()
    for grouping in design.groupings:
        constant[grouping.factor] = ("row", np.asarray(names[grouping.factor])[grouping.codes])
    for name, values in (("weights", design.weights), ("offset", design.offset)):
        if values is not None:
            constant.setdefault(name, ("row", values))
    return {
        "observed_data": xr.Dataset({response_name(design): ("row", design.y)}, coords=rows),
        "constant_data": xr.Dataset(constant, coords=coords),
    }
