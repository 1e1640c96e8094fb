"""What must hold of every case: a sound fit, or one of pmlmm's own refusals."""

import contextlib
import io
import re
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import pmlmm
from tests.fuzz.generate import CONTEXT, Case, case, rows_of
from tests.fuzz.invariants import check_fit, check_model, check_permuted, check_same

_SHORTEST, _LONGEST = 10, 1500
# What no analyst should read: other libraries' internals, escape codes, objects' addresses.
_INTERNAL = re.compile(
    r"\x1b|Traceback|\bufunc\b|<class |<function |object at 0x|np\.(float|int|uint|str|bool|datetime|timedelta)\w*\("
    r"|np\.(True|False)_|array\(|Timestamp\(|\b(narwhals|pyarrow|formulaic)\.\w+|dtype\("
)


@dataclass(frozen=True)
class Outcome:
    """How a case ended: ``end`` is "fit" or the exception's name; ``faults`` are (kind, detail) pairs."""

    seed: int
    end: str
    faults: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


def check(seed: int) -> Outcome:
    """Run one case to its end."""
    begin = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("error")
        given = case(seed)
        faults: list[tuple[str, str]] = []
        end = _run(given, faults)
    return Outcome(seed, end, tuple(faults), time.perf_counter() - begin)


def _run(given: Case, faults: list[tuple[str, str]]) -> str:
    try:
        model, fit = _fit(given)
    except pmlmm.PmlmmError as error:
        faults += _message_faults(error)
        return type(error).__name__
    except BaseException as error:  # SystemExit too
        faults.append(foreign(error))
        return "foreign exception"
    for stage in _stages(given, model, fit):
        try:
            faults += stage()
        except BaseException as error:
            faults.append(foreign(error))
    return "fit"


def _fit(given: Case, order: np.ndarray | None = None) -> tuple[pmlmm.Model, Any]:
    """The fit; with the rows in another order."""
    namespace = {**vars(pmlmm), "np": np}
    for name in ("Model", "Normal", "Ridge", "Flat", "InverseWishart", "HalfStudentT", "Hyperprior"):
        namespace[name] = getattr(pmlmm, name)
    data, blocks = (given.data, given.penalized) if order is None else rows_of(given, order)
    model = pmlmm.Model(
        given.formula,
        data,
        eval(given.priors, namespace),
        penalized=blocks,
        standardize=given.standardize,
        context=CONTEXT,
    )
    return model, model.fit(**eval(f"dict({given.options})", namespace))


def _stages(given: Case, model: pmlmm.Model, fit: Any) -> Iterator:
    yield lambda: check_model(given, model)
    yield from check_fit(given, fit)
    if given.seed % 3 == 0:
        yield lambda: check_permuted(fit, *_again(given, np.random.default_rng(given.seed).permutation(given.rows)))
    if given.seed % 9 == 1:
        yield lambda: check_same(fit, _fit(given)[1])


def _again(given: Case, order: np.ndarray) -> tuple[Any, str]:
    """The fit in another row order, or why there is none."""
    try:
        return _fit(given, order)[1], ""
    except pmlmm.PmlmmError as error:
        return None, f"{type(error).__name__}: {error}"


def _message_faults(error: Exception) -> list[tuple[str, str]]:
    text, kind = str(error), type(error).__name__
    faults = []
    if not _SHORTEST <= len(text) <= _LONGEST:
        faults.append(
            (f"message of {kind} is too {'long' if len(text) > _LONGEST else 'short'} {_place(error)}", text[:300])
        )
    internal = _INTERNAL.search(text)
    if internal:
        faults.append((f"message of {kind} quotes internals ({internal[0]!r}) {_place(error)}", text[:600]))
    return faults


def foreign(error: BaseException) -> tuple[str, str]:
    """Kind and detail of an exception that is not pmlmm's: its type, and the last place in pmlmm it went through."""
    lines = traceback.format_exception(error)
    own = isinstance(error, pmlmm.PmlmmError)
    label = "late refusal" if own else "foreign"
    return f"{label} {type(error).__name__} {_place(error)}", "".join(lines)[-1500:]


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/pmlmm/" in frame.filename]
    frame = (ours or list(frames))[-1]
    return f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.name}"
