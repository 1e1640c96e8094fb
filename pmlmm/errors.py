"""Exceptions of pmlmm. Every message says what happened, in the model's words, and what to try."""

from collections.abc import Iterable
from difflib import get_close_matches


class PmlmmError(Exception):
    """Root of all errors that pmlmm raises on purpose."""


class FormulaError(PmlmmError, ValueError):
    """The formula cannot be read, or asks for something that is not supported."""


class DataError(PmlmmError, ValueError):
    """The data cannot be used as they are."""


class PriorError(PmlmmError, ValueError):
    """A prior is improper where it must not be, has the wrong size, or names nothing in the model."""


class OptionError(PmlmmError, ValueError):
    """An option has a value that it cannot have."""


class ConvergenceError(PmlmmError, RuntimeError):
    """A mode was not found, or is not a proper maximum."""


class SamplingError(PmlmmError, RuntimeError):
    """Sampling ended before its time; ``draws`` has what was drawn after the warm-up, chain by chain.

    Of the collapsed density arrays (draws, d) in unconstrained coordinates, of the full graph Datasets.
    """

    def __init__(self, message: str, draws: list):
        super().__init__(message)
        self.draws = draws


def shown(text: object, most: int = 80) -> str:
    """Text in quotes, its middle left out where it is long."""
    text = str(text)
    half = most // 2
    return repr(text if len(text) <= most else f"{text[:half]} ... {text[-half:]}")


def suggest(name: str, choices: Iterable[str]) -> str:
    """Sentence that lists the valid choices, the nearest first."""
    choices = [str(choice) for choice in choices]
    folded = {choice.casefold(): choice for choice in choices}
    close = get_close_matches(str(name).casefold(), folded, n=1)
    hint = f" Did you mean {folded[close[0]]!r}?" if close else ""
    shown = ", ".join(repr(choice) for choice in choices[:20])
    more = f" and {len(choices) - 20} more" if len(choices) > 20 else ""
    return f"{hint} Valid choices: {shown}{more}."
