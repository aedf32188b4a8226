"""A number that a notebook found, over the parameters that it was run at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from metalearn_lib.files import atomic_path
from metalearn_lib.plots.style import CLASSES, MARKERS, STYLE, WIDTH


def swept(
    rows: Sequence[Mapping[str, Any]], number: str, over: Sequence[str], ax: Axes | None = None
) -> Axes:
    """A number over one parameter, a line for each value of a second; with its interval, where it has one.

    Args:
        rows: of settings, by name: parameters, the number, and perhaps `number low` and `number high`.
        over: one parameter or two; of those that are no numbers each value has a place of its own, in the rows' order.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 4.0), layout="constrained")[1]
    # along the axis what is a number, if either is
    along = next((name for name in over if _numeric(rows, name)), over[0])
    second = next((name for name in over if name != along), None)
    there = [row for row in rows if number in row]
    ticks = list(dict.fromkeys(row[along] for row in there))
    places = {value: value if _numeric(rows, along) else place for place, value in enumerate(ticks)}
    lines = list(dict.fromkeys(row[second] for row in there)) if second else [None]
    for which, value in enumerate(lines):
        line = [row for row in there if second is None or row[second] == value]
        line.sort(key=lambda row: places[row[along]])
        x, y = [places[row[along]] for row in line], np.array([row[number] for row in line])
        low, high = (
            np.array([row.get(f"{number} {end}", row[number]) for row in line]) for end in ("low", "high")
        )
        ax.errorbar(
            x,
            y,
            yerr=[y - low, high - y],
            color=CLASSES[which % len(CLASSES)],
            marker=MARKERS[which % len(MARKERS)],
            capsize=3,
            label=None if second is None else f"{second} = {value}",
        )
    if not _numeric(rows, along):
        ax.set_xticks(range(len(ticks)), [str(tick) for tick in ticks])
    elif min(ticks) > 0 and max(ticks) >= 10 * min(ticks):
        ax.set_xscale("log")
    ax.set(xlabel=along, ylabel=number)
    if second:
        ax.legend()
    return ax


def save_swept(rows: Sequence[Mapping[str, Any]], number: str, over: Sequence[str], path: Path) -> None:
    """The figure of `swept` as an SVG file, the same bytes each time."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": "metalearn"}), atomic_path(path) as partial:
        figure, ax = plt.subplots(figsize=(WIDTH, 4.0), layout="constrained")
        swept(rows, number, over, ax)
        figure.savefig(partial, format="svg", metadata={"Date": None})
        plt.close(figure)


def _numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row[name], int | float) and not isinstance(row[name], bool) for row in rows)
