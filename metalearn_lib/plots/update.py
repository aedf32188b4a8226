"""What a learned update does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from metalearn_lib.plots.style import INK, WIDTH


def steps(line: NDArray, surfaces: Mapping[str, NDArray], longest: float = 3.0) -> Any:
    """The step of a weight by its two main inputs, a panel for each of `surfaces`, in units of Adam's longest.

    Adam's own step is the height alone, so that its lines would be level and evenly apart.

    Args:
        line: values of both inputs `(points,)`.
        surfaces: by the panel's name, the steps `(points, points)`, a row for each value of Adam's momentum.
        longest: where the colours end.
    """
    size = (WIDTH, 3.4)
    fig, axes = plt.subplots(1, len(surfaces), figsize=size, sharey=True, layout="constrained", squeeze=False)
    for ax, (name, values) in zip(axes[0], surfaces.items(), strict=True):
        ax.pcolormesh(
            line, line, values, cmap="RdBu_r", vmin=-longest, vmax=longest, rasterized=True, shading="nearest"
        )
        marks = ax.contour(
            line, line, values, np.arange(-longest, longest + 0.5, 0.5), colors=INK, linewidths=0.7
        )
        ax.clabel(marks, marks.levels[::2], fmt="%g", fontsize=8)
        ax.set(xlabel=f"fast momentum, {name}", aspect="equal")
        ax.grid(visible=False)
    axes[0][0].set(ylabel="Adam's momentum")
    fig.colorbar(axes[0][0].collections[0], ax=axes, label="step, Adam's longest = 1", shrink=0.8)
    return axes[0]
