"""The last result of a costly function: modes are found by asking for the same point again."""

from typing import Any

import numpy as np


class Last:
    """Remembers one result with the arguments that it belongs to, compared by value.

    Both are kept in one tuple, which is replaced as a whole: threads that share a ``Last`` may compute the
    same result twice, but never get one that belongs to other arguments.
    """

    def __init__(self):
        self._kept: tuple[tuple, Any] | None = None

    def find(self, *arguments: Any) -> Any:
        """The result that was kept for these arguments, or None."""
        kept = self._kept
        return kept[1] if kept is not None and kept[0] == _by_value(arguments) else None

    def keep(self, result: Any, *arguments: Any) -> Any:
        """Keep this result instead of the one before, and return it."""
        self._kept = (_by_value(arguments), result)
        return result


def _by_value(arguments: tuple) -> tuple:
    """Arrays, which may change later, as what they hold now."""
    return tuple(x.tobytes() if isinstance(x, np.ndarray) else x for x in arguments)
