"""Options that many functions take, checked."""

from collections.abc import Iterable
from numbers import Integral, Real

from pmlmm.errors import OptionError, suggest


def count(name: str, value: int) -> int:
    """A whole number above zero."""
    if not (isinstance(value, Integral) and value >= 1):
        raise OptionError(f"{name}={value!r}: an integer of at least 1.")
    return int(value)


def optional_count(name: str, value: int | None) -> int | None:
    """The same, or None."""
    return None if value is None else count(name, value)


def seed(value: int | None, default: int, where: str = "random_seed={}") -> int:
    """The seed of a random generator, the fit's where none is given."""
    chosen = default if value is None else value
    if not (isinstance(chosen, Integral) and chosen >= 0):
        raise OptionError(f"{where.format(repr(chosen))}: the seed must be an integer of at least 0.")
    return int(chosen)


def probability(name: str, value: float) -> float:
    """A number between 0 and 1."""
    if not (isinstance(value, Real) and 0.0 < value < 1.0):
        raise OptionError(f"{name}={value!r}: a probability between 0 and 1, such as 0.95.")
    return float(value)


def ends(interval: float) -> tuple[float, float]:
    """Levels of the quantiles at the ends of an equal-tailed interval of this probability."""
    inside = probability("interval", interval)
    return 0.5 - inside / 2.0, 0.5 + inside / 2.0


def refuse_unknown(changes: Iterable[str], known: Iterable[str]) -> None:
    """Arguments of an update that nothing takes."""
    known = list(known)
    for name in changes:
        if name not in known:
            raise OptionError(f"update({name}=...): there is no such argument." + suggest(name, known))
