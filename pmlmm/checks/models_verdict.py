"""What a comparison of models says, in words."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pmlmm.posterior.source import Posterior
from pmlmm.report.text import wrapped

# A smaller difference of log evidence is hardly worth mentioning (nats).
_SMALL = 1.0
# Larger ones are shown as powers of ten.
_LARGEST = 14.0
# Differences that are clear: so many standard errors.
_ERRORS = 2.0


def in_words(table: pd.DataFrame, factor: str | None, posteriors: Mapping[str, Posterior], *, comparable: bool) -> str:
    """The second row against the first by both voices, and what the numbers are not good for."""
    first, second = table.index[:2]
    lines = [_of_evidence(table, str(first), str(second))] if comparable else [_FLAT]
    if comparable and any(posterior.problem.priors.improper for posterior in posteriors.values()):
        lines.append(
            "Some priors are flat, the same in all models: differences of evidence mean something, values do not."
        )
    if factor is not None:
        lines.append(_of_elpd(table, str(first), str(second), factor))
    if not any(posterior.integrated is not None for posterior in posteriors.values()) and _learned(posteriors):
        lines.append(_PLUG_IN)
    if comparable and (others := _other_fixed_effects(posteriors)):
        lines.append(
            f"The models differ in fixed effects ({others}), whose prior is wide: each costs evidence by its prior's "
            "width alone. Go by their intervals, or by left-out groups."
        )
    return "\n".join(wrapped(line) for line in lines)


_FLAT = (
    "Evidence does not compare these models: some priors are flat, not the same in all of them, and a flat prior has a "
    "density of arbitrary size. State proper priors."
)
_PLUG_IN = (
    "The evidence is given the learned hyperparameters, which hardly says no to a term that is not needed: "
    "fit(integrate=True) integrates them out."
)


def _of_evidence(table: pd.DataFrame, first: str, second: str) -> str:
    nats, error = abs(float(table["difference"].iloc[1])), float(table["difference_error"].iloc[1])
    within = "" if np.isnan(error) else f" +- {error:.2f}"
    shown = f"{nats:.2f}{within} nats"
    if nats < _SMALL or nats < _ERRORS * error:
        return f"Evidence hardly tells {first!r} from {second!r} ({shown})."
    return f"The data are {_times(nats)} times more probable under {first!r} than under {second!r} ({shown})."


def _times(nats: float) -> str:
    return f"{np.exp(nats):.2g}" if nats < 4.0 else f"{np.exp(nats):,.0f}" if nats < _LARGEST else _power(nats)


def _power(nats: float) -> str:
    return f"10^{nats / np.log(10.0):.0f}"


def _of_elpd(table: pd.DataFrame, first: str, second: str, factor: str) -> str:
    lead, error = -float(table["elpd_difference"].iloc[1]), float(table["elpd_difference_error"].iloc[1])
    if np.isnan(lead):
        return f"Left-out groups of {factor} say nothing of models without random effects."
    shown = f"elpd {abs(lead):.1f} +- {error:.1f} nats"
    if abs(lead) <= _ERRORS * error:
        return f"How well {first!r} and {second!r} predict new groups of {factor} does not differ clearly ({shown})."
    better, worse = (first, second) if lead > 0 else (second, first)
    return f"New groups of {factor} are predicted better by {better!r} than by {worse!r} ({shown})."


def _learned(posteriors: Mapping[str, Posterior]) -> bool:
    return any(posterior.learned.space.coordinates for posterior in posteriors.values())


def _other_fixed_effects(posteriors: Mapping[str, Posterior]) -> str:
    """Coefficients that not all models have."""
    own = [posterior.design.coefficients for posterior in posteriors.values()]
    others = sorted({name for names in own for name in names if not all(name in each for each in own)})
    return ", ".join(others[:5]) + (" ..." if len(others) > 5 else "")
