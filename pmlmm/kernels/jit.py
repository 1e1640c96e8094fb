"""How kernels are compiled: to run without the GIL, and kept on disk for the next process.

What is kept is a matter of time alone. A file that is broken, or of other sources, is compiled anew and
overwritten; where nothing can be written, that is said once and every process compiles for itself.
"""

import hashlib
import logging
import os
import pickle
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, InTreeCacheLocator, _Cache
from numba.core.codegen import CPUCodegen
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.serialize import dumps

from pmlmm.kernels.interrupts import deferred

_log = logging.getLogger("pmlmm")
_DIGEST = hashlib.sha256().digest_size


def kernel(function: Callable) -> Callable:
    """Compile a function for numba when it is first called, or take what an earlier process compiled."""
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if issubclass(type(compiled), Dispatcher):  # not with NUMBA_DISABLE_JIT
        compiled._cache = _Kept(function)
        compiled.compile = deferred()(compiled.compile)
    return compiled


class _BesideModule(InTreeCacheLocator):
    """The module's ``__pycache__`` as the last resort: what is there can be read, even if nothing can be written."""

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> "_BesideModule":
        return cls(py_func, py_file)


class _Results(CompileResultCacheImpl):
    """numba's choice of folder and its way to turn compiled functions into data."""

    _locator_classes = [*CompileResultCacheImpl._locator_classes, _BesideModule]  # noqa: RUF012


class _Kept(_Cache):
    """The compiled versions of one function, one file for each type of its arguments.

    numba's own cache has an index for each function: processes that write it at a time can mix versions up, and
    it does not see that a function called by this one has changed in another module.
    """

    def __init__(self, function: Callable):
        self._results = _Results(function)

    @property
    def cache_path(self) -> str:
        return self._results.locator.get_cache_path()

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """The version for this signature; None where it is not there, or not as it was written."""
        target_context.refresh()
        try:
            data = self._file(sig, target_context.codegen()).read_bytes()
        except OSError:
            return None
        digest, content = data[:_DIGEST], data[_DIGEST:]
        if digest != _digest(content):
            return None
        try:
            return self._results.rebuild(target_context, pickle.loads(content))
        except Exception:  # of another installation in some way that the digest does not know
            return None

    def save_overload(self, sig: Any, data: CompileResult) -> None:
        if not self._results.check_cachable(data):
            return
        content = dumps(self._results.reduce(data))
        try:
            _write(self._file(sig, data.codegen), _digest(content) + content)
        except OSError as error:
            _say_once(self.cache_path, error.strerror or str(error))

    def _file(self, sig: Any, codegen: CPUCodegen) -> Path:
        key = hashlib.sha256(repr((str(sig), codegen.magic_tuple())).encode()).hexdigest()
        return Path(self.cache_path, f"{self._results.filename_base}.{key[:16]}.kernel")

    def enable(self) -> None:
        """Always on."""

    def disable(self) -> None:
        """Always on."""

    def flush(self) -> None:
        """Nothing to forget: files are overwritten one by one."""


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(sources() + content).digest()


@cache
def sources() -> bytes:
    """Digest of numba's version and of all kernels: a compiled function contains those that it calls."""
    total = hashlib.sha256(numba.__version__.encode())
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        total.update(file.read_bytes())
    return total.digest()


def _write(path: Path, data: bytes) -> None:
    """All of the file or nothing, whoever else writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{uuid.uuid4().hex[:16]}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@cache
def _say_once(folder: str, reason: str) -> None:
    _log.warning(
        "pmlmm cannot keep its compiled functions in %s (%s). It goes on, but compiles them anew in every process, "
        "which takes a minute or so. Set the environment variable NUMBA_CACHE_DIR to a folder that can be written.",
        folder,
        reason,
    )
