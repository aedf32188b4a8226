"""How meta-training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from metalearn_lib.plots.style import (
    COLOURS,
    ESTIMATOR_COLOURS,
    WIDTH,
)


def learning_curves(curves: Mapping[str, tuple[NDArray, NDArray]], ax: Axes | None = None) -> Axes:
    """Meta-loss against what was spent: mean and range over meta-seeds, smoothed over a twentieth of the run.

    Args:
        curves: by the estimator's name, gradients spent `(outer steps,)` and meta-loss `(seeds, outer steps)`.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")[1]
    for name, (spent, losses) in curves.items():
        width = max(1, len(spent) // 20)
        kernel = np.ones(width) / width
        smooth = np.array([np.convolve(each, kernel, "valid") for each in losses])
        x = spent[width - 1 :]
        ax.fill_between(x, smooth.min(0), smooth.max(0), color=ESTIMATOR_COLOURS.get(name), alpha=0.15, lw=0)
        ax.plot(x, smooth.mean(0), color=ESTIMATOR_COLOURS.get(name), lw=2, label=name)
    ax.set(xlabel="minibatch gradients spent", ylabel="meta-loss (nats)")
    ax.figure.legend(loc="outside upper center", ncols=3, handletextpad=0.4)  # type: ignore[call-arg]
    return ax


def estimator_faults(
    spread: Mapping[str, NDArray], cosines: Mapping[str, Mapping[int, float]], axes: Any = None
) -> Any:
    """Left: how far single estimates scatter. Right: how far a truncated gradient points from the whole one.

    Args:
        spread: by the estimator's name, the longest single-task estimate over the length of the mean, any shape.
        cosines: by the estimator's name, the cosine at each truncation length.
    """
    axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained")[1] if axes is None else axes
    for place, (name, values) in enumerate(spread.items()):
        colour = ESTIMATOR_COLOURS.get(name)
        axes[0].boxplot(
            np.log10(np.ravel(values)[np.isfinite(np.ravel(values)) & (np.ravel(values) > 0)]),
            positions=[place],
            orientation="horizontal",
            widths=0.6,
            whis=(0, 100),
            boxprops={"color": colour},
            whiskerprops={"color": colour},
            capprops={"color": colour},
            medianprops={"color": colour},
        )
    axes[0].set_yticks(range(len(spread)), list(spread))
    axes[0].invert_yaxis()
    axes[0].xaxis.set_major_formatter(lambda value, _: f"{10**value:g}")
    axes[0].set(xlabel="longest estimate / mean estimate")
    for name, by_length in cosines.items():
        axes[1].plot(list(by_length), list(by_length.values()), "o-", color=ESTIMATOR_COLOURS.get(name), lw=2)
    axes[1].set(
        xscale="log", xlabel="truncation length (inner steps)", ylabel="cosine with the whole gradient"
    )
    axes[1].xaxis.set_major_formatter("{x:g}")
    axes[1].xaxis.set_minor_formatter(mpl.ticker.NullFormatter())  # type: ignore[attr-defined]
    return axes


def by_number(values: Mapping[int, Sequence[float]], ylabel: str, ax: Axes | None = None) -> Axes:
    """A dot for each meta-seed and a line through the means, against a small number."""
    ax = ax or plt.subplots(figsize=(WIDTH, 3.0), layout="constrained")[1]
    for number, each in values.items():
        ax.plot([number] * len(each), each, "o", color=COLOURS["meta-optimizer"], alpha=0.6)
    ax.plot(list(values), [np.mean(each) for each in values.values()], color=COLOURS["meta-optimizer"], lw=2)
    ax.set(xlabel="families in meta-training", ylabel=ylabel)
    ax.set_xticks(list(values))
    return ax
