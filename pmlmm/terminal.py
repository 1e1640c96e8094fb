"""What the command says on a terminal or into a pipe, and how it ends."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TextIO


@contextlib.contextmanager
def orderly_end():
    """SIGTERM and SIGHUP end the command by an exception, so that what is half written is taken away."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    kinds = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    mine = threading.current_thread() is threading.main_thread()  # others may not set handlers
    taken = [kind for kind in kinds if mine and signal.getsignal(kind) is signal.SIG_DFL]
    for kind in taken:
        signal.signal(kind, end)
    try:
        yield
    finally:
        for kind in taken:
            signal.signal(kind, signal.SIG_DFL)


def printed(text: str, end: str = "\n") -> int:
    """The exit status after printing: 141 where the reader has gone, 1 where there is no room."""
    if sys.stdout is None:
        return failed("Cannot print: there is no standard output.")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except BrokenPipeError:
        _give_up(sys.stdout)
        return 128 + 13
    except OSError as error:
        _give_up(sys.stdout)
        return failed(f"Cannot print: {error.strerror or error}.")
    return 0


def _give_up(stream: TextIO) -> None:
    """Nothing more is written: Python would fail again when it flushes the stream at its end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def failed(reason: object, status: int = 1) -> int:
    """Say why the command ends, and with which status."""
    say(f"pmlmm: {reason}")
    return status


def say(line: str, end: str = "\n") -> None:
    """Write to stderr; where that is not possible there is nobody to be told."""
    if sys.stderr is None:
        return
    try:
        print(line, end=end, file=sys.stderr, flush=True)
    except OSError:
        _give_up(sys.stderr)


def log(line: str) -> None:
    """Every line of progress on stderr."""
    if line:
        say(line)


def progress_line() -> Callable[[str], None]:
    """One line on a terminal's stderr that is rewritten; nothing when piped."""
    if sys.stderr is None or not sys.stderr.isatty():
        return lambda line: None
    return lambda line: say("\r\x1b[2K" + line, end="")
