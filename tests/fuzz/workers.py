"""Cases in processes of their own, which can be ended when a case takes too long."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from tests.fuzz.check import Outcome, check

_SPAWN = multiprocessing.get_context("spawn")


def _work(pipe: Any) -> None:
    while True:
        seed = pipe.recv()
        if seed is None:
            return
        pipe.send(check(seed))


@dataclass
class Worker:
    """A process, and the case it is busy with."""

    limit: float
    seed: int | None = None
    since: float = 0.0
    again: bool = False
    process: Any = field(init=False)
    pipe: Any = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, seed: int, again: bool = False) -> None:
        self.seed, self.again, self.since = seed, again, time.monotonic()
        self.pipe.send(seed)

    def collect(self) -> Outcome | None:
        """The outcome, once the case has come to its end by itself or by the limit.

        What takes too long gets a second chance, by which numba has kept what it compiled.
        """
        if self.pipe.poll():
            return self._received()
        if time.monotonic() - self.since <= self.limit:
            return None
        self._restart()
        if not self.again:
            self.give(self.seed, again=True)
            return None
        return Outcome(self.seed, "no end", (("no end", f"more than {self.limit:g} s, twice"),), self.limit)

    def _received(self) -> Outcome:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            self._restart()
            return Outcome(self.seed, "crash", (("the process died", f"exit code {code}"),))

    def _restart(self) -> None:
        self.process.kill()
        self.process.join()
        self.start()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def run(seeds: range, jobs: int, limit: float) -> Iterator[Outcome]:
    """Outcomes as they come in."""
    waiting = iter(seeds)
    workers = [Worker(limit) for _ in range(min(jobs, len(seeds)))]
    try:
        busy = [worker for worker in workers if _next(worker, waiting)]
        while busy:
            wait([worker.pipe for worker in busy], timeout=0.5)
            for worker in list(busy):
                outcome = worker.collect()
                if outcome is None:
                    continue
                yield outcome
                if not _next(worker, waiting):
                    busy.remove(worker)
    finally:
        for worker in workers:
            worker.stop()


def _next(worker: Worker, waiting: Iterator[int]) -> bool:
    seed = next(waiting, None)
    if seed is not None:
        worker.give(seed)
    return seed is not None
