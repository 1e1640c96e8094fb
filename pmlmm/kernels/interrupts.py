"""Ctrl-C where code in between is not made for it: a KeyboardInterrupt has to arrive as one.

Signals come to the main thread alone, so elsewhere there is nothing to do.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import TracebackType
from typing import Any


class _Interruptible:
    """Context of a call of a kernel that returns several arrays.

    While numba turns them into Python objects a signal handler may run. What it raises numba takes for a result, so
    that it arrives as the cause of a SystemError.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, SystemError):
            while isinstance(error, SystemError) and error.__cause__ is not None:
                error = error.__cause__
            raise error.with_traceback(trace)


interruptible = _Interruptible()


@contextmanager
def deferred() -> Iterator[None]:
    """Context in which Ctrl-C waits for the end, of the innermost of such contexts: LLVM's callbacks lose it."""
    handler = _handler()
    if handler is None:
        yield
        return
    later = handler if isinstance(handler, _Later) else _Later(handler)
    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        later.deliver()


class _Later:
    """A signal handler that does what another one does, when told so."""

    def __init__(self, handler: Callable[..., Any]):
        self._handler = handler
        self._arrived: list[tuple] = []

    def __call__(self, *arguments: Any) -> None:
        self._arrived.append(arguments)

    def deliver(self) -> None:
        if self._arrived:
            arguments = self._arrived.pop()
            self._arrived.clear()
            self._handler(*arguments)


@contextmanager
def noticed(notice: Callable[[KeyboardInterrupt], None]) -> Iterator[None]:
    """Context in which ``notice`` is told of Ctrl-C, even if someone keeps the KeyboardInterrupt to himself."""
    handler = _handler()
    if handler is None:
        yield
        return

    def noticing(*arguments: Any) -> None:
        try:
            handler(*arguments)
        except KeyboardInterrupt as error:
            notice(error)
            raise

    signal.signal(signal.SIGINT, noticing)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _handler() -> Callable[..., Any] | None:
    """What Ctrl-C calls, where it calls something."""
    handler = signal.getsignal(signal.SIGINT) if current_thread() is main_thread() else None
    return handler if callable(handler) else None
