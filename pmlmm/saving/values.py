"""Values to text and arrays, and back: numbers, containers, arrays, and the classes on a list, nothing else.

A value becomes what JSON can hold; whatever is more than that is an object with the single key ``"!<kind>"``. Arrays go
into the file beside the text.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import numpy as np

from pmlmm.errors import OptionError
from pmlmm.inference.empirical_bayes import Position, SearchRecord
from pmlmm.inference.integrate import Integrated
from pmlmm.inference.laplace import Mode
from pmlmm.inference.learned import FitOptions, Found
from pmlmm.kernels.derivatives import Derivatives
from pmlmm.priors.covariance_priors import COVARIANCE_PRIORS
from pmlmm.priors.hyperprior import Hyperprior
from pmlmm.priors.stated import HalfStudentT, Normal, Ridge

_OURS: tuple[type, ...] = (
    Ridge,
    Normal,
    HalfStudentT,
    Hyperprior,
    *COVARIANCE_PRIORS,
    FitOptions,
    Found,
    Mode,
    Derivatives,
    SearchRecord,
    Position,
    Integrated,
)
_CLASSES = {kind.__name__: kind for kind in _OURS}


class Arrays(dict[str, np.ndarray]):
    """Arrays by the name that they have in the file."""

    def put(self, array: np.ndarray) -> str:
        """The name of another one."""
        name = f"array_{len(self)}"
        self[name] = array
        return name


def packed(value: Any, arrays: Arrays) -> Any:
    """A value as JSON holds it.

    Raises
    ------
    OptionError
        A value of a kind that a file does not hold.
    """
    if value is None or (isinstance(value, bool | int | float | str) and type(value).__module__ == "builtins"):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return {"!array": _packed_array(np.asarray(value), isinstance(value, np.generic), arrays)}
    if type(value) in _OURS:
        return {"!object": [type(value).__name__, {k: packed(v, arrays) for k, v in _parts(value).items()}]}
    if isinstance(value, tuple):
        return {"!tuple": [packed(entry, arrays) for entry in value]}
    if isinstance(value, list):
        return [packed(entry, arrays) for entry in value]
    if isinstance(value, Mapping):
        return {"!map": [[packed(k, arrays), packed(v, arrays)] for k, v in value.items()]}
    raise OptionError(f"A file cannot hold the {type(value).__name__} {str(value)[:60]!r}, which the model was given.")


def unpacked(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value again."""
    if isinstance(value, list):
        return [unpacked(entry, arrays) for entry in value]
    if not isinstance(value, dict):
        return value
    (kind, content), *more = value.items()
    if more:
        raise ValueError("a value has several kinds")
    return _READERS[kind](content, arrays)


def _parts(value: Any) -> dict[str, Any]:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value._asdict()


def _packed_array(array: np.ndarray, scalar: bool, arrays: Arrays) -> dict[str, Any]:
    """Bytes of numbers as they stand in memory: which order they have decides the last bit of their sums."""
    kind = array.dtype.kind
    about = {"dtype": array.dtype.str, "shape": list(array.shape), "scalar": scalar}
    if kind == "U":
        return about | {"text": array.ravel().tolist()}
    if kind not in "biufmM":
        raise OptionError(f"A file cannot hold an array of {array.dtype}, which the model was given.")
    order: Literal["C", "F"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    flat = array.ravel(order)
    flat = flat.view(np.uint8) if kind == "b" else flat.view(np.int64) if kind in "mM" else flat
    return about | {"order": order, "name": arrays.put(flat) if flat.size else None}


def _unpacked_array(about: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    dtype, shape = np.dtype(about["dtype"]), tuple(about["shape"])
    if dtype.kind not in "biufmMU":
        raise ValueError(f"an array of {dtype}")
    if "text" in about:
        array = np.array(about["text"], dtype=dtype).reshape(shape)
    elif about["name"] is None:
        array = np.empty(shape, dtype, order=about["order"])
    else:
        flat = arrays[about["name"]]
        array = (flat.view(dtype) if dtype.kind in "bmM" else flat.astype(dtype)).reshape(shape, order=about["order"])
    return array[()] if about["scalar"] else array


def _object(content: list, arrays: Mapping[str, np.ndarray]) -> Any:
    name, parts = content
    return _CLASSES[name](**{key: unpacked(part, arrays) for key, part in parts.items()})


_READERS: dict[str, Callable[[Any, Mapping[str, np.ndarray]], Any]] = {
    "!array": _unpacked_array,
    "!object": _object,
    "!tuple": lambda content, arrays: tuple(unpacked(entry, arrays) for entry in content),
    "!map": lambda content, arrays: {unpacked(k, arrays): unpacked(v, arrays) for k, v in content},
}
