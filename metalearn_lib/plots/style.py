"""The look of every figure: one colour per method, grounds transparent, inks mid-grey, legible on light and on dark."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.ticker import LogLocator, NullLocator

COLOURS = {
    "SGD": "#0072B2",
    "momentum": "#009E73",
    "Adam": "#E69F00",
    "meta-optimizer": "#D55E00",
    "SGD re-tuned on B": "#7F7F7F",
    "meta-optimizer on Adam": "#AA4499",
    "trained for 96 steps": "#A50F15",
    "trained for 96 to 384 steps": "#EF6548",
    "and a rate per layer": "#7A5FE0",
    "on Adam": "#B95DA6",
    "meta-optimizer, many families": "#B2182B",
    "Adam re-tuned on B": "#9C6A00",
    "SGD, tuned on the mixture": "#56B4E9",
    "clipping, tuned on the mixture": "#117733",
    "normalised gradient, tuned on the mixture": "#8A8A00",
    "DoG": "#CC79A7",
    "Prodigy": "#882255",
    "meta-optimizer on Adam, base rate / 100": "#7A2F6D",
    "meta-optimizer on Adam, base rate x 100": "#CF8FC4",
    "meta-optimizer, base rate / 100": "#8C3B00",
    "meta-optimizer, base rate x 100": "#F0A070",
}
"""One colour per method through the whole book, from the colour-blind safe set of Okabe and Ito."""

ESTIMATOR_COLOURS = {
    "ES": "#0072B2",
    "PES": "#009E73",
    "backpropagation": "#CC79A7",
    "truncated backpropagation": "#D55E00",
    "REINFORCE": "#E69F00",
}
"""One colour per gradient estimator."""

CLASSES = (
    "#56B4E9",
    "#CC79A7",
    "#B8A600",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#E69F00",
    "#7F7F7F",
    "#999933",
    "#AA4499",
)
MARKERS = "osD^vP*X"
INK = "#767676"
WIDTH = 7.2
"""inches, that of the book's column"""


STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": 11,
    "grid.alpha": 0.25,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.hashsalt": "metalearn",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
"""Settings of matplotlib that make the look of every figure."""


def use_style() -> None:
    """Set the look of every figure of the book, and draw SVG with the same bytes each time."""
    mpl.rcParams.update(STYLE)


def label_decades(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5 of each decade, and closer ones where it spans less than 4 times."""
    axis.set_major_locator(_Decades())
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


class _Decades(LogLocator):
    def __init__(self) -> None:
        super().__init__(subs=(1, 2, 5))
        self._closer = LogLocator(subs=(1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8))

    def tick_values(self, vmin: float, vmax: float) -> Any:
        return self._closer.tick_values(vmin, vmax) if vmax < 4 * vmin else super().tick_values(vmin, vmax)
