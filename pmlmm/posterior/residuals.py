"""Residuals, and what those of posterior draws say against normal errors of one variance.

At a draw of all parameters from the posterior the errors ``(y - X beta - Z gamma) / sigma`` (times the root of a
row's weight) are standard normal and
independent of the parameters, whatever these are, if the model is right (Johnson 2007, Bayesian Analysis 2(4),
719-734). So tests for independent normal numbers are exact for every draw; twice the median of the p-values of
several draws is a p-value again (Vovk and Wang 2020, Biometrika 107(4), 791-808).
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from pmlmm.errors import OptionError, suggest
from pmlmm.posterior.draws import PREDICTOR
from pmlmm.posterior.new_rows import fitted_rows
from pmlmm.posterior.predict import predictor_mean
from pmlmm.posterior.source import Posterior

#: Below this p-value the residuals speak against the model.
ALARM = 0.01
# Draws, fewer where they would take more numbers than this.
_DRAWS, _FEWEST, _NUMBERS = 21, 5, 20_000_000
# Fewer rows say nothing of tails.
_FEWEST_ROWS = 20

_KINDS = ("response", "standardized", "marginal", "pivotal")

Test = Callable[[np.ndarray, np.ndarray], tuple[float, float]]


def residuals(posterior: Posterior, kind: str, random_seed: int) -> pd.Series:
    """A residual for every row of the given table; see :meth:`pmlmm.Fit.residuals`."""
    if kind not in _KINDS:
        raise OptionError(f"residuals(kind={kind!r})." + suggest(kind, _KINDS))
    if kind == "pivotal":
        values = draw_errors(posterior, np.random.default_rng([random_seed, 11]), 1)[1][0]
    else:
        values = posterior.design.y - predictor_mean(
            posterior, fitted_rows(posterior.design, effects=kind != "marginal")
        )
    if kind == "standardized":
        values = values / (float(posterior.mean["sigma"]) * posterior.design.noise_sd)
    return posterior.design.table.aligned(values[:, None])[0].rename("residual")


def residual_checks(posterior: Posterior, random_seed: int) -> pd.DataFrame:
    """One row per check; see :meth:`pmlmm.Fit.check_residuals`."""
    number = int(np.clip(_NUMBERS // posterior.design.n_rows, _FEWEST, _DRAWS))
    fitted, errors = draw_errors(posterior, np.random.default_rng([random_seed, 7]), number)
    tests = _tests(posterior)
    rows = [(name, *_combined(test, fitted, errors), words) for name, (test, words) in tests.items()]
    table = pd.DataFrame(rows, columns=["check", "statistic", "p_value", "words"]).set_index("check")
    table["words"] = table["words"].where(table["p_value"] < ALARM, "nothing against it")
    return table


def draw_errors(posterior: Posterior, rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Fitted values and standardised residuals of posterior draws, both (draws, n)."""
    design = posterior.design
    values = posterior.resample(number, rng)[0].draw(rng, gamma=False, wide=False, predictor=True)
    fitted = values[PREDICTOR]
    return fitted, (design.y - fitted) / (values["sigma"][:, None] * design.noise_sd)


def _tests(posterior: Posterior) -> dict[str, tuple[Test, str]]:
    """Statistic and p-value of one draw's fitted values and errors, and what a small p-value means."""
    design = posterior.design
    tests: dict[str, tuple[Test, str]] = {
        "spread by fitted value": (_trend, "their spread changes with the fitted value")
    }
    if design.n_rows >= _FEWEST_ROWS:
        tests["tails"] = _tails, "their tails are heavier than normal ones"
    for grouping in design.groupings:
        if 1 < grouping.n_groups < design.n_rows:
            words = f"their spread differs between the groups of {grouping.factor}"
            tests[f"spread by {grouping.factor}"] = _between(grouping.codes, grouping.n_groups), words
    return tests


def _combined(test: Test, fitted: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Median statistic, and the p-value of all draws together."""
    found = np.array([test(*pair) for pair in zip(fitted, errors, strict=True)])
    statistic, p_value = np.median(found, axis=0)
    return float(statistic), float(min(1.0, 2.0 * p_value))


def _tails(fitted: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Kurtosis, 3 of a normal, by Anscombe and Glynn's test."""
    from scipy.stats import kurtosis, kurtosistest

    return float(kurtosis(errors, fisher=False)), float(kurtosistest(errors, alternative="greater").pvalue)


def _trend(fitted: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Rank correlation of the errors' size with the fitted values."""
    from scipy.stats import spearmanr

    if not np.ptp(fitted):
        return 0.0, 1.0
    found = spearmanr(np.abs(errors), fitted)
    return float(found.statistic), float(found.pvalue)


def _between(codes: np.ndarray, groups: int) -> Test:
    """Ratio of mean squares of the errors' sizes, between groups over within: Levene's test around the known mean 0."""
    counts = np.bincount(codes, minlength=groups)

    def test(fitted: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
        from scipy.stats import f

        size = np.abs(errors) - np.mean(np.abs(errors))
        means = np.bincount(codes, weights=size, minlength=groups) / counts
        between, total = float(counts @ means**2), float(size @ size)
        freedom = groups - 1, len(size) - groups
        ratio = between / freedom[0] / ((total - between) / freedom[1])
        return ratio, float(f.sf(ratio, *freedom))

    return test
