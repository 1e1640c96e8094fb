"""Replicates over the cores: with a progress bar, and saved, so that a stopped run goes on where it was."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from joblib import Memory, Parallel, delayed
from tqdm import tqdm

import pmlmm

HERE = Path(__file__).parent


def saved_in() -> Path | None:
    """Where results are kept: a folder for every state of the sources, so that none outlives a change of them.

    ``SAVED`` in the environment names another folder than ``.saved``; "off" keeps nothing.
    """
    chosen = os.environ.get("SAVED", str(HERE / ".saved"))
    if chosen == "off":
        return None
    sources = sorted([*HERE.glob("*.py"), *Path(pmlmm.__file__).parent.rglob("*.py")])
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    return Path(chosen) / state


def replicate(function: Callable, tasks: Iterable[tuple], *, fresh: bool = False) -> list:
    """``function(*task)`` for every task, in their order.

    ``fresh`` runs all again. ``WORKERS`` in the environment sets the number of processes (default: all cores).
    """
    tasks = list(tasks)
    folder = saved_in()
    saved = Memory(folder, verbose=0).cache(function)
    if fresh and folder is not None:
        saved.clear(warn=False)
    workers = min(len(tasks), int(os.environ.get("WORKERS", 0)) or os.cpu_count() or 1)
    results = Parallel(workers, return_as="generator")(delayed(saved)(*task) for task in tasks)
    return list(tqdm(results, total=len(tasks), desc=function.__name__, leave=False, disable=None))
