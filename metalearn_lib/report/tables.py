"""Tables that a phone has room for, and a screen reader makes sense of: each cell knows the head of its column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup, Tag
from sphinx.application import Sphinx


def label_tables(app: Sphinx, page: str, template: str, context: dict[str, Any], _: Any) -> None:
    """Give each cell of a page's tables its column's head, which custom.css shows where rows are stacked."""
    if body := context.get("body"):
        context["body"] = re.sub(r"<table\b.*?</table>", lambda table: labelled(table[0]), body, flags=re.S)


def labelled(table: str) -> str:
    """A table whose cells carry all the heads of their columns; a corner without words is no head."""
    soup = BeautifulSoup(table, "html.parser")
    heads = [
        {column: head.get_text(" ", strip=True) for column, head in row} for row in _rows(soup, "thead tr")
    ]
    for row in _rows(soup, "tbody tr"):
        for column, cell in row:
            if name := " ".join(filter(None, (line.get(column) for line in heads))):
                cell["data-label"] = name
    for head in soup.select("thead th"):
        if not head.get_text(strip=True):
            head.name = "td"
    return str(soup)


def _rows(soup: BeautifulSoup, which: str) -> Iterator[list[tuple[int, Tag]]]:
    """Each row's cells with the columns in which they stand, where others reach over several rows or columns."""
    taken: dict[int, int] = {}
    for row in soup.select(which):
        taken = {column: left - 1 for column, left in taken.items() if left > 1}
        cells, column = [], 0
        for cell in row.find_all(["th", "td"], recursive=False):
            while column in taken:
                column += 1
            for each in range(column, column + _span(cell, "colspan")):
                cells.append((each, cell))
                if (height := _span(cell, "rowspan")) > 1:
                    taken[each] = height
            column = cells[-1][0] + 1
        yield cells


def _span(cell: Tag, which: str) -> int:
    return int(str(cell.attrs.get(which, 1)))
