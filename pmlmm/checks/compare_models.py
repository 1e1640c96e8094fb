"""Several models of one response side by side: their evidence, and how well they predict left-out groups."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.checks.leave_group_out import logo as left_out
from pmlmm.checks.models_verdict import in_words
from pmlmm.design.design import Design
from pmlmm.errors import OptionError, suggest
from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.posterior.source import Posterior
from pmlmm.priors.flat import Flat
from pmlmm.problem import Problem
from pmlmm.report import html

# Columns that stand beside what they belong to.
_SHOWN_AS = {
    "error": "+-",
    "difference_error": "+-",
    "elpd_difference": "difference",
    "elpd_difference_error": "+-",
}
# Rows that a message names.
_NAMED = 5


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Several models of one response; made by :func:`compare_models`. Printing it shows the table and the verdict.

    Attributes
    ----------
    table : DataFrame
        A row per model, that with the largest evidence first. ``log_evidence`` and its Monte Carlo ``error`` (nats);
        ``difference`` from the first row, and ``difference_error``; ``elpd``, the expected log predictive density of
        left-out groups (nats), ``elpd_difference`` from the first row (above 0: better than that), and
        ``elpd_difference_error``, the standard error over the groups; ``note``, what to know of a row.
    factor : str or None
        Whose groups were left out.
    words : str
        What follows, in words.
    """

    table: pd.DataFrame
    factor: str | None
    words: str

    def _repr_html_(self) -> str:
        shown = self.table.dropna(axis=1, how="all")
        return html.small(html.table(shown), html.lines(self.words.split("\n")))

    def __repr__(self) -> str:
        numbers = self.table.drop(columns="note").dropna(axis=1, how="all").rename(columns=_SHOWN_AS)
        notes = [f"  {name}: {note}" for name, note in self.table["note"].items() if note]
        return "\n".join([numbers.to_string(float_format="{:.2f}".format, na_rep=""), *notes, "", self.words])


def compare_models(posteriors: Mapping[str, Posterior], logo: bool | str, random_seed: int | None) -> ModelComparison:
    """See :func:`pmlmm.compare_models`."""
    _refuse_other_data(posteriors)
    _refuse_other_kinds(posteriors)
    factor = _factor(posteriors, logo)
    table, comparable = _evidence(posteriors), len({_flat(p.problem) for p in posteriors.values()}) == 1
    notes = {name: _notes(posterior) for name, posterior in posteriors.items()}
    elpd = _elpd(posteriors, factor, random_seed, notes)
    table["elpd"] = pd.Series({name: found.elpd for name, found in elpd.items()}, dtype=float)
    order = "log_evidence" if comparable or not elpd else "elpd"
    table = table.sort_values(order, ascending=False, kind="stable")
    first = table.index[0]
    table["difference"] = table["log_evidence"] - table.loc[first, "log_evidence"] if comparable else np.nan
    table["difference_error"] = np.hypot(table["error"], table.loc[first, "error"]) if comparable else np.nan
    table.loc[first, "difference_error"] = 0.0 if comparable else np.nan
    differences = {name: _difference(found, elpd[first]) for name, found in elpd.items() if first in elpd}
    table["elpd_difference"] = pd.Series({name: d[0] for name, d in differences.items()}, dtype=float)
    table["elpd_difference_error"] = pd.Series({name: d[1] for name, d in differences.items()}, dtype=float)
    table["note"] = pd.Series({name: "; ".join(text) for name, text in notes.items()})
    columns = ["log_evidence", "error", "difference", "difference_error"]
    table = table[[*columns, "elpd", "elpd_difference", "elpd_difference_error", "note"]].rename_axis("model")
    return ModelComparison(table, factor, in_words(table, factor, posteriors, comparable=comparable))


def _refuse_other_data(posteriors: Mapping[str, Posterior]) -> None:
    """Densities of other numbers are no matter of better or worse."""
    (first, reference), *others = ((name, posterior.design) for name, posterior in posteriors.items())
    for name, design in others:
        if not np.array_equal(design.y, reference.y):
            raise OptionError(f"compare_models(): {first!r} and {name!r} {_how(reference, design)}")


