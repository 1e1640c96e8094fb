"""Tables and figures of the studies as files that the pages of the documentation include."""

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RESULTS = Path(__file__).parent / "results"
# Okabe and Ito's colours that stand out on white and on black, and a grey between the two
INK = "#7d7d7d"
TRUTH = {"color": INK, "linestyle": "--", "linewidth": 1.5}
OURS = {"color": "#0a84c9", "linewidth": 2.2}
OTHER = {"color": "#d55e00", "linewidth": 1.5}
THIRD = {"color": "#e69f00", "linewidth": 1.5, "linestyle": "-."}
FOURTH = {"color": "#009e73", "linewidth": 1.5, "linestyle": ":"}
STYLE = {
    "savefig.transparent": True,
    "axes.facecolor": "none",
    "svg.hashsalt": "pmlmm",
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    **dict.fromkeys(["text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"], INK),
}


def parser(doc: str, replicates: int) -> argparse.ArgumentParser:
    """Options that every study has."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--replicates", type=int, default=replicates, help="data sets in each cell")
    found.add_argument("--seed", type=int, default=1, help="of the first data set")
    found.add_argument("--to", type=Path, default=RESULTS, help="folder for the table and the figures")
    found.add_argument("--fresh", action="store_true", help="run all again, whatever is saved")
    return found


def save_table(name: str, table: pd.DataFrame, options: argparse.Namespace, caption: str, index: bool = False) -> None:
    """Print the table with its caption, and write both as Markdown."""
    text = table.to_markdown(index=index, floatfmt=".2f", missingval="")
    text = re.sub(r"\bnan\b", "  -", text)
    print(f"\n{caption}\n\n{text}\n")
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / f"{name}.md").write_text(f"{text}\n\n*{caption}*\n")


def save_figure(name: str, figure: object, options: argparse.Namespace) -> None:
    """Write it as SVG."""
    options.to.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.to / f"{name}.svg", metadata={"Date": None})
    print(f"figure: {name}.svg")


def figure(rows: int, columns: int, height: float = 2.4, **options: bool):
    """Figure and axes without a background, in colours that are readable on white and on the dark theme."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(STYLE)
    width = 4.0 if columns == 1 else 2.4
    return plt.subplots(
        rows, columns, figsize=(width * columns + 1.0, height * rows + 0.8), layout="constrained", **options
    )


def label_curves(drawn: Any, axes: np.ndarray) -> None:
    """What pictures of individual curves have in common: the names of the axes, and one legend above."""
    drawn.supxlabel("time (half-ranges from the middle)")
    drawn.supylabel("y (units of the residual sd)")
    drawn.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
