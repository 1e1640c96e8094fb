"""What is going on, for whoever waits longer than two seconds in a terminal or a notebook; nothing anywhere else."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pmlmm.errors import OptionError

Progress = Callable[[str], None] | bool | None
# Seconds before the first line, and between two.
_PATIENCE, _BETWEEN = 2.0, 0.2


@contextlib.contextmanager
def reporting(progress: Progress, call: str) -> Iterator[Callable[[str], None] | None]:
    """What to call with a line of text now and then; the last line is taken away at the end.

    Parameters
    ----------
    progress : callable, bool or None
        The user's own; False for silence; None or True for a line after two seconds where somebody watches.
    call : str
        What the user wrote, for the message.

    Raises
    ------
    OptionError
        ``progress`` is something else.
    """
    if callable(progress):
        yield progress
        return
    if not (progress is None or isinstance(progress, bool)):
        raise OptionError(f"{call}(progress={progress!r}): a function of a line of text, True or False.")
    screen = None if progress is False else _screen()
    if screen is None:
        yield None
        return
    line = _Line(screen)
    try:
        yield line
    finally:
        line.end()


class _Line:
    """One line that is rewritten."""

    def __init__(self, screen: Callable[[str], None]):
        self._screen, self._next, self._shown = screen, time.monotonic() + _PATIENCE, False

    def __call__(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._screen(text)
            self._next, self._shown = time.monotonic() + _BETWEEN, True

    def end(self) -> None:
        """Take it away."""
        if self._shown:
            self._screen("")


def _screen() -> Callable[[str], None] | None:
    """How a line is shown, if anybody watches; other threads than the main one would write over each other."""
    if threading.current_thread() is not threading.main_thread():
        return None
    if "ipykernel" in sys.modules:
        return _Notebook()
    return _terminal if sys.stderr is not None and sys.stderr.isatty() else None


def _terminal(text: str) -> None:
    with contextlib.suppress(OSError):  # who has gone is not told
        sys.stderr.write("\r\x1b[2K" + text[:120])
        sys.stderr.flush()


class _Notebook:
    """An output of the cell that is rewritten."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, text: str) -> None:
        from IPython.display import display  # where ipykernel is, it is

        shown = {"text/plain": text}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)
