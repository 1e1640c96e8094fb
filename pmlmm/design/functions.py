"""Functions that formulas may call by name, beside formulaic's: the ones that R users write."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from formulaic.transforms import TRANSFORMS
from formulaic.transforms import C as categorical
from formulaic.transforms import poly as polynomials
from formulaic.utils.stateful_transforms import stateful_transform

from pmlmm.errors import DataError


def C(data: Any, contrasts: Any = None, *, levels: Iterable | None = None, spans_intercept: bool = True) -> Any:
    """formulaic's ``C``, with whole numbers as levels without a decimal point and none of them lost.

    Raises
    ------
    DataError
        Values that ``levels`` leaves out.
    """
    labels = _labels(data)
    if levels is not None:
        levels = list(levels)
        missing = sorted({str(value) for value in pd.unique(labels)} - {str(level) for level in levels})
        if missing:
            raise DataError(
                f"levels={levels} leaves out {', '.join(map(repr, missing[:5]))}, which occur in the data: list them "
                "too, or drop their rows first."
            )
    return categorical(labels, contrasts, levels=levels, spans_intercept=spans_intercept)


@stateful_transform
def poly(x: Any, degree: int = 1, raw: bool = False, _state: dict | None = None) -> Any:
    """formulaic's ``poly``, refused where the values are too few for the degree: its columns would be rounding."""
    state = {} if _state is None else _state
    if not state and (distinct := len(np.unique(np.asarray(x, dtype=float)))) <= degree:
        raise DataError(f"poly() of degree {degree} needs more than {degree} distinct values; there are {distinct}.")
    return polynomials(x, degree=degree, raw=raw, _state=state)


def _labels(data: Any) -> Any:
    values = pd.Series(data) if isinstance(data, np.ndarray) else data
    if not isinstance(values, pd.Series) or values.dtype.kind != "f":
        return values
    numbers = values.to_numpy()
    whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all() and (np.abs(numbers) < 2**53).all()
    return values.astype(np.int64) if whole else values


def _remembered(statistic: Callable[..., Any], name: str) -> Callable:
    """A statistic of the rows of the fit, which predictions for other rows use again."""

    @stateful_transform
    def function(data: Any, _state: dict | None = None) -> float:
        state = {} if _state is None else _state
        if "value" not in state:
            state["value"] = float(statistic(np.asarray(data, dtype=float)))
        return state["value"]

    function.__name__ = name
    return function


_OF_ROWS: dict[str, Callable[..., Any]] = {
    "mean": np.mean,
    "median": np.median,
    "sd": lambda x: np.std(x, ddof=1),
    "var": lambda x: np.var(x, ddof=1),
    "min": np.min,
    "max": np.max,
}
STATISTICS = {name: _remembered(statistic, name) for name, statistic in _OF_ROWS.items()}
ELEMENTWISE = {
    "abs": np.abs,
    "sqrt": np.sqrt,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "exp10": lambda x: np.power(10.0, x),  # formulaic's is x^10
    "sign": np.sign,
    "floor": np.floor,
    "ceiling": np.ceil,
    "round": np.round,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "ifelse": np.where,
}
#: What formulas are evaluated with, beside the columns and the user's context.
FUNCTIONS: Mapping[str, Any] = {
    **{name: function for name, function in TRANSFORMS.items() if name != "Q"},
    **ELEMENTWISE,
    **STATISTICS,
    "C": C,
    "factor": C,
    "poly": poly,
}
#: Names in it that are no functions but hold some.
MODULES = ("np", "contr")
#: R's words for constants.
CONSTANTS = {"TRUE": "True", "FALSE": "False", "NULL": "None"}
#: What users of lme4, brms, mgcv and nlme look for, and what to write instead.
ELSEWHERE = {
    "offset": "An offset is a term by itself: y ~ x + offset(z).",
    "weights": "Weights go beside the formula: Model(..., weights='w').",
    "cbind": "Several responses are not supported yet: fit them one by one.",
    "mvbind": "Several responses are not supported yet: fit them one by one.",
    "ns": "A natural cubic spline is cr(x, df=4); bs(x, df=4) is a B-spline.",
    "s": "Smooth terms are not supported; splines are: bs(x, df=5), cr(x, df=5), (bs(x, df=5) | g).",
    "te": "Smooth terms are not supported; splines are: bs(x, df=5), cr(x, df=5).",
    "ti": "Smooth terms are not supported; splines are: bs(x, df=5), cr(x, df=5).",
    "t2": "Smooth terms are not supported; splines are: bs(x, df=5), cr(x, df=5).",
    "ar1": "Residual correlations are not supported; an AR(1) target for a covariance is InverseWishart(A='ar1').",
    "us": "An unstructured covariance is what (t | g) has.",
    "diag": "Uncorrelated random effects are (t || g).",
    "as.factor": "Write C(x) or factor(x).",
    "ordered": "Write C(x, contr.poly) for polynomial contrasts of an ordered factor.",
    "relevel": "Write C(x, contr.treatment('level')) to choose the reference level.",
    "Q": "A column whose name has spaces or signs goes into backticks.",
    "mo": "Monotonic effects are not supported.",
    "as.numeric": "Convert the column before: pandas.to_numeric.",
}
