"""Tables whose cells know their columns."""

import pandas as pd
from bs4 import BeautifulSoup

from metalearn_lib.report.tables import labelled


def cells(html: str) -> list[tuple[str, str | None]]:
    found = BeautifulSoup(labelled(html), "html.parser").select("tbody th, tbody td")
    return [(each.get_text(), each.get("data-label")) for each in found]


def test_each_cell_carries_the_head_of_its_column_and_an_empty_corner_is_no_head() -> None:
    html = pd.DataFrame({"speed-up": ["1.2"], "fails": ["3"]}, index=["task A"]).to_html()
    assert cells(html) == [("task A", None), ("1.2", "speed-up"), ("3", "fails")]
    corner = BeautifulSoup(labelled(html), "html.parser").select("thead tr > *")[0]
    assert corner.name == "td"


def test_a_name_of_the_rows_stands_in_a_second_line_of_heads() -> None:
    html = pd.DataFrame({"speed-up": ["1.2"]}, index=pd.Index(["task A"], name="setting")).to_html()
    assert cells(html) == [("task A", "setting"), ("1.2", "speed-up")]


def test_cells_that_reach_over_several_columns_or_rows_are_counted_in_all_of_them() -> None:
    columns = pd.MultiIndex.from_product([["SGD", "Adam"], ["mean", "fails"]])
    index = pd.MultiIndex.from_product([["home"], ["task A", "task B"]])
    html = pd.DataFrame([list("1234"), list("5678")], columns=columns, index=index).to_html()
    names = ["SGD mean", "SGD fails", "Adam mean", "Adam fails"]
    assert cells(html) == [
        ("home", None),
        ("task A", None),
        *zip("1234", names, strict=True),
        ("task B", None),
        *zip("5678", names, strict=True),
    ]
