"""The command in a fresh process, with empty and with warm caches, next to importing PyMC alone."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(code: list[str], folder: str) -> float:
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(Path(folder) / "numba"),
        "PYTENSOR_FLAGS": f"base_compiledir={Path(folder) / 'pytensor'}",
    }
    start = time.perf_counter()
    subprocess.run([sys.executable, *code], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    fit = ["-m", "pmlmm.cli", "fit", "sleepstudy", "Reaction ~ Days + (Days | Subject)"]
    with tempfile.TemporaryDirectory() as folder:
        empty = run(fit, folder)
        warm = min(run(fit, folder) for _ in range(3))
        pymc = min(run(["-c", "import pymc"], folder) for _ in range(3))
        help_ = min(run(["-m", "pmlmm.cli", "--help"], folder) for _ in range(3))
    print(f"fit sleepstudy, empty caches  {empty:6.2f} s   {empty / pymc:5.2f} x import pymc")
    print(f"fit sleepstudy, warm caches   {warm:6.2f} s   {warm / pymc:5.2f} x import pymc")
    print(f"import pymc                   {pymc:6.2f} s")
    print(f"--help                        {help_:6.2f} s")


if __name__ == "__main__":
    main()
