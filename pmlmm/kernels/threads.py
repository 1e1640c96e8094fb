"""Threads of the BLAS libraries.

NumPy and SciPy bring a library each, with a pool of threads each. For matrices of up to a few thousand
columns waking and waiting for them costs more than they save, and the pools get in each other's way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any
from weakref import WeakSet

from threadpoolctl import OpenBLASController, ThreadpoolController

# From so many columns on, threads pay.
_MANY = 2_000


@contextmanager
def blas_threads(columns: int) -> Iterator[None]:
    """Context in which linear algebra with so many dense columns runs best.

    Where the number of threads is the process's, it is 1 for all Python threads while it is for one of them.
    """
    if columns >= _MANY:
        yield
        return
    user = _User()
    try:
        _single.enter(user)
        with _libraries()[1].limit(limits=1):
            yield
    finally:
        _single.leave(user)


@cache
def _libraries() -> tuple[ThreadpoolController, ThreadpoolController]:
    """Those with one number of threads for the process, and those with one for every Python thread."""
    every = ThreadpoolController().select(user_api="blas")
    own = every.select(internal_api="openblas").select(threading_layer="openmp")
    shared = [library.filepath for library in every.lib_controllers if library not in own.lib_controllers]
    return every.select(filepath=shared), own


class _User:
    """Someone who needs linear algebra to run on one thread."""


class _Single:
    """One thread from when the first user enters until the last one has left.

    Users are held weakly: one whom Ctrl-C kept from leaving does not count for ever.
    """

    def __init__(self):
        self._users: WeakSet[_User] = WeakSet()
        self._lock, self._limit = Lock(), None

    def enter(self, user: _User) -> None:
        with self._lock:
            self._users.add(user)
            if self._limit is None:
                self._limit = _whoever_asks(lambda: _libraries()[0].limit(limits=1))

    def leave(self, user: _User) -> None:
        with self._lock:
            self._users.discard(user)
            if not self._users and self._limit is not None:
                _whoever_asks(self._limit.restore_original_limits)
                self._limit = None


def _whoever_asks(change: Callable[[], Any]) -> Any:
    """Change a number of threads; threadpoolctl from 3.8 on hears one Python thread alone until that one is done."""
    release = getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)
    release(force=True)
    try:
        return change()
    finally:
        release(force=True)


_single = _Single()
