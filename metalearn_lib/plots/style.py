"""The look of every figure: one colour per method, grounds transparent, inks mid-grey, legible on light and on dark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib.colors import hsv_to_rgb, to_hex, to_rgb
from matplotlib.ticker import LogLocator, NullLocator

from metalearn_lib.directions import DIRECTIONS
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.clipped import Clipped
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.normalised import Normalised
from metalearn_lib.evaluate.contestants import ORACLE, PLACES
from metalearn_lib.gradient_estimators import ESTIMATORS
from metalearn_lib.rates import RATES
from metalearn_lib.registry import Registry


class Colours(Mapping[str, str]):
    """A colour for each label: of what has a class, that which the class says; where it says none, a free one that
    depends on the label alone. A label that is neither fixed nor a class's has none.

    Args:
        fixed: of what has no class of its own.
        registries: of classes with a label and a colour; those from outside are found, too, once they are imported.
        suffixes: what a label may add to a class's.
    """

    def __init__(
        self, fixed: Mapping[str, str], *registries: Registry[Any], suffixes: Sequence[str] = ()
    ) -> None:
        self.fixed, self.registries, self.suffixes = dict(fixed), registries, suffixes

    def __getitem__(self, label: str) -> str:
        if label in self.fixed:
            return self.fixed[label]
        kinds = {kind.label: kind for registry in self.registries for kind in reversed(registry.known())}
        kinds |= {kind.label: kind for registry in self.registries for kind in registry.values()}
        if (kind := kinds.get(label)) is not None and (own := vars(kind).get("colour")):
            return own
        plain = next((label.removesuffix(each) for each in self.suffixes if label.endswith(each)), label)
        if plain not in kinds:
            raise KeyError(label)
        return self._free(label, kinds.values())

    def _free(self, label: str, kinds: Iterable[Any]) -> str:
        taken = [*self.fixed.values(), *(own for kind in kinds if (own := vars(kind).get("colour")))]
        reds_greens_blues = np.array([to_rgb(each) for each in taken])
        number = crc32(label.encode())
        hue, saturation, value = (
            number / 2**32,
            (0.45, 0.65, 0.9)[number % 3],
            (0.45, 0.6, 0.75, 0.9)[number % 4],
        )
        while True:  # the golden ratio's steps come near every hue
            colour = hsv_to_rgb((hue, saturation, value))
            if np.abs(reds_greens_blues - colour).max(1).min() > 0.08:
                return to_hex(tuple(colour)).upper()
            hue = (hue + 0.618034) % 1

    def __iter__(self) -> Iterator[str]:
        labels = [kind.label for registry in self.registries for kind in registry.values()]
        return iter(dict.fromkeys([*self.fixed, *labels]))

    def __len__(self) -> int:
        return len(list(iter(self)))


COLOURS = Colours(
    {
        "meta-optimizer": "#D55E00",
        ORACLE: "#7F7F7F",
        "meta-optimizer on Adam": "#AA4499",
        "meta-optimizer on momentum": "#44AA99",
        "trained for 96 steps": "#A50F15",
        "trained for 96 to 384 steps": "#EF6548",
        "and a rate per layer": "#7A5FE0",
        "meta-optimizer by layer": "#5E3FD0",
        "learned update": "#C2185B",
        "on Adam": "#B95DA6",
        "meta-optimizer, many families": "#B2182B",
        Adam.label + PLACES["B"]: "#9C6A00",
        Gradient.label + PLACES["mixture"]: "#56B4E9",
        Clipped.label + PLACES["mixture"]: "#117733",
        Normalised.label + PLACES["mixture"]: "#8A8A00",
        "meta-optimizer on Adam, base rate / 100": "#7A2F6D",
        "meta-optimizer on Adam, base rate x 100": "#CF8FC4",
        "meta-optimizer, base rate / 100": "#8C3B00",
        "meta-optimizer, base rate x 100": "#F0A070",
    },
    DIRECTIONS,
    RATES,
    suffixes=[each for each in PLACES.values() if each],
)
"""One colour per method through the whole book, from the colour-blind safe set of Okabe and Ito."""

ESTIMATOR_COLOURS = Colours({"truncated backpropagation": "#D55E00"}, ESTIMATORS)
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
