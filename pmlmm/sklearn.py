"""A mixed model as a scikit-learn regressor, for its cross-validation, searches and pipelines; an extra."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from pmlmm.design.lexer import split, tokens
from pmlmm.errors import DataError, FormulaError, OptionError, shown, suggest
from pmlmm.model import Model

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.utils import check_array, column_or_1d
    from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError('pmlmm.sklearn needs scikit-learn: pip install "pmlmm[sklearn]".') from error

# With fewer rows a column the columns are a block with a ridge, unless a formula says otherwise.
_ROWS_A_COLUMN = 3
_BLOCK = "columns"
# Means do not depend on draws, which only take time where no sd is asked for.
_DRAWS = 25


class MixedRegressor(RegressorMixin, BaseEstimator):
    """A linear mixed model that scikit-learn fits, predicts and cross-validates.

    Parameters
    ----------
    formula : str, optional
        The right side, ``"~ t + (t | id)"``, of columns of X; or a whole formula whose left side is a name, which
        stands for y. Default: all columns that vary, as fixed effects. With fewer than 3 rows a column the numeric ones
        are a wide block with a learned ridge.
    groups : str or list of str, optional
        Without a formula: columns of X that get a random intercept, ``(1 | id)``, each.
    priors : mapping, optional
        As of :class:`pmlmm.Model`.
    penalized : mapping, optional
        Wide blocks: from names to columns of X, a list of them or a function of X that gives one (such as
        ``sklearn.compose.make_column_selector``).
    context : mapping, optional
        As of :class:`pmlmm.Model`.
    trusted : bool
        As of :class:`pmlmm.Model`.
    fit_options : mapping, optional
        Of :meth:`pmlmm.Model.fit`: ``{"integrate": False, "random_seed": 1}``.

    Attributes
    ----------
    fit_ : pmlmm.Fit
        With all that a fit can tell.
    n_features_in_ : int
    feature_names_in_ : array of str
        Where X has names.

    Notes
    -----
    X is a data frame, pandas or polars, with the columns that the formula uses, or a numeric array, whose columns are
    called x0, x1, and so on. Groups that the fit has seen are predicted with their random effects, others with gamma
    = 0, their mean: so ``KFold`` asks how well new rows of known groups are predicted, ``GroupKFold`` how well new
    groups are. Rows with a missing value are dropped in a fit and predicted as nan; an array may have none.

    Examples
    --------
    >>> import pmlmm
    >>> from sklearn.model_selection import GroupKFold, cross_val_score
    >>> from pmlmm.sklearn import MixedRegressor
    >>> data = pmlmm.datasets.load("sleepstudy")
    >>> model = MixedRegressor("~ Days + (Days | Subject)")
    >>> r2 = cross_val_score(model, data, data["Reaction"], groups=data["Subject"], cv=GroupKFold(3))
    """

    def __init__(
        self,
        formula: str | None = None,
        *,
        groups: str | Sequence[str] | None = None,
        priors: Mapping[Any, Any] | None = None,
        penalized: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        trusted: bool = True,
        fit_options: Mapping[str, Any] | None = None,
    ):
        self.formula = formula
        self.groups = groups
        self.priors = priors
        self.penalized = penalized
        self.context = context
        self.trusted = trusted
        self.fit_options = fit_options

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MixedRegressor":
        """Learn the hyperparameters and the posterior.

        Parameters
        ----------
        X : data frame or (n, p) array
        y : (n,) array
            The response, numbers without gaps.
        sample_weight : (n,) array, optional
            Precisions, as ``weights`` of :class:`pmlmm.Model`: the variance of a row is sigma^2 / weight. They are no
            numbers of repetitions, and must be above 0.

        Raises
        ------
        FormulaError, DataError, PriorError, OptionError, ConvergenceError
            As :class:`pmlmm.Model` and its fit.
        """
        frame, numbers = self._table(X, y, reset=True)
        self._blocks = {name: _picked(frame, name, columns) for name, columns in (self.penalized or {}).items()}
        if self.formula is None:
            formula = self._default(frame)
        elif self.groups is not None:
            raise OptionError(
                f"MixedRegressor(groups={self.groups!r}) goes without a formula: add '+ (1 | {self.groups})' to it."
            )
        else:
            formula = self.formula
        name, right = _sides(formula, getattr(y, "name", None), frame)
        model = Model(
            f"{_quoted(name)} ~ {right}",
            frame.assign(**{name: numbers}),
            self.priors,
            penalized=self._given(frame) or None,
            context=self.context,
            trusted=self.trusted,
            weights=None if sample_weight is None else np.asarray(sample_weight, dtype=float),
        )
        self.fit_ = model.fit(**dict(self.fit_options or {}))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Means of new observations.

        Parameters
        ----------
        X : data frame or (n, p) array
            With the columns of the fit; the columns of groups may have gaps.
        return_std : bool
            Return standard deviations of new observations too: of the mean, of the random effects (of an unseen
            group's too), and sigma.

        Returns
        -------
        (n,) array, or two of them
        """
        check_is_fitted(self)
        frame, _ = self._table(X, None, reset=False)
        return _predicted(self.fit_, frame, self._given(frame) or None, return_std)

    def _table(self, X: Any, y: Any, *, reset: bool) -> tuple[pd.DataFrame, Any]:
        """X as a data frame, and y as an array of numbers; what scikit-learn checks is checked."""
        if not _is_frame(X):
            more = {"y": y, "y_numeric": True, "ensure_min_samples": 2} if reset else {}
            checked = validate_data(self, X, reset=reset, dtype=np.float64, **more)
            matrix, numbers = checked if reset else (checked, None)
            return pd.DataFrame(matrix, columns=[f"x{j}" for j in range(matrix.shape[1])]), numbers
        validate_data(self, X, reset=reset, skip_check_array=True, **({"y": y} if reset else {}))
        frame = _pandas(X)
        if not reset:
            return frame, None
        numbers = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype=np.float64)
        check_consistent_length(frame, numbers)
        return frame, numbers

    def _default(self, frame: pd.DataFrame) -> str:
        """All columns that vary; the numeric ones become a block where they are many."""
        groups = [self.groups] if isinstance(self.groups, str) else list(self.groups or [])
        for name in groups:
            _known(frame, name, f"MixedRegressor(groups={self.groups!r})")
        taken = {*groups, *(name for names in self._blocks.values() for name in names)}
        varying = [name for name in frame.columns if name not in taken and frame[name].nunique() > 1]
        if _ROWS_A_COLUMN * len(varying) > len(frame):
            numeric = [name for name in varying if pd.api.types.is_numeric_dtype(frame[name])]
            self._blocks |= {_BLOCK: numeric} if numeric else {}
            varying = [name for name in varying if name not in numeric]
        fixed = [_quoted(name) for name in varying] or ["1"]
        return "~ " + " + ".join([*fixed, *(f"(1 | {_quoted(name)})" for name in groups)])

    def _given(self, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """The wide blocks' columns."""
        return {name: frame[columns] for name, columns in self._blocks.items()}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _predicted(fit: Any, frame: pd.DataFrame, penalized: Mapping[str, Any] | None, return_std: bool) -> Any:
    """Unseen groups have mean 0, so that their rows' mean is that of gamma = 0."""
    kind, draws = ("response", None) if return_std else ("mean", _DRAWS)
    table = fit.predict(frame, kind=kind, groups="new", penalized=penalized, draws=draws)
    mean = table["mean"].to_numpy()
    return (mean, table["sd"].to_numpy()) if return_std else mean


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and not hasattr(X, "tocsr")


def _pandas(X: Any) -> pd.DataFrame:
    """A table with rows by number, so that blocks and table agree, and names that are text."""
    try:
        frame = X if isinstance(X, pd.DataFrame) else nw.from_native(X, eager_only=True).to_pandas()
    except TypeError as error:
        raise DataError(f"X is a {type(X).__name__}; pass a pandas, polars or Arrow table, or an array.") from error
    return frame.reset_index(drop=True).set_axis(frame.columns.map(str), axis=1)


def _picked(frame: pd.DataFrame, block: str, columns: Callable | Sequence[str]) -> list[str]:
    """Names of the columns of a wide block."""
    names = list(columns(frame) if callable(columns) else columns)
    for name in names:
        _known(frame, name, f"MixedRegressor(penalized={{{block!r}: ...}})")
    return names


def _known(frame: pd.DataFrame, name: str, where: str) -> None:
    if name not in frame.columns:
        raise DataError(f"{where}: X has no column {name!r}." + suggest(name, frame.columns))


def _sides(formula: str, given: Any, frame: pd.DataFrame) -> tuple[str, str]:
    """The response's name and the right side; without a left side the name is y's, or one that the right side lacks."""
    if not isinstance(formula, str) or len(sides := split(formula, "~")) != 2:
        raise FormulaError(f"MixedRegressor({shown(formula)}): a formula reads '~ t + (t | id)'; y is the response.")
    left, right = (piece.strip() for _, piece in sides)
    if not left:
        name = given if isinstance(given, str) and given else "y"
        used = {token.text.strip("`") for token in tokens(right)}
        while name in used or (name != given and name in frame.columns):
            name += "_"
        return name, right
    name = left.strip("`")
    if _quoted(name) != left and not left.startswith("`"):
        raise FormulaError(
            f"MixedRegressor({shown(formula)}): the left side must be a name, which stands for y. Transform y with "
            "sklearn.compose.TransformedTargetRegressor, and write '~ ...'."
        )
    return name, right


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"
