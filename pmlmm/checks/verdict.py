"""Whether an approximation can be trusted, in words."""

import textwrap

import numpy as np
import pandas as pd

from pmlmm.inference.importance import LARGEST_K_HAT
from pmlmm.report.text import aligned

# The reference itself: Vehtari et al. 2021 (Bayesian Analysis 16) ask for R-hat below 1.01 and 400 effective draws.
_R_HAT, _ESS = 1.01, 400
# Divergent draws, as a share of all, from which NUTS has left parts of the posterior out.
_DIVERGENT = 0.005
# An interval is as good as NUTS's when it is shifted by less than this (in sds), and as wide within this factor.
_SHIFT, _WIDTH = 0.15, 0.15
# The same for random effects and wide coefficients, whose means are the largest of many differences.
_SHIFT_OF_EFFECTS = 0.3
# Monte Carlo error of a mean (in sds) from which nothing can be said.
_NOISE = 0.1
# Differences that Monte Carlo error explains: this many standard errors.
_ERRORS = 3.0
_SHOWN, _WIDTH_OF_TEXT = 12, 110


def badness(table: pd.DataFrame, methods: list[str]) -> np.ndarray:
    """How far the worst method is from NUTS for each parameter, in sds."""
    parts = [np.maximum(table[m, "shift"].abs(), np.log(table[m, "sd ratio"]).abs()) for m in methods]
    return np.max(parts, axis=0)


def judge(table: pd.DataFrame, effects: pd.DataFrame, diagnostics: dict) -> tuple[dict[str, bool], str]:
    """Whether each method can be trusted, and the verdict."""
    problems = _problems(diagnostics)
    methods = [m for m in dict.fromkeys(table.columns.get_level_values(0)) if m != "NUTS"]
    if problems:
        words = (
            f"NUTS itself is not to be trusted: {'; '.join(problems)}. To mend that, {_remedy(diagnostics)}.\n"
            "Verdict: no verdict before NUTS has converged."
        )
        return {"NUTS": False} | dict.fromkeys(methods, False), words
    trustworthy = {"NUTS": True}
    lines = [
        f"NUTS has converged (R-hat at most {diagnostics['r_hat']:.3f}, at least {diagnostics['ess']:.0f} "
        f"effective draws, {_divergences(diagnostics)})."
    ]
    for method in methods:
        trustworthy[method], sentence = _judge_one(method, table, diagnostics)
        lines.append(sentence)
    shown = _shown(methods, diagnostics)
    if len(effects):
        worst, shift = effects["shift"].idxmax(), effects["shift"].max()
        lines.append(f"Means of {worst} are within {shift:.2f} sds of NUTS's.")
        if not shift <= _SHIFT_OF_EFFECTS:
            trustworthy[shown] = False
            lines[-1] = f"A mean of {worst} is {shift:.2f} sds from NUTS's: {shown} is not to be trusted for them."
    lines.append(_advice(trustworthy, shown))
    return trustworthy, "\n".join(lines)


def _shown(methods: list[str], diagnostics: dict) -> str:
    """The method behind the fit's mean, sd and posterior."""
    if "PSIS" in methods:
        return "PSIS" if diagnostics["k_hat"] <= LARGEST_K_HAT else "Laplace"
    return methods[-1]


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
    return "sample longer (draws=, tune=, 4 chains)"


def _judge_one(method: str, table: pd.DataFrame, diagnostics: dict) -> tuple[bool, str]:
    """Whether one approximation is as good as NUTS, and a sentence on it."""
    own, sd = table[method], table["NUTS", "sd"]
    clear = ~(own["z"] <= _ERRORS)
    shift, ratio = own["shift"].abs(), own["sd ratio"]
    bad = clear & ~((shift <= _SHIFT) & (np.log(ratio).abs() <= np.log1p(_WIDTH)))
    noise = float((own["mcse"] / sd).max())
    name = method if method == "Laplace" else f"{method} (k-hat {diagnostics['k_hat']:.2f})"
    if method != "Laplace" and not diagnostics["k_hat"] <= LARGEST_K_HAT:
        agree = "happens to agree with NUTS" if not bad.any() else _differences(own, bad)
        return False, f"{name} is not to be trusted: k-hat is above {LARGEST_K_HAT}. It {agree}."
    if bad.any():
        return False, f"{name} is not to be trusted: it {_differences(own, bad)}."
    if not noise <= _NOISE:
        return (
            False,
            f"{name} is too noisy to tell: the Monte Carlo error of a mean is {noise:.2f} sds; use more draws.",
        )
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


def _advice(trustworthy: dict[str, bool], shown: str) -> str:
    """What to use."""
    if shown == "integrated":
        if trustworthy["integrated"]:
            return "Verdict: use the integrated fit; it is as good as NUTS over the hyperparameters."
        return "Verdict: use the NUTS draws, not the integrated fit (or more draws: integrate(draws=4000))."
    given = "given the learned hyperparameters; fit.integrate() adds their uncertainty"
    if trustworthy[shown]:
        both = "Laplace's approximation and its correction"
        if shown == "Laplace":
            what = "Laplace's approximation, uncorrected, which is as good as NUTS"
        else:
            what = both if trustworthy["Laplace"] else "the importance-sampled correction, not plain Laplace"
        return f"Verdict: use the fit's mean, sd and posterior ({what}), {given}."
    return (
        "Verdict: do not use the fit's intervals here. Use the NUTS draws; the data say too little about Sigma for "
        "Laplace's approximation: a fixed or larger b, or fewer random effects, would help."
    )


def report(table: pd.DataFrame, evidence: pd.DataFrame, verdict: str) -> str:
    """A comparison as text."""
    lines = ["Approximation against NUTS (differences in posterior sds; the worst first)"]
    methods = [m for m in dict.fromkeys(table.columns.get_level_values(0)) if m != "NUTS"]
    header, cells = ["", "mean", "sd", "mcse/sd"], []
    for method in methods:
        header += [f"{method} shift", "sd ratio"]
    for name, row in table.head(_SHOWN).iterrows():
        mean, sd, error = (row["NUTS", key] for key in ("mean", "sd", "mcse"))
        numbers = [row[method, key] for method in methods for key in ("shift", "sd ratio")]
        cells.append((str(name), f"{mean:.4g}", f"{sd:.3g}", *(f"{x:.3f}" for x in (error / sd, *numbers))))
    lines.append(aligned([tuple(header), *cells], text=(0,)))
    if len(table) > _SHOWN:
        lines.append(f"  ... and {len(table) - _SHOWN} more, closer ones, in the attribute 'table'")
    lines += ["", "Log evidence"]
    for name, row in evidence.iterrows():
        error = "" if np.isnan(row["error"]) else f" +- {row['error']:.4f}"
        lines.append(f"  {name:<10} {row['log_evidence']:.4f}{error}")
    words = [textwrap.fill(line, _WIDTH_OF_TEXT, subsequent_indent="  ") for line in verdict.splitlines()]
    return "\n".join([*lines, "", *words])
