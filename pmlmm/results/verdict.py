"""Whether an approximation can be trusted, in words."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pmlmm.inference.importance import LARGEST_K_HAT

if TYPE_CHECKING:
    from pmlmm.results.compare import Comparison
    from pmlmm.results.fit import Fit

# The reference itself: Vehtari et al. 2021 (Bayesian Analysis 16) ask for R-hat below 1.01 and 400 effective draws.
_R_HAT, _ESS = 1.01, 400
# Divergent draws, as a share of all, from which NUTS has left parts of the posterior out.
_DIVERGENT = 0.005
# An interval is as good as NUTS's when it is shifted by less than this (in sds), and as wide within this factor.
_SHIFT, _WIDTH = 0.15, 0.15
# Differences that Monte Carlo error explains: this many standard errors.
_ERRORS = 3.0
_SHOWN, _WIDTH_OF_TEXT = 12, 110


def badness(table: pd.DataFrame, methods: list[str]) -> np.ndarray:
    """How far the worst method is from NUTS for each parameter, in sds."""
    parts = [np.maximum(table[m, "shift"].abs(), np.log(table[m, "sd ratio"]).abs()) for m in methods]
    return np.max(parts, axis=0)


def judge(fit: "Fit", table: pd.DataFrame, effects: pd.DataFrame, diagnostics: dict) -> tuple[dict[str, bool], str]:
    """Whether each method can be trusted, and the verdict."""
    problems = _problems(diagnostics)
    trustworthy = {"NUTS": not problems}
    methods = [m for m in dict.fromkeys(table.columns.get_level_values(0)) if m != "NUTS"]
    words = []
    if problems:
        words.append(f"NUTS itself is not to be trusted: {'; '.join(problems)}. To mend that, {_remedy(diagnostics)}.")
    else:
        words.append(
            f"NUTS has converged (R-hat at most {diagnostics['r_hat']:.3f}, at least {diagnostics['ess']:.0f} "
            f"effective draws, {_divergences(diagnostics)})."
        )
    for method in methods:
        good, sentence = _judge_one(method, table, diagnostics)
        trustworthy[method] = good
        words.append(sentence)
    if len(effects) and not problems:
        worst = effects["shift"].idxmax()
        words.append(f"Means of {worst} are within {effects['shift'].max():.2f} sds of NUTS's.")
    words.append(_advice(fit, trustworthy))
    return trustworthy, "\n".join(words)


def _problems(diagnostics: dict) -> list[str]:
    found = []
    if not diagnostics["r_hat"] <= _R_HAT:
        found.append(f"R-hat reaches {diagnostics['r_hat']:.2f} (at most {_R_HAT} is wanted)")
    if not diagnostics["ess"] >= _ESS:
        found.append(f"as few as {diagnostics['ess']:.0f} effective draws (at least {_ESS} are wanted)")
    if diagnostics["divergences"] > _DIVERGENT * diagnostics["draws"]:
        found.append(f"{_divergences(diagnostics)} of {diagnostics['draws']}")
    return found


def _divergences(diagnostics: dict) -> str:
    number = diagnostics["divergences"]
    return f"{number or 'no'} divergent draw{'s' * (number != 1)}"


def _remedy(diagnostics: dict) -> str:
    if diagnostics["divergences"] > _DIVERGENT * diagnostics["draws"]:
        return "sample with more tuning (tune=2000), or give the covariances a less extreme prior"
    return "sample longer (draws=, tune=)"


def _judge_one(method: str, table: pd.DataFrame, diagnostics: dict) -> tuple[bool, str]:
    """Whether one approximation is as good as NUTS, and a sentence on it."""
    own = table[method]
    clear = own["z"] > _ERRORS
    shift, ratio = own["shift"].abs(), own["sd ratio"]
    bad = clear & ((shift > _SHIFT) | (np.log(ratio).abs() > np.log1p(_WIDTH)))
    k_hat, name = diagnostics["k_hat"], method
    if method != "Laplace":
        name = f"{method} (k-hat {k_hat:.2f})"
    if method != "Laplace" and not k_hat <= LARGEST_K_HAT:
        agree = "happens to agree with NUTS" if not bad.any() else _differences(own, bad)
        return False, f"{name} is not to be trusted: k-hat is above {LARGEST_K_HAT}. It {agree}."
    if bad.any():
        return False, f"{name} is not to be trusted: it {_differences(own, bad)}."
    if not clear.any():
        return True, f"{name} agrees with NUTS within Monte Carlo error ({_ERRORS:.0f} standard errors) everywhere."
    return True, (
        f"{name} is close to NUTS: means within {shift.max():.2f} sds, sds within {_percent(ratio)}, more than Monte "
        f"Carlo error explains for {int(clear.sum())} of {len(own)} parameters."
    )


def _percent(ratio: pd.Series) -> str:
    return f"{100 * np.expm1(np.log(ratio).abs().max()):.0f}%"


def _differences(own: pd.DataFrame, bad: pd.Series) -> str:
    """The worst parameters of a method that differs."""
    worst = own[bad].iloc[0]
    more = f"; {int(bad.sum()) - 1} more parameters differ" if bad.sum() > 1 else ""
    where = f"{worst['shift']:+.2f} sds from NUTS's mean, with {worst['sd ratio']:.2f} times its sd"
    return f"puts {own[bad].index[0]} {where}{more}"


def _advice(fit: "Fit", trustworthy: dict[str, bool]) -> str:
    """What to use."""
    if not trustworthy["NUTS"]:
        return "Verdict: no verdict before NUTS has converged."
    if "integrated" in trustworthy:
        if trustworthy["integrated"]:
            return "Verdict: use the integrated fit; it is as good as NUTS over the hyperparameters."
        return (
            "Verdict: use the NUTS draws, not the integrated fit (or integrate with more nodes: integrate(nodes=1024))."
        )
    given = "given the learned hyperparameters; fit.integrate() adds their uncertainty"
    if trustworthy.get("PSIS"):
        what = (
            "Laplace's approximation and its correction"
            if trustworthy["Laplace"]
            else "the importance-sampled correction, not plain Laplace"
        )
        return f"Verdict: use the fit's mean, sd and posterior ({what}), {given}."
    if trustworthy["Laplace"] and "PSIS" not in trustworthy:
        return f"Verdict: use the fit: Laplace's approximation is as good as NUTS, {given}."
    return (
        "Verdict: do not use the fit's intervals here. Use the NUTS draws; the data say too little about Sigma for "
        "Laplace's approximation: a fixed or larger b, or fewer random effects, would help."
    )


def report(comparison: "Comparison") -> str:
    """The comparison as text."""
    table, lines = comparison.table, ["Approximation against NUTS (differences in posterior sds; the worst first)"]
    methods = [m for m in dict.fromkeys(table.columns.get_level_values(0)) if m != "NUTS"]
    shown = pd.DataFrame(
        {
            "mean": table["NUTS", "mean"],
            "sd": table["NUTS", "sd"],
            "mcse/sd": table["NUTS", "mcse"] / table["NUTS", "sd"],
        }
    )
    for method in methods:
        shown[f"{method} shift"], shown[f"sd ratio{' ' * (methods.index(method) + 1)}"] = (
            table[method, "shift"],
            table[method, "sd ratio"],
        )
    formats = {"mean": "{:.4g}", "sd": "{:.3g}"}
    cells = [
        [str(name), *(formats.get(c.strip(), "{:.3f}").format(row[c]) for c in shown)]
        for name, row in shown.head(_SHOWN).iterrows()
    ]
    lines += _aligned([["", *(c.strip() for c in shown.columns)], *cells])
    if len(shown) > _SHOWN:
        lines.append(f"  ... and {len(shown) - _SHOWN} more, closer ones, in the attribute 'table'")
    lines += ["", "Log evidence"]
    for name, row in comparison.evidence.iterrows():
        error = "" if np.isnan(row["error"]) else f" +- {row['error']:.4f}"
        lines.append(f"  {name:<10} {row['log_evidence']:.4f}{error}")
    words = [textwrap.fill(line, _WIDTH_OF_TEXT, subsequent_indent="  ") for line in comparison.verdict.splitlines()]
    return "\n".join([*lines, "", *words])


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    return [
        "  " + "  ".join([row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
