"""Functions that formulas may call by name, beside formulaic's: the ones that R users write."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from formulaic.transforms import TRANSFORMS
from formulaic.transforms import C as categorical
from formulaic.transforms import poly as polynomials
from formulaic.utils.stateful_transforms import stateful_transform

from pmlmm.design.splines import ns
from pmlmm.errors import DataError, suggest


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


@stateful_transform
def relevel(x: Any, ref: Any, _state: dict | None = None) -> Any:
    """R's ``relevel``: the factor x with the level ``ref`` first, which makes it the reference."""
    state, labels = {} if _state is None else _state, _labels_of_factor(x)
    if "levels" not in state:
        first = _level(ref, _levels(labels), f"relevel(ref={ref!r})")
        state["levels"] = [first, *(level for level in _levels(labels) if level != first)]
    unseen = [level for level in _levels(labels) if level not in state["levels"]]
    return pd.Series(pd.Categorical(labels, categories=[*state["levels"], *unseen]), index=labels.index)


@stateful_transform
def dummy(x: Any, levels: Any = None, _state: dict | None = None) -> Any:
    """lme4's ``dummy``: 0 and 1 for each of some levels of the factor x; for all but the first by default."""
    state, labels = {} if _state is None else _state, _labels_of_factor(x)
    if "levels" not in state:
        known = _levels(labels)
        wanted = known[1:] if levels is None else np.atleast_1d(np.asarray(levels, dtype=object))
        state["known"], state["levels"] = known, [_level(level, known, f"dummy(levels={level!r})") for level in wanted]
    if unseen := [level for level in _levels(labels) if level not in state["known"]]:
        named = ", ".join(map(repr, unseen[:5]))
        choices = suggest(str(unseen[0]), state["known"])
        raise DataError(f"a factor has levels there that the fit has not seen: {named}.{choices}")
    columns = {level: (labels == level).to_numpy(dtype=float) for level in state["levels"]}
    return next(iter(columns.values())) if len(columns) == 1 else columns


def c(*values: Any) -> np.ndarray:
    """R's ``c``, of numbers or texts: ``bs(x, knots=c(2, 5))``."""
    if not all(np.isscalar(value) for value in values):
        raise DataError("c() lists numbers or texts in a formula, no columns")
    return np.array(values)


def _labels_of_factor(x: Any) -> pd.Series:
    values = _labels(getattr(x, "__wrapped__", x))
    return values if isinstance(values, pd.Series) else pd.Series(values)


def _levels(labels: pd.Series) -> list:
    if isinstance(labels.dtype, pd.CategoricalDtype):
        return list(labels.cat.categories)
    return sorted(labels.unique())


def _level(wanted: Any, levels: list, where: str) -> Any:
    """The level that reads as ``wanted`` does; of numbers too."""
    found = next((level for level in levels if str(level) == str(wanted)), None)
    if found is None:
        raise DataError(f"{where}: no such level." + suggest(str(wanted), levels))
    return found


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
    "pmin": np.minimum,
    "pmax": np.maximum,
}
#: What formulas are evaluated with, beside the columns and the user's context.
FUNCTIONS: Mapping[str, Any] = {
    **{name: function for name, function in TRANSFORMS.items() if name != "Q"},
    **ELEMENTWISE,
    **STATISTICS,
    "C": C,
    "factor": C,
    "poly": poly,
    "ns": ns,
    "relevel": relevel,
    "dummy": dummy,
    "c": c,
}
#: R's names with a dot, and what they are called here.
SPELLINGS = {"as.factor": "factor", "Boundary.knots": "boundary_knots"}
#: Names in it that are no functions but hold some.
MODULES = ("np", "contr")
#: R's words for constants.
CONSTANTS = {"TRUE": "True", "FALSE": "False", "NULL": "None"}
_SMOOTH = "Smooth terms are not supported; splines are: ns(x, df=4), bs(x, df=5), cc(x, df=5), (ns(x, df=4) | g)."
_ONE_BY_ONE = "Several responses are not supported yet: fit them one by one."
_RESIDUALS = "Residual correlations are not supported: residuals are independent given the random effects."
#: What users of lme4, glmmTMB, brms, Bambi, mgcv and nlme look for, and what to write instead.
ELSEWHERE = {
    "offset": "An offset is a term by itself: y ~ x + offset(z).",
    "weights": "Weights go beside the formula: Model(..., weights='w').",
    **dict.fromkeys(("cbind", "mvbind"), _ONE_BY_ONE),
    **dict.fromkeys(("s", "te", "ti", "t2", "lo"), _SMOOTH),
    **dict.fromkeys(("gp", "hsgp"), _SMOOTH),
    **dict.fromkeys(("ar", "ma", "arma", "cosy", "unstr", "corAR1", "sar", "car", "fcor"), _RESIDUALS),
    "ar1": f"{_RESIDUALS} An AR(1) target for the covariance of random effects is InverseWishart(A='ar1').",
    "us": "An unstructured covariance is what (t | g) has; us(t | g) is read as that.",
    "diag": "Uncorrelated random effects are (t || g); diag(t | g) is read as that.",
    "mm": "Multiple membership is a wide block, a column for each member with its weights: "
    "Model(..., penalized={'members': W}).",
    "me": "Measurement errors of covariates are not supported.",
    "mi": "Missing values are not imputed: rows with one are dropped. Impute before.",
    "mo": "Monotonic effects are not supported; factor(x) has a mean for each level, ordered or not.",
    "ordered": "Write C(x, contr.poly) for polynomial contrasts of an ordered factor.",
    "as.ordered": "Write C(x, contr.poly) for polynomial contrasts of an ordered factor.",
    "T": "Write relevel(x, ref='level') to choose the reference level.",
    "S": "Write C(x, contr.sum).",
    "interaction": "The combinations of two factors are a:b; as groups (1 | a:b).",
    "cut": "Make the classes a column before: pandas.cut.",
    "Q": "A column whose name has spaces or signs goes into backticks.",
    "as.numeric": "Convert the column before: pandas.to_numeric.",
    "as.integer": "Convert the column before: pandas.to_numeric.",
    "as.character": "Text is a factor here; factor(x) makes one of numbers.",
}
