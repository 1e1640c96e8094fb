"""The talk's refused fit: 10 individuals seen 10 times, and 25 more seen once: 125 rows, 140 random effects.

``python docs/studies/refused_fit.py`` prints what lmer says (where R with lme4 is installed), and what maximum
likelihood, which does exist, and pmlmm make of the same data, with and without the 25.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import methods
import pandas as pd
import report
from methods import Curves
from parallel import replicate
from singular_fit import METHODS, summarise

from pmlmm.simulate import Truth

FEW, ALL = 10, 35
CASE = Curves((10,) * FEW + (1,) * (ALL - FEW))
SCRIPT = "arguments <- commandArgs(TRUE); lme4::lmer(as.formula(arguments[2]), read.csv(arguments[1]), REML = FALSE)"


def one(individuals: int, seed: int) -> list[dict]:
    """All methods on the first individuals of one data set; the curves that are scored are those of the first ten."""
    return methods.run(First(CASE.rows, individuals=individuals), seed, METHODS)


@dataclass(frozen=True)
class First(Curves):
    """The rows of the first ``individuals`` of the data set that has all of them."""

    individuals: int = ALL

    def simulate(self, seed: int) -> tuple[pd.DataFrame, Truth]:
        data, truth = super().simulate(seed)
        kept = data[data["ind"] < self.individuals]
        return kept, replace(truth, gamma=truth.gamma[: self.individuals])

    @property
    def scored(self) -> int:
        return FEW


def lmer(seed: int) -> str:
    """What lmer says, its checks on."""
    if shutil.which("Rscript") is None:
        return "(R is not installed here)"
    data, truth = CASE.simulate(seed)
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
    results = replicate(one, [(n, seed) for n in (FEW, ALL) for seed in seeds], fresh=options.fresh)
    rows = pd.DataFrame([row for part in results for row in part])
    parts = [summarise(part).assign(individuals=f"{n}") for n, part in rows.groupby("individuals", sort=False)]
    table = pd.concat(parts)
    table.insert(0, "individuals", table.pop("individuals"))
    caption = (
        f"Cubic curves, 10 individuals seen 10 times, alone or with 25 seen once; {options.replicates} data sets "
        f"(seeds from {options.seed}). Share with a singular Sigma, medians of b, of KL for the rows that are fitted "
        "(nats), and of the root mean square error of the ten individuals' curves."
    )
    report.save_table("refused_fit", table, options, caption)


if __name__ == "__main__":
    main()
