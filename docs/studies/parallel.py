"""Replicates over the cores: with a progress bar, and saved, so that a stopped run goes on where it was."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from joblib import Memory, Parallel, delayed
from tqdm import tqdm

#: Where results are kept; empty it after a change of pmlmm (a change of the study itself is noticed).
SAVED = Path(__file__).parent / ".saved"


def replicate(function: Callable, tasks: Iterable[tuple], *, fresh: bool = False) -> list:
    """``function(*task)`` for every task, in their order.

    ``fresh`` runs all again. ``WORKERS`` in the environment sets the number of processes (default: all cores),
    ``SAVED=off`` keeps nothing.
    """
    tasks = list(tasks)
    keep = os.environ.get("SAVED") != "off"
    saved = Memory(SAVED if keep else None, verbose=0).cache(function)
    if fresh and keep:
        saved.clear(warn=False)
    workers = min(len(tasks), int(os.environ.get("WORKERS", 0)) or os.cpu_count() or 1)
    results = Parallel(workers, return_as="generator")(delayed(saved)(*task) for task in tasks)
    return list(tqdm(results, total=len(tasks), desc=function.__name__, leave=False, disable=None))
