"""Numbers and tables as plain text."""

import textwrap

import numpy as np

#: Columns of a summary.
WIDTH = 100


def number(value: float) -> str:
    """Four digits; nothing where it is nan."""
    return "" if np.isnan(value) else f"{value:.4g}"


def aligned(rows: list[tuple[str, ...]], text: tuple[int, ...]) -> str:
    """Aligned columns: those in ``text`` to the left, numbers to the right."""
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [x.ljust(w) if j in text else x.rjust(w) for j, (x, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def wrapped(line: str) -> str:
    """A long line over several, the further ones indented."""
    indent = line[: len(line) - len(line.lstrip())] + "  "
    return textwrap.fill(line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
