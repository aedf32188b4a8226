"""What the book's notebooks have in common: how they look, and how numbers are handed to the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib_inline.backend_inline import set_matplotlib_formats
from myst_nb import glue

from metalearn_lib import plots


def set_up() -> None:
    """Figures as SVG in the book's style."""
    set_matplotlib_formats("svg")
    plots.use_style()


def glue_all(values: Mapping[str, Any]) -> None:
    """Hand each value to the pages under its name, and show none of them here."""
    for name, value in values.items():
        glue(name, value, display=False)
