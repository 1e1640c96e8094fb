"""Tables of the estimates: coefficients, covariances and random effects, with their intervals."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from pmlmm.design.grouping import Grouping
from pmlmm.design.term import Term
from pmlmm.errors import OptionError, suggest
from pmlmm.options import ends
from pmlmm.posterior.random_effects import random_effect_spread
from pmlmm.posterior.source import Posterior

_COVARIANCES = ("term", "kind", "effect", "effect2")
_RANDOM_EFFECTS = ("term", "group", "effect", "mean", "sd", "lower", "upper")


def described(
    mean: np.ndarray, draws: np.ndarray, index: pd.Index, interval: float, *, direction: bool = False
) -> pd.DataFrame:
    """A table of means (rows,) and draws of equal weight (draws, rows)."""
    lower, upper = np.quantile(draws, ends(interval), axis=0)
    columns = {"mean": mean, "sd": np.std(draws, axis=0, ddof=1), "lower": lower, "upper": upper}
    if direction:
        columns["probability_of_sign"] = np.mean(np.sign(draws) == np.sign(mean), axis=0)
    return pd.DataFrame(columns, index=index)


def coefficients(posterior: Posterior, wide: str | None, interval: float, sort: bool = False) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.coefficients`."""
    table = _fixed_effects(posterior, interval) if wide is None else _wide_block(posterior, wide, interval)
    if sort:
        order = np.argsort(-np.abs(table["mean"] / table["sd"]).to_numpy(), kind="stable")
        table = table.iloc[order]
    return table


def _fixed_effects(posterior: Posterior, interval: float) -> pd.DataFrame:
    names = pd.Index(posterior.design.coefficients, name="coefficient", dtype=object)
    mean, draws = posterior.mean["beta"].to_numpy(), posterior.without_effects["beta"].to_numpy()
    draws = draws.reshape(draws.shape[0] * draws.shape[1], len(names))
    return described(mean, draws, names, interval, direction=True)


def _wide_block(posterior: Posterior, name: str, interval: float) -> pd.DataFrame:
    """From means and sds, as draws of very many coefficients are not made."""
    from scipy.special import ndtr, ndtri

    blocks = {block.name: block for block in posterior.design.wide}
    if name not in blocks:
        choices = suggest(name, blocks) if blocks else " The model has none: Model(penalized={name: columns})."
        raise OptionError(f"coefficients({name!r}): no such wide block.{choices}")
    mean, sd = (source[f"beta_{name}"].to_numpy() for source in (posterior.mean, posterior.sd))
    width = ndtri(ends(interval)[1]) * sd
    columns = {
        "mean": mean,
        "sd": sd,
        "lower": mean - width,
        "upper": mean + width,
        "probability_of_sign": ndtr(np.abs(mean) / sd),
    }
    return pd.DataFrame(columns, index=pd.Index(blocks[name].labels, name=name))


def covariances(posterior: Posterior, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.covariances`."""
    tails, rows = ends(interval), []
    for labels, draws in covariance_parts(posterior):
        median, lower, upper = np.quantile(draws, (0.5, *tails))
        rows.append((*labels, median, np.std(draws, ddof=1), lower, upper))
    return pd.DataFrame(rows, columns=[*_COVARIANCES, "median", "sd", "lower", "upper"])


def covariance_parts(posterior: Posterior) -> Iterator[tuple[tuple[str, str, str, str], np.ndarray]]:
    """Labels (term, kind, effect, effect2) and draws (draws,) of every sd, every correlation and sigma."""
    draws = posterior.without_effects
    for term in posterior.design.terms:
        Sigma, names = draws[f"Sigma_{term.name}"].to_numpy().reshape(-1, term.q, term.q), term.coefficients
        sds = np.sqrt(np.diagonal(Sigma, axis1=1, axis2=2))
        for a, name in enumerate(names):
            yield (term.name, "sd", name, ""), sds[:, a]
        for a in range(term.q):
            for b in range(a):
                yield (term.name, "correlation", names[a], names[b]), Sigma[:, a, b] / (sds[:, a] * sds[:, b])
    yield ("residual", "sd", "", ""), draws["sigma"].to_numpy().ravel()


def random_effects(posterior: Posterior, term: str | None, interval: float) -> pd.DataFrame:
    """See :meth:`pmlmm.Fit.random_effects`."""
    tails, chosen = ends(interval), _terms(posterior, term)
    spread = random_effect_spread(posterior, chosen, *tails) if chosen else {}
    tables = []
    for own in chosen:
        mean = posterior.mean[f"gamma_{own.name}"].to_numpy()
        columns = {"mean": mean, **spread[own.name]._asdict()}
        tables.append(
            pd.DataFrame(
                {
                    "term": own.name,
                    "group": _labels(own.grouping).repeat(own.q),
                    "effect": np.tile(np.array(own.coefficients, dtype=object), own.n_groups),
                    **{name: values.ravel() for name, values in columns.items()},
                }
            )
        )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_RANDOM_EFFECTS)


def _terms(posterior: Posterior, name: str | None) -> list[Term]:
    """The terms of this name, or all terms of a factor of this name."""
    terms = posterior.design.terms
    found = [term for term in terms if name is None or name in (term.name, term.factor)]
    if name is not None and not found:
        raise OptionError(f"random_effects({name!r}): no such term." + suggest(name, [term.name for term in terms]))
    return found


def _labels(grouping: Grouping) -> pd.Index:
    """The groups as the user has them; of combinations joined by colons."""
    return pd.Index(grouping.labels) if len(grouping.columns) > 1 else grouping.values
