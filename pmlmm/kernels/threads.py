"""Threads of the BLAS libraries.

NumPy and SciPy bring a library each, with a pool of threads each. For matrices of up to a few thousand
columns waking and waiting for them costs more than they save, and the pools get in each other's way.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache

from threadpoolctl import ThreadpoolController

# From so many columns on, threads pay.
_MANY = 2_000


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def blas_threads(columns: int) -> AbstractContextManager:
    """Context in which linear algebra with so many dense columns runs best."""
    return _controller().limit(limits=1, user_api="blas") if columns < _MANY else nullcontext()
