"""The way into the package marginaleffects: its predictions, comparisons, slopes, hypotheses and plots of a fit.

The package is an extra: ``pip install 'pmlmm[marginaleffects]'``. Its intervals are normal ones from the posterior
covariance of the fixed effects; those of :meth:`pmlmm.Fit.means`, ``contrast`` and ``slopes`` are quantiles of draws.
"""

try:
    import polars
    from marginaleffects.classes import ModelAbstract, ModelVault
except ImportError as error:
    raise ImportError("pmlmm.marginaleffects needs marginaleffects: pip install 'pmlmm[marginaleffects]'.") from error

from typing import Any

import numpy as np
import pandas as pd

from pmlmm.design.columns import for_formula
from pmlmm.errors import DataError, OptionError, suggest
from pmlmm.fit import Fit
from pmlmm.report.grid import Grid
from pmlmm.report.means import level_name


def adapt(fit: Fit) -> "Adapted":
    """A fit as ``marginaleffects`` takes models: the average group, random effects 0.

    Wide blocks are at the means of their columns. Factors are text there, with levels in the order of the fit.

    Parameters
    ----------
    fit : Fit

    Returns
    -------
    Adapted
        For ``marginaleffects.avg_predictions(adapt(fit), by="arm")`` and the like.

    Examples
    --------
    >>> import marginaleffects
    >>> import pmlmm
    >>> from pmlmm.marginaleffects import adapt
    >>> fit = pmlmm.Model("Reaction ~ Days + (Days | Subject)", pmlmm.datasets.load("sleepstudy")).fit()
    >>> table = marginaleffects.avg_slopes(adapt(fit))
    """
    if not isinstance(fit, Fit):
        raise OptionError(f"adapt() takes a fit, what Model(...).fit() returns; this is a {type(fit).__name__}.")
    return Adapted(fit)


class Adapted(ModelAbstract):
    """The fixed effects of a fit; with wide blocks the last coefficient is what these add at their means."""

    def __init__(self, fit: Fit):
        design = fit.model.design
        self._design, self._factors = design, {n: v for n, v in Grid(design).factors.items() if v.dtype.kind != "b"}
        mean, draws = _coefficients(fit)
        vault = ModelVault(
            coef=mean,
            coefnames=np.array([*design.coefficients, "wide blocks"][: len(mean)]),
            formula=self.get_exog,  # not to be parsed there
            modeldata=self._table(),
            package="pmlmm",
            vcov=np.cov(draws, rowvar=False).reshape(len(mean), len(mean)),
            variable_names=[design.parsed.response, *Grid(design).fixed_columns],
        )
        super().__init__(fit, vault)

    def validation(self) -> None:
        """Everything has been checked by the fit; theirs does not run on Polars 2 with columns of floats."""
        self.coef, self.response_name = self.vault.coef, self.vault.variable_names[0]
        kinds = {"Enum": "character", "Boolean": "boolean"}
        schema = self.vault.modeldata.schema
        self.vault.variables_type = {n: kinds.get(str(kind.base_type()), "numeric") for n, kind in schema.items()}

    def get_vcov(self, vcov: Any = True) -> np.ndarray | None:
        """The posterior covariance of the fixed effects; None for False."""
        if isinstance(vcov, str):
            raise OptionError(f"vcov={vcov!r}: a fit has one covariance, the posterior's; leave vcov out.")
        return None if vcov is False or vcov is None else self.vault.vcov

    def get_exog(self, newdata: Any) -> np.ndarray:
        """The fixed effects' columns for a table of polars, (rows, coefficients)."""
        rows = {name: self._column(name, newdata[name]) for name in Grid(self._design).fixed_columns}
        X = self._design.recipe.columns(pd.DataFrame(rows, index=range(len(newdata))))
        return np.column_stack([X, np.ones(len(X))])[:, : X.shape[1] + bool(self._design.wide)]

    def get_predict(self, params: np.ndarray, newdata: np.ndarray) -> Any:
        """Linear predictors for coefficients (coefficients,) and their columns."""
        rows = polars.Series(range(len(newdata)), dtype=polars.Int32)
        return polars.DataFrame({"rowid": rows, "estimate": np.asarray(newdata) @ np.asarray(params)})

    def _table(self) -> Any:
        """The rows of the fit, text as categories, which marginaleffects wants."""
        columns = {self._design.parsed.response: polars.Series(self._design.y)}
        for name, values in self._design.table.frame.items():
            if name in self._factors or values.dtype.kind not in "biuf":
                texts = [level_name(value) for value in for_formula(values)]
                levels = [level_name(level) for level in self._factors.get(name, sorted(set(texts)))]
                columns[str(name)] = polars.Series(texts, dtype=polars.Enum(levels))
            else:
                columns[str(name)] = polars.Series(values.to_numpy())
        return polars.DataFrame(columns)

    def _column(self, name: str, values: Any) -> Any:
        """A column of theirs in the type of the fit."""
        if name not in self._factors:
            return values.to_numpy()
        levels = self._factors[name]
        found = pd.Index([level_name(level) for level in levels]).get_indexer([level_name(v) for v in values])
        if (found < 0).any():
            value = values[int(np.argmax(found < 0))]
            raise DataError(f"{name!r} has no level {value!r}." + suggest(value, levels))
        return levels.iloc[found].array


def _coefficients(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means (coefficients,) and draws (draws, coefficients)."""
    blocks = fit.model.design.wide
    drawn = fit.draw_posterior(gamma=False, wide=bool(blocks))["posterior"].to_dataset()
    mean, draws = fit.mean["beta"].to_numpy(), drawn["beta"].to_numpy()
    if blocks:
        parts = [(block, f"beta_{block.name}") for block in blocks]
        mean = np.append(mean, sum(block.at_means(fit.mean[name].to_numpy()) for block, name in parts))
        wide = sum(block.at_means(drawn[name].to_numpy()) for block, name in parts)
        draws = np.concatenate([draws, np.asarray(wide)[..., None]], axis=-1)
    return mean, draws.reshape(-1, len(mean))
