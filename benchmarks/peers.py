"""Time the peers on the same data."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path


def best_of(function, repeats: int) -> float:
    """Smallest wall time of several calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def time_mixedlm(formula: str, data, repeats: int = 1) -> float | None:
    """Maximum likelihood by mixedlm; None where it is not installed."""
    try:
        import mixedlm
    except ImportError:
        return None
    return best_of(lambda: mixedlm.lmer(formula, data, REML=False), repeats)


def time_gpboost(data, factors: list[str], *, fixed: str | None = None, X=None, repeats: int = 3) -> float | None:
    """Maximum likelihood by gpboost, random intercepts only; columns of X through a linear kernel."""
    try:
        import gpboost
    except ImportError:
        return None
    import numpy as np

    y, groups = data["y"].to_numpy(dtype=float), data[factors].astype(str).to_numpy()
    columns = [np.ones(len(y))] if fixed is None else [np.ones(len(y)), (data[fixed] == "1").to_numpy(dtype=float)]
    kernel = {} if X is None else {"gp_coords": X, "cov_function": "linear"}

    def fit():
        model = gpboost.GPModel(group_data=groups, likelihood="gaussian", **kernel)
        model.fit(y=y, X=np.column_stack(columns), params={"trace": False})

    return best_of(fit, repeats)


def time_lme4(
    formula: str, data, repeats: int = 1, timeout: float = 900.0, factors: list[str] | None = None
) -> float | None:
    """Maximum likelihood by lme4 in one R process, reading not counted; None without it or in time."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        data.to_csv(path, index=False)
        code = f"""
        suppressMessages(library(lme4))
        d <- read.csv("{path}")
        for (f in c({", ".join(f'"{name}"' for name in factors or [])})) d[[f]] <- factor(d[[f]])
        times <- sapply(1:{repeats}, function(i)
          system.time(suppressWarnings(suppressMessages(lmer({formula}, d, REML = FALSE))))[["elapsed"]])
        cat(min(times))
        """
        try:
            done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return None
    return float(done.stdout) if done.returncode == 0 and done.stdout else None


def ratio(ours: float, theirs: float | None) -> str:
    """Ours over theirs, as text."""
    return "     -" if theirs is None else f"{ours / theirs:6.2f}"
