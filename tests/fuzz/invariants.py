"""What holds of every model and fit; each check gives a list of (kind, detail) faults."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import xarray as xr

import pmlmm
from tests.fuzz.generate import Case, rows_of

Faults = list[tuple[str, str]]
# Nats between two searches: what they maximise (evidence and hyperprior together, flat at the top), the evidence alone
# (which has a slope there), and the evidence where nothing is searched.
_OBJECTIVE, _SEARCHED, _DETERMINISTIC = 1e-2, 5e-2, 1e-5
# Hyperparameters further apart than this (relative) lie along a flat direction, as their states say: the objective is
# compared, not the means given them.
_SAME = 1e-2
# Means in posterior standard deviations: the same draws around a mode that is known to the search's tolerance. Without
# reliable weights Sigma has the heavy tails of a log-normal, whose mean is worth little, as the summary says.
_MEANS, _ROUGH_MEANS = 0.2, 1.0


def check_model(given: Case, model: pmlmm.Model) -> Faults:
    """Every row counted, every column there, with the numbers that the table has."""
    return [
        *_rows(given, model.design),
        *_columns(given, model.design),
        *_lost(given, model.design),
        *_shown(str(model)),
    ]


def _rows(given: Case, design: Any) -> Faults:
    faults = []
    if design.n_rows + design.table.rows_dropped != given.rows:
        faults.append(("rows not counted", f"{design.n_rows} + {design.table.rows_dropped} of {given.rows}"))
    if given.complete is not None and not np.array_equal(design.table.rows, np.flatnonzero(given.complete)):
        faults.append(("other rows than the complete ones", f"{design.n_rows} of {int(given.complete.sum())}"))
    return faults


def _columns(given: Case, design: Any) -> Faults:
    """Columns of y, X and Z against the same computed in double precision."""
    rows = design.table.rows
    faults = []
    if given.response is not None and not _equal(design.y, given.response[rows]):
        faults.append(("the response is another", f"{design.y[:5]} for {given.response[rows][:5]}"))
    blocks = [("X", design.coefficients, design.X), *((t.name, t.coefficients, t.Z) for t in design.terms)]
    for where, names, matrix in blocks:
        for name, column in zip(names, matrix.T, strict=True):
            expected = given.meaning.get(name.replace(" ", ""))
            if expected is not None and not _equal(column, expected[rows]):
                faults.append(("a column is another", f"{name} of {where}: {column[:5]} for {expected[rows][:5]}"))
    return faults


def _equal(values: np.ndarray, expected: np.ndarray) -> bool:
    if not np.isfinite(expected).all():
        return False
    return np.allclose(values, expected, rtol=1e-10, atol=1e-12 * np.max(np.abs(expected), initial=0.0))


def _lost(given: Case, design: Any) -> Faults:
    """Columns that the formula names and the model has nowhere."""
    names = [*design.coefficients, *design.coefficient_terms, design.parsed.response, *design.parsed.offsets]
    names += [name for term in design.terms for name in (*term.coefficients, term.expression, *term.grouping.columns)]
    lost = [column for column in given.used if not any(str(column) in name for name in names)]
    return [("a column was lost", f"{lost} in {design.formula!r}: {names[:20]}")] if lost else []


def _shown(text: str) -> Faults:
    faults = []
    if "\x1b" in text or len(text) < 20:
        faults.append(("printed oddly", repr(text[:300])))
    internal = re.search(r"np\.(float|int|uint|str|bool)\w*\(|np\.(True|False)_|object at 0x|<class |dtype\(", text)
    return [*faults, ("printed internals", text[internal.start() :][:100])] if internal else faults


def check_fit(given: Case, fit: Any) -> Iterator[Callable[[], Faults]]:
    """One check after the other, so that a failing one does not hide the next."""
    yield lambda: _shown(str(fit))
    yield lambda: _finite(fit)
    yield lambda: _covariances(fit)
    yield lambda: _intervals(fit)
    yield lambda: _tree(fit)
    yield lambda: _labels(fit)
    yield lambda: _predictions(given, fit)
    if given.seed % 4 == 0:
        yield lambda: _graph(fit)
    if given.seed % 4 == 1:
        yield lambda: _saved(fit)


def _datasets(fit: Any) -> dict[str, xr.Dataset]:
    return {"mean": fit.mean, "mode": fit.mode, "sd": fit.sd, "posterior": fit.posterior["posterior"].to_dataset()}


def _finite(fit: Any) -> Faults:
    numbers = {f"{kind} {name}": v.to_numpy() for kind, d in _datasets(fit).items() for name, v in d.data_vars.items()}
    numbers |= {"log_evidence": fit.log_evidence, "log_posterior": fit.log_posterior}
    bad = [name for name, values in numbers.items() if not np.isfinite(values).all()]
    negative = [name for name, values in fit.sd.data_vars.items() if (values < 0).any()]
    faults = [("not finite", ", ".join(bad))] if bad else []
    return [*faults, ("negative sd", ", ".join(map(str, negative)))] if negative else faults


def _covariances(fit: Any) -> Faults:
    faults = []
    for kind, dataset in _datasets(fit).items():
        if kind == "sd":
            continue
        for term in fit.model.design.terms:
            Sigma = dataset[f"Sigma_{term.name}"].to_numpy()
            if not np.array_equal(Sigma, np.swapaxes(Sigma, -1, -2)):
                faults.append(("Sigma is not symmetric", f"{kind} {term.name}"))
            # relative to its own diagonal, so that units do not matter
            diagonal = np.sqrt(np.diagonal(Sigma, axis1=-2, axis2=-1))
            correlation = Sigma / diagonal[..., None] / diagonal[..., None, :]
            if not (np.linalg.eigvalsh(correlation) >= -1e-9).all():
                faults.append(("Sigma is not positive semidefinite", f"{kind} {term.name}: {Sigma.min()}"))
        if not (dataset["sigma"] > 0).all():
            faults.append(("sigma is not positive", kind))
    return faults


def _intervals(fit: Any) -> Faults:
    table = fit.hyperparameters
    faults = []
    if not np.isfinite(table["value"]).all():
        faults.append(("a hyperparameter is not finite", table.to_string()))
    lower, value, upper = (table[name].to_numpy() for name in ("lower", "value", "upper"))
    slack = 1e-12 * np.abs(value)
    wrong = (lower > value + slack) | (value > upper + slack) | (np.isnan(lower) != np.isnan(upper))
    if wrong.any():
        faults.append(("an interval does not hold its value", table[wrong].to_string()))
    if (table["state"].str.len() < 3).any():
        faults.append(("a hyperparameter without a state", table.to_string()))
    return faults


def _expected_coords(design: Any) -> dict[str, list[np.ndarray]]:
    """Labels along the dimensions of every variable."""
    coefficients = np.array(design.coefficients, dtype=str)
    expected = {"beta": [coefficients], "sigma": []}
    for term in design.terms:
        effects = np.array(term.coefficients)
        expected[f"Sigma_{term.name}"] = [effects, effects]
        expected[f"gamma_{term.name}"] = [term.grouping.labels, effects]
    return expected | {f"beta_{block.name}": [block.labels] for block in design.wide}


def _tree(fit: Any) -> Faults:
    posterior, faults = fit.posterior["posterior"].to_dataset(), []
    expected = _expected_coords(fit.model.design)
    for name, labels in expected.items():
        if name not in posterior:
            faults.append(("a variable is not in the posterior", name))
            continue
        found = [posterior[name][dim].to_numpy() for dim in posterior[name].dims[2:]]
        if len(found) != len(labels) or not all(np.array_equal(a, b) for a, b in zip(found, labels, strict=True)):
            faults.append(("coordinates are not the design's", f"{name}: {posterior[name].coords}"))
    faults += [("a dimension without labels", str(dim)) for dim in posterior.dims if dim not in posterior.coords]
    rows = fit.posterior["observed_data"]["row"].to_numpy()
    if not np.array_equal(rows, fit.model.design.table.rows):
        faults.append(("observed rows are not the model's", str(rows[:10])))
    return faults


def _labels(fit: Any) -> Faults:
    """Every row of ArviZ's summary against the mean of the draws with that label."""
    posterior = fit.posterior["posterior"].to_dataset()
    expected: dict[str, float] = {}
    scale: dict[str, float] = {}
    for name, values in posterior.data_vars.items():
        means = values.to_numpy().mean(axis=(0, 1))
        labels = [values[dim].to_numpy() for dim in values.dims[2:]]
        for index in np.ndindex(means.shape):
            inside = ", ".join(f"{along[k]}" for along, k in zip(labels, index, strict=True))
            expected[f"{name}[{inside}]" if index else str(name)] = float(means[index])
            scale[f"{name}[{inside}]" if index else str(name)] = float(values.to_numpy().std(axis=(0, 1))[index])
    summary = az.summary(fit.posterior, round_to="none")["mean"]
    if set(summary.index) != set(expected) or len(summary) != len(expected):
        return [("other labels in az.summary", str(sorted(set(summary.index) ^ set(expected))[:6]))]
    wrong = [k for k, mean in summary.items() if abs(mean - expected[k]) > 1e-6 * abs(mean) + 1e-3 * scale[k]]
    return [("labels in az.summary are another's", f"{len(wrong)} of {len(summary)}: {wrong[:3]}")] if wrong else []


