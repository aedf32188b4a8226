"""Tables that a phone has room for, and a screen reader makes sense of: each cell knows the head of its column."""

from __future__ import annotations

import re
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx


def label_tables(app: Sphinx, page: str, template: str, context: dict[str, Any], _: Any) -> None:
    """Give each cell of a page's tables its column's head, which custom.css shows where rows are stacked."""
    if body := context.get("body"):
        context["body"] = re.sub(r"<table\b.*?</table>", lambda table: labelled(table[0]), body, flags=re.S)


def labelled(table: str) -> str:
    """A table whose cells carry the heads of their columns; as it was where one cell spans several.

    A corner without words is no head.
    """
    soup = BeautifulSoup(table, "html.parser")
    heads = soup.select("thead tr")
    if not heads or soup.select("[rowspan], [colspan]"):
        return table
    columns = zip(*(row.find_all(["th", "td"]) for row in heads), strict=False)
    names = [
        " ".join(filter(None, (each.get_text(" ", strip=True) for each in column))) for column in columns
    ]
    for row in soup.select("tbody tr"):
        for cell, name in zip(row.find_all(["th", "td"], recursive=False), names, strict=False):
            if name:
                cell["data-label"] = name
    for head in soup.select("thead th"):
        if not head.get_text(strip=True):
            head.name = "td"
    return str(soup)