def _how(one: Design, other: Design) -> str:
    """How the data of two models differ, and what to do."""
    responses = one.parsed.response, other.parsed.response
    if one.table.rows_given != other.table.rows_given:
        rows = f"{one.table.rows_given} and {other.table.rows_given}"
        return f"are of tables of {rows} rows: fit both to one table."
    if responses[0] != responses[1]:
        return (
            f"are of other responses, {responses[0]} and {responses[1]}, whose densities have other units: models of "
            "one response can be compared."
        )
    lost = np.setxor1d(one.table.rows, other.table.rows)
    if not len(lost):
        return f"are of other values of {responses[0]!r}, or of rows in another order: fit both to one table."
    labels = lost if one.table.index is None else one.table.index[lost]
    named = ", ".join(map(str, labels[:_NAMED])) + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
    columns = sorted({*one.table.missing, *other.table.missing})
    return (
        f"are of other rows: one of them left out {named}, where {' or '.join(map(repr, columns))} is missing. Fit "
        f"both to the table without them: data.dropna(subset={columns})."
    )


def _refuse_other_kinds(posteriors: Mapping[str, Posterior]) -> None:
    """The evidence given learned hyperparameters is their maximum, that of an integrated fit their mean."""
    plug_in = [name for name, posterior in posteriors.items() if posterior.integrated is None]
    learn = [name for name in plug_in if posteriors[name].learned.space.coordinates]
    integrated = [name for name in posteriors if name not in plug_in]
    if learn and integrated:
        raise OptionError(
            f"compare_models(): the hyperparameters of {integrated[0]!r} are integrated out, those of {learn[0]!r} are "
            f"plugged in, so that their evidence is not of one kind: pass {learn[0]!r} with .integrate()."
        )


def _flat(problem: Problem) -> tuple:
    """Which priors are flat; the evidence of models with the same ones shares their arbitrary constants."""
    design, priors = problem.design, problem.priors
    columns = tuple(sorted(design.coefficients[j] for j in priors.flat_columns))
    pairs = zip(design.terms, priors.covariances, strict=True)
    terms = tuple(sorted((t.factor, *t.coefficients) for t, prior in pairs if not prior.proper))
    return columns, terms, isinstance(priors.sigma, Flat)


def _factor(posteriors: Mapping[str, Posterior], logo: bool | str) -> str | None:
    """Whose groups to leave out."""
    if logo is False:
        return None
    groups = [{g.factor: g.n_groups for g in p.design.groupings} for p in posteriors.values() if p.design.terms]
    common = {factor: m for factor, m in (groups[0] if groups else {}).items() if all(factor in own for own in groups)}
    if logo is True:
        return max(common, key=lambda factor: common[factor]) if common else None
    if logo not in common:
        raise OptionError(f"compare_models(logo={logo!r}): no factor of all models." + suggest(str(logo), common))
    return str(logo)


def _evidence(posteriors: Mapping[str, Posterior]) -> pd.DataFrame:
    """By importance sampling where all models have it, else Laplace's approximation."""
    found = {name: posterior.evidence for name, posterior in posteriors.items()}
    sampled = all(np.isfinite(e.log_evidence_psis) for e in found.values())
    rows = {name: (e.log_evidence_psis, e.error) if sampled else (e.log_evidence, np.nan) for name, e in found.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["log_evidence", "error"])


def _elpd(
    posteriors: Mapping[str, Posterior], factor: str | None, random_seed: int | None, notes: dict[str, list[str]]
) -> dict[str, Any]:
    """Of the models that have the factor; what ArviZ warns of goes into the notes."""
    result = {}
    for name, posterior in posteriors.items():
        if factor is None or not posterior.design.terms:
            continue
        seed = posterior.learned.options.random_seed if random_seed is None else random_seed
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Estimated shape parameter of Pareto")
            result[name] = found = left_out(posterior, factor, None, seed)
        if influential := int(np.sum(found.pareto_k.to_numpy() > found.good_k)):
            groups = f"group{'s' * (influential > 1)} of {factor}"
            notes[name].append(f"elpd rough: {influential} influential {groups}")
    return result


def _difference(found: Any, best: Any) -> tuple[float, float]:
    """Of two elpds, and its standard error over the groups."""
    each = found.elpd_i.to_numpy() - best.elpd_i.to_numpy()
    return float(np.sum(each)), float(np.sqrt(len(each) * np.var(each)))


def _notes(posterior: Posterior) -> list[str]:
    """What to know of one model's row."""
    k_hat, notes = posterior.evidence.k_hat, []
    if k_hat > LARGEST_K_HAT:
        notes.append(f"evidence not reliable: Pareto k-hat {k_hat:.2f}")
    if not posterior.design.terms:
        notes.append("no groups to leave out")
    return notes
