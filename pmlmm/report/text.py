"""Numbers and tables as plain text."""

import numpy as np


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