def _predictions(given: Case, fit: Any) -> Faults:
    """The rows of the fit as new data; rows that the fit left out may have groups or levels that it has not seen."""
    rows = fit.model.design.table.rows
    fitted = fit.predict().to_numpy()[rows]
    data, blocks = (given.data, given.penalized) if len(rows) == given.rows else rows_of(given, rows)
    try:
        again = fit.predict(data, penalized=blocks).to_numpy()
    except pmlmm.DataError as error:
        if "depends on the other rows" in str(error):  # a fit may have such a column, new data may not
            return []
        raise
    if again.shape != fitted.shape or not np.isfinite(fitted).all():
        return [("predictions are not there", f"{fitted.shape} and {again.shape}, {fitted[:5]}")]
    error = np.max(np.abs(again - fitted)) / max(np.max(np.abs(fitted)), np.finfo(float).tiny)
    return [] if error <= 1e-8 else [("predict(data) is not predict()", f"relative difference {error:.3g}")]


def _graph(fit: Any) -> Faults:
    model = fit.graph()
    return [] if "sigma" in model.named_vars else [("graph() without sigma", str(list(model.named_vars)))]


def _saved(fit: Any) -> Faults:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit.nc"
        fit.posterior.to_netcdf(path, engine="h5netcdf")
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            read = tree["posterior"].to_dataset().load()
    kept = fit.posterior["posterior"].to_dataset()
    lost = [name for name in kept.data_vars if name not in read or not np.array_equal(kept[name], read[name])]
    return [("lost on disk", ", ".join(map(str, lost)))] if lost else []


