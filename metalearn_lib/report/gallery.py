"""The page of a sweep: its table, and every figure at all settings side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #8886; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
.many { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; }
img { width: 100%; height: auto; }
figcaption { font-size: .875rem; overflow-wrap: anywhere; }
"""


def page(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    parameters: Sequence[str],
    figures: Mapping[str, Mapping[str, str]],
    drawn: Mapping[str, str],
) -> str:
    """HTML without a script or a request.

    Args:
        rows: of the table, in their order.
        parameters: names, in their order.
        figures: by figure and setting, the file; as it lies beside the page.
        drawn: by number, the file of its figure over the parameters.
    """
    states = [row["status"] for row in rows]
    counts = ", ".join(f"{states.count(each)} {each}" for each in dict.fromkeys(states))
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{len(rows)} settings: {counts}.</p>"]
    parts += [_many({number: file}) for number, file in drawn.items()]
    parts += [_table(rows, parameters)]
    parts += [
        f"<h2>{escape(row['setting'])}: {row['status']}</h2><pre>{escape(row['message'])}</pre>"
        for row in rows
        if row["message"]
    ]
    parts += [f"<h2>{escape(name)}</h2>{_many(files)}" for name, files in figures.items()]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _table(rows: Sequence[Mapping[str, Any]], parameters: Sequence[str]) -> str:
    numbers = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if name not in ("setting", "status", "message", *parameters)
    ]
    names = [*parameters, "status", *numbers]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for row in rows:
        cells = [_cell(row.get(name, "")) for name in names]
        if row["status"] == "done":
            cells[len(parameters)] = f'<a href="{quote(row["setting"])}.ipynb">done</a>'
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f'<div class="wide" tabindex="0"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _many(files: Mapping[str, str]) -> str:
    figures = [
        f'<figure><img src="{quote(file)}" alt="{escape(told)}" loading="lazy">'
        f"<figcaption>{escape(told)}</figcaption></figure>"
        for told, file in files.items()
    ]
    return f'<div class="many">{"".join(figures)}</div>'
