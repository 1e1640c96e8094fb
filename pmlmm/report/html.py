"""Pieces of HTML: escaped text, tables, pictures, and a page that needs no other file; readable in light and dark."""

import base64
import io
from collections.abc import Iterable
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from pmlmm.report.text import number

_LONGEST = 30
# What is shown within a notebook takes over its colours.
_SMALL = "overflow-x:auto; max-width:60rem; font-variant-numeric:tabular-nums; line-height:1.35"
_CELL = "padding:.1rem .6rem; text-align:{}; border:0; border-bottom:1px solid #8884"
_PAGE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --line: #d0d7de; --faint: #57606a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --line: #30363d; --faint: #9198a1; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1.2rem 4rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p { margin: .4rem 0; } code, pre { font-size: .9em; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--faint); font-size: .85rem; }
.alarm { border-left: 4px solid #d55e00; padding-left: .7rem; }
figure { margin: 1rem 0; } figcaption { color: var(--faint); font-size: .9rem; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; padding: 4px; }
@media (max-width: 600px) { figure { overflow-x: auto; } figure img { max-width: none; } }
"""


def small(*parts: str) -> str:
    """What a notebook shows of an object."""
    return f'<div style="{_SMALL}">{"".join(parts)}</div>'


def heading(text: str) -> str:
    """A line in bold."""
    return f'<p style="margin:.6rem 0 .2rem"><strong>{escape(text)}</strong></p>'


def lines(texts: Iterable[str]) -> str:
    """A paragraph each."""
    return "".join(f'<p style="margin:.2rem 0">{escape(" ".join(text.split()))}</p>' for text in texts)


def verbatim(text: str) -> str:
    """Text as it is, its columns aligned."""
    style = "margin:.2rem 0; white-space:pre-wrap; color:inherit; background:none"
    return f'<pre style="{style}">{escape(text)}</pre>'


def table(frame: pd.DataFrame) -> str:
    """A table with its row names; numbers of four digits, of very many rows the first ones."""
    header = "".join(_cell("th", str(name), _is_text(frame[name])) for name in frame.columns)
    rows = [
        "<tr>" + _cell("th", str(name), True) + "".join(map(_entry, row)) + "</tr>"
        for name, row in zip(frame.index[:_LONGEST], frame.itertuples(index=False), strict=False)
    ]
    more = len(frame) - _LONGEST
    rest = lines([f"... and {more} more rows"]) if more > 0 else ""
    style = "border-collapse:collapse; margin:.2rem 0; font-size:.92em"
    body = f"<thead><tr>{_cell('th', '', True)}{header}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div style="overflow-x:auto"><table style="{style}">{body}</table></div>{rest}'


def _is_text(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column)


def _entry(value: Any) -> str:
    if isinstance(value, int | float | np.number):
        return _cell("td", number(float(value)), False)
    return _cell("td", str(value), True)


def _cell(kind: str, text: str, left: bool) -> str:
    return f'<{kind} style="{_CELL.format("left" if left else "right")}">{escape(text)}</{kind}>'


def picture(figure: Any, caption: str) -> str:
    """A Matplotlib figure within the page, and what it shows."""
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    data = base64.b64encode(content.getvalue()).decode()
    alt = escape(caption, quote=True)
    source = f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{source}<figcaption>{escape(caption)}</figcaption></figure>"


def section(title: str, *parts: str) -> str:
    """A part of a page; nothing where it has no content."""
    inside = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{inside}</section>" if inside else ""


def page(title: str, body: str) -> str:
    """The whole page."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_PAGE}</style></head>\n<body>{body}</body></html>\n"
    )