def check_same(fit: Any, again: Any) -> Faults:
    """Two runs with one seed are one fit."""
    differ = [name for name in fit.mean.data_vars if not np.array_equal(fit.mean[name], again.mean[name])]
    if fit.log_evidence != again.log_evidence:
        differ.append(f"log_evidence by {again.log_evidence - fit.log_evidence:.3g}")
    return [("the same seed, another fit", ", ".join(map(str, differ)))] if differ else []


def check_permuted(fit: Any, other: Any, reason: str) -> Faults:
    """The same rows in another order."""
    if other is None:
        return [("refused in another row order", reason[:300])]
    if set(fit.model.design.coefficients) != set(other.model.design.coefficients):
        return [("other coefficients in another row order", f"{other.model.design.coefficients[:9]}")]
    return [*_moved_evidence(fit, other), *_moved_means(fit, other)]


def _moved_evidence(fit: Any, other: Any) -> Faults:
    learned = not (fit.hyperparameters["state"] == "fixed").all()
    allowed = (_SEARCHED if learned else _DETERMINISTIC) + 1e-6 * abs(fit.log_evidence)
    faults = []
    if not abs(other.log_evidence - fit.log_evidence) <= allowed:
        what = "searched" if learned else "fixed hyperparameters"
        faults.append((f"evidence depends on row order ({what})", f"{fit.log_evidence} and {other.log_evidence}"))
    tops = [_top(fit), _top(other)]
    if None not in tops and not abs(tops[0] - tops[1]) <= _OBJECTIVE + 1e-6 * abs(tops[0]):
        faults.append(("maximum depends on row order", f"{tops[0]} and {tops[1]}"))
    return faults


def _top(fit: Any) -> float | None:
    """Laplace evidence and hyperprior at the end of the search; None where another objective had the last word."""
    record = fit.optimizer_records[-1] if fit.optimizer_records else None
    if record is None or not record.objective.startswith("Laplace"):
        return None
    ends = [value for point, value in record.path if np.array_equal(point, record.end)]
    return float(ends[-1]) if ends else None


def _moved_means(fit: Any, other: Any) -> Faults:
    ours, others = (f.hyperparameters["value"].to_numpy() for f in (fit, other))
    if not np.allclose(ours, others, rtol=_SAME, atol=0.0):
        return []
    draws = fit.posterior["posterior"].to_dataset()
    allowed = _MEANS if fit.k_hat < 0.7 and other.k_hat < 0.7 else _ROUGH_MEANS  # nan is not reliable
    moved = []
    for name, values in fit.mean.data_vars.items():
        same = {dim: values[dim] for dim in values.dims if not np.array_equal(values[dim], other.mean[name][dim])}
        theirs = other.mean[name].sel(same) if same else other.mean[name]
        sd = draws[name].std(("chain", "draw")).to_numpy() if name in draws else fit.sd[name].to_numpy()
        slack = _SAME * np.max(np.abs(values.to_numpy()), initial=0.0)
        far = (np.abs(values.to_numpy() - theirs.to_numpy()) - slack) / np.maximum(sd, np.finfo(float).tiny)
        if np.max(far, initial=0.0) > allowed:
            moved.append(f"{name} by {np.max(far):.2g} sd")
    return [("means depend on row order", ", ".join(moved))] if moved else []
