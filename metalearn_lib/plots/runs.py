"""Single runs and their data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.plots.style import (
    CLASSES,
    COLOURS,
    INK,
    WIDTH,
    label_ones_twos_and_fives,
)
from metalearn_lib.types import Info

_PANELS = {
    "loss": "minibatch loss (nats)",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "weight_norm": "weight norm",
}


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
        label_ones_twos_and_fives(ax.yaxis)
        if field == "loss" and threshold is not None:
            ax.axhline(threshold, color=INK, ls="--", lw=1)
    for ax in np.ravel(axes)[2:]:
        ax.set_xlabel("gradient evaluations")
    handles, labels = np.ravel(axes)[0].get_legend_handles_labels()
    np.ravel(axes)[0].figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return axes


def move_training(runs: Mapping[str, Info], threshold: float, axes: Any) -> None:
    """Put the curves of other runs in the place of those that `training` drew, which is much sooner done."""
    for ax, field in zip(np.ravel(axes), _PANELS, strict=True):
        for line, info in zip(ax.get_lines(), runs.values(), strict=False):
            line.set_data(*_curve(info, field))
        if field == "loss":
            ax.get_lines()[-1].set_ydata([threshold, threshold])
        ax.relim()
        ax.autoscale_view()


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


def rate_paths(paths: Mapping[str, Tensor], ax: Axes | None = None) -> Axes:
    """Learning rates of one method from several starts, `(time,)` each, with the name beside each start."""
    ax = ax or plt.subplots(figsize=(WIDTH, 3.0), layout="constrained")[1]
    for (name, path), style in zip(paths.items(), ("--", "-", ":"), strict=False):
        ax.plot(
            1 + np.arange(len(path)), path.numpy(), style, color=COLOURS["meta-optimizer"], lw=2, label=name
        )
    ax.set(yscale="log", xlabel="gradient evaluations", ylabel="learning rate")
    label_ones_twos_and_fives(ax.yaxis)
    ax.legend()
    return ax
