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
h1, h2 { overflow-wrap: anywhere; }
td { white-space: nowrap; }
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
        parameters: names, in their order; a setting is told by those that vary.
        figures: by figure and setting, the file; as it lies beside the page.
        drawn: by number, the file of its figure over the parameters.
    """
    states = [row["status"] for row in rows]
    counts = ", ".join(f"{states.count(each)} {each}" for each in dict.fromkeys(states))
    varied = [name for name in parameters if len({str(row[name]) for row in rows}) > 1] or list(parameters)
    fixed = [f"{name} = {rows[0][name]}" for name in parameters if name not in varied]
    told = {row["setting"]: ", ".join(f"{name} = {row[name]}" for name in varied) for row in rows}
    everywhere = f" Everywhere {escape(', '.join(fixed))}." if fixed else ""
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{len(rows)} settings: {counts}.{everywhere}</p>"]
    parts += [_many({number: file}) for number, file in drawn.items()]
    parts += [_table(rows, varied, [name for name in rows[0] if name in parameters])]
    parts += [
        f"<h2>{escape(told[row['setting']])}: {row['status']}</h2><pre>{escape(row['message'])}</pre>"
        for row in rows
        if row["message"]
    ]
    for name, files in figures.items():
        parts += [f"<h2>{escape(name)}</h2>", _many({told[setting]: file for setting, file in files.items()})]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _table(rows: Sequence[Mapping[str, Any]], varied: Sequence[str], parameters: Sequence[str]) -> str:
    numbers = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if name not in ("setting", "status", "message", *parameters) and not name.endswith((" low", " high"))
    ]
    names = [*varied, "status", *numbers]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = []
    for row in rows:
        cells = [_cell(row, name) for name in names]
        if row["status"] == "done":
            cells[len(varied)] = f'<a href="{quote(row["setting"])}.ipynb">done</a>'
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f'<div class="wide" tabindex="0"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name, "")
    told = f"{value:.4g}" if isinstance(value, float) else escape(str(value))
    if f"{name} low" not in row:
        return told
    return f"{told} [{row[f'{name} low']:.4g}, {row[f'{name} high']:.4g}]"


def _many(files: Mapping[str, str]) -> str:
    figures = [
        f'<figure><img src="{quote(file)}" alt="{escape(told)}" loading="lazy">'
        f"<figcaption>{escape(told)}</figcaption></figure>"
        for told, file in files.items()
    ]
    return f'<div class="many">{"".join(figures)}</div>'
