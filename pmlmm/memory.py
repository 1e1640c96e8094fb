"""How much memory there is, and refusals before more is asked for."""

import os
from pathlib import Path

from pmlmm.errors import DataError, OptionError, PmlmmError

# Copies of draws that are held while they are made.
_COPIES = 4
# Where Linux says what is left, and what a container may take.
_MEMINFO, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")


def available() -> float:
    """Bytes that can still be had; infinite where the system does not say."""
    limits = [_free(), _installed(), _container()]
    return min((limit for limit in limits if limit is not None), default=float("inf"))


def refuse_beyond(size: float, what: str, advice: str, error: type[PmlmmError] = DataError) -> None:
    """Raise where ``size`` bytes cannot be had: ``what`` needs them, ``advice`` is the way out."""
    limit = available()
    if size > limit:
        raise error(f"{what} would take about {in_words(size)}, and this machine has {in_words(limit)} free. {advice}")


def refuse_draws(number: int, each: int, call: str) -> None:
    """Raise where so many draws of so many numbers each cannot be held; ``call`` is what the user wrote."""
    advice = "Ask for fewer draws."
    refuse_beyond(8.0 * _COPIES * number * each, f"{call}: {number} draws of {each} numbers", advice, OptionError)


def in_words(size: float) -> str:
    """A number of bytes as a person reads it."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def _free() -> float | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * float(line.split()[1])
    except (OSError, ValueError, IndexError):  # not Linux
        return None
    return None


def _installed() -> float | None:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return None


def _container() -> float | None:
    try:
        return float(_CONTAINER.read_text())  # "max" where there is no limit
    except (OSError, ValueError):
        return None
