"""Single runs and their data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.learned_lr import Step
from metalearn_lib.plots.style import (
    CLASSES,
    COLOURS,
    INK,
    MARKERS,
    WIDTH,
    label_decades,
)
from metalearn_lib.types import Info, Task

_PANELS = {
    "loss": "minibatch loss (nats)",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "weight_norm": "weight norm",
}


def watched(history: Sequence[Step], axes: Any = None) -> Any:
    """What `LearnedLR` did to an optimizer: the loss, and below it what rates were multiplied by, with a mark where the
    guard acted.

    Args:
        history: as `LearnedLR.history` gives it.
    """
    axes = (
        plt.subplots(2, 1, figsize=(WIDTH, 4.2), sharex=True, layout="constrained")[1]
        if axes is None
        else axes
    )
    above, below = axes
    steps = [each.step for each in history]
    above.plot(steps, [each.loss for each in history], color=INK, lw=1.2)
    below.plot(steps, [each.factor for each in history], color=COLOURS["meta-optimizer"], lw=1.8)
    for marker, did in zip(
        MARKERS, dict.fromkeys(filter(None, (each.guarded for each in history))), strict=False
    ):
        acted = [each for each in history if each.guarded == did]
        where = [each.step for each in acted], [each.factor for each in acted]
        below.plot(*where, marker, color=INK, ms=5, mfc="none", label=f"guard: {did}")
    above.set(ylabel="loss", yscale="log" if all(each.loss > 0 for each in history) else "linear")
    below.set(xlabel="step", ylabel="rate, times the one set", yscale="log")
    below.axhline(1, color=INK, ls="--", lw=1)
    label_decades(below.yaxis)
    if below.get_legend_handles_labels()[1]:
        below.legend()
    return axes


def training(runs: Mapping[str, Info], threshold: float | None = None, axes: Any = None) -> Any:
    """What the monitor saw: loss, learning rate, gradient norm and weight norm of one instance under each method.

    Args:
        runs: by the method's name, the info of an unroll of one task, `(1, time)`.
        threshold: a loss to mark, nats.
    """
    axes = (
        plt.subplots(2, 2, figsize=(WIDTH, 4.6), sharex=True, layout="constrained")[1]
        if axes is None
        else axes
    )
    for ax, (field, label) in zip(np.ravel(axes), _PANELS.items(), strict=True):
        for method, info in runs.items():
            ax.plot(*_curve(info, field), color=COLOURS.get(method), lw=1.8, label=method)
        ax.set(ylabel=label, yscale="log")
        label_decades(ax.yaxis)
        if field == "loss" and threshold is not None:
            ax.axhline(threshold, color=INK, ls="--", lw=1)
    for ax in np.ravel(axes)[2:]:
        ax.set_xlabel("gradient evaluations")
    handles, labels = np.ravel(axes)[0].get_legend_handles_labels()
    np.ravel(axes)[0].figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return axes


def _curve(info: Info, field: str) -> tuple[NDArray, NDArray]:
    values = getattr(info, field)[0].numpy()
    return 1 + np.arange(len(values)), values


def points(x: Tensor, y: Tensor, ax: Axes | None = None, label: str = "") -> Axes:
    """The first two features of a data set, a colour for each class.

    Args:
        x: inputs `(points, features)`.
        y: labels `(points,)`.
    """
    ax = ax or plt.subplots(figsize=(WIDTH / 2, WIDTH / 2), layout="constrained")[1]
    for each in y.unique().tolist():
        ax.plot(*x[y == each, :2].T.numpy(), ".", ms=3, alpha=0.7, color=CLASSES[each % len(CLASSES)])
    ax.set(xlabel=f"first feature{label}", ylabel="second feature", aspect="equal")
    return ax


def tasks(samples: Mapping[str, Task]) -> Any:
    """The training points of one task of each family, side by side."""
    _, axes = plt.subplots(1, len(samples), figsize=(WIDTH, 3.4), layout="constrained", squeeze=False)
    for ax, (name, task) in zip(axes[0], samples.items(), strict=True):
        points(task.x[0], task.y[0], ax, f", {name}")
    return axes[0]


def rate_paths(paths: Mapping[str, Tensor], ax: Axes | None = None) -> Axes:
    """Learning rates of one method from several starts, `(time,)` each, with the name beside each start."""
    ax = ax or plt.subplots(figsize=(WIDTH, 3.0), layout="constrained")[1]
    for (name, path), style in zip(paths.items(), ("--", "-", ":"), strict=False):
        ax.plot(
            1 + np.arange(len(path)), path.numpy(), style, color=COLOURS["meta-optimizer"], lw=2, label=name
        )
    ax.set(yscale="log", xlabel="gradient evaluations", ylabel="learning rate")
    label_decades(ax.yaxis)
    ax.legend()
    return ax
