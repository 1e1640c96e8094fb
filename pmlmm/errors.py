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
    """Sampling failed; ``draws`` has what was drawn after the warm-up, chain by chain.

    Of the collapsed density arrays (draws, d) in unconstrained coordinates, of the full graph Datasets.
    """

    def __init__(self, message: str, draws: list):
        super().__init__(message)
        self.draws = draws


class SamplingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended the sampling; ``draws`` as of a :class:`SamplingError`.

    A KeyboardInterrupt, so that ``except Exception`` around a loop over models does not keep it from stopping.
    """

    def __init__(self, message: str, draws: list):
        super().__init__(message)
        self.draws = draws


def shown(text: object, most: int = 80) -> str:
    """Text in quotes, its middle left out where it is long."""
    text = str(text)
    half = most // 2
    return repr(text if len(text) <= most else f"{text[:half]} ... {text[-half:]}")


def described(value: object) -> str:
    """What somebody gave instead of an object of ours, briefly."""
    if isinstance(value, type):
        return f"the class {value.__name__} (an object of it is {value.__name__}(), with parentheses)"
    return type(value).__name__ if type(value).__module__.startswith("pmlmm") else shown(repr(value))[1:-1]


def suggest(name: str, choices: Iterable[str]) -> str:
    """Sentence that lists the valid choices, the nearest first."""
    choices = [str(choice) for choice in choices]
    folded = {choice.casefold(): choice for choice in choices}
    close = get_close_matches(str(name).casefold(), folded, n=1)
    hint = f" Did you mean {shown(folded[close[0]])}?" if close else ""
    listed = ", ".join(shown(choice, 40) for choice in choices[:20])
    more = f" and {len(choices) - 20} more" if len(choices) > 20 else ""
    return f"{hint} Valid choices: {listed}{more}."
