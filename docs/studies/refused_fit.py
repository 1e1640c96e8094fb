"""The talk's refused fit: 10 individuals seen 10 times, and 25 more seen once: 125 rows, 140 random effects.

``python docs/studies/refused_fit.py`` prints what lmer says (where R with lme4 is installed), and what maximum
likelihood, which does exist, and pmlmm make of the same data, with and without the 25.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import methods
import pandas as pd
import report
from methods import Curves
from parallel import replicate
from singular_fit import METHODS, summarise

MANY, ALL = (10,) * 10, (10,) * 10 + (1,) * 25
SCRIPT = "arguments <- commandArgs(TRUE); lme4::lmer(as.formula(arguments[2]), read.csv(arguments[1]), REML = FALSE)"


def one(rows: tuple[int, ...], seed: int) -> list[dict]:
    """All methods on one data set; the first ten individuals have the same random effects in both."""
    return methods.run(Curves(rows), seed, METHODS)


def lmer(seed: int) -> str:
    """What lmer says, its checks on."""
    if shutil.which("Rscript") is None:
        return "(R is not installed here)"
    data, truth = Curves(ALL).simulate(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        data.to_csv(path, index=False)
        command = ["Rscript", "-e", SCRIPT, str(path), truth.formula]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return " ".join((done.stderr if done.returncode else done.stdout).split())


def main() -> None:
    """Run, print, write."""
    options = report.parser(__doc__, 30).parse_args()
    print(f"lmer: {lmer(options.seed)}")
    seeds = range(options.seed, options.seed + options.replicates)
    results = replicate(one, [(rows, seed) for rows in (MANY, ALL) for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    parts = [summarise(part).assign(individuals=f"{len(n)}") for n, part in rows.groupby("rows", sort=False)]
    table = pd.concat(parts)
    table.insert(0, "individuals", table.pop("individuals"))
    caption = (
        f"Cubic curves, 10 individuals seen 10 times, alone or with 25 seen once; {options.replicates} data sets each "
        f"(seeds from {options.seed}). Share with a singular Sigma, medians of b, KL (nats) and error of the curves."
    )
    report.save_table("refused_fit", table, options, caption)


if __name__ == "__main__":
    main()
