"""Single runs and their data."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, ClassVar

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.plots.style import (
    CLASSES,
    COLOURS,
    INK,
    STYLE,
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


class TrainingPicture:
    """What `training` draws, as often as a slider moves: the frame stays, and only the curves are drawn anew.

    The axes span the same decades from one picture to the next, and more, up to four from 1, where curves ask for it. A
    run that diverges leaves them, and ends where it stops being a number.
    """

    _SPANS: ClassVar = {"loss": (-1, 1), "lr": (-2, 2), "grad_norm": (-2, 2), "weight_norm": (0, 2)}
    """decades that are always shown"""

    def __init__(self) -> None:
        # a figure of its own, unknown to pyplot, so that a long session does not fill with figures
        self._figure = Figure(figsize=(WIDTH, 5.2), dpi=110, facecolor="none")
        self._canvas = FigureCanvasAgg(self._figure)
        with mpl.rc_context(STYLE):
            self._axes = self._figure.subplots(2, 2, sharex=True)
        self._figure.subplots_adjust(left=0.12, right=0.97, top=0.9, bottom=0.16, wspace=0.34)
        self._limits: list[tuple[float, float]] = []
        self._frame: Any = None

    def png(self, runs: Mapping[str, Info], threshold: float, caption: str) -> bytes:
        """The curves of `runs`, the same methods each time, as a PNG: soon made rather than small."""
        with mpl.rc_context(STYLE):
            if self._frame is None:
                training(runs, threshold, self._axes)
                for ax in self._axes.flat:
                    ax.yaxis.set_major_locator(mpl.ticker.LogLocator())  # type: ignore[attr-defined]
                self._caption = self._figure.supxlabel("", fontsize=11)
                for artist in self._moving:
                    artist.set_animated(True)
            limits = [self._span(field, [*runs.values()]) for field in _PANELS]
            if limits != self._limits:
                for ax, (low, high) in zip(self._axes.flat, limits, strict=True):
                    ax.set(ylim=(10.0**low, 10.0**high), xlim=(0, next(iter(runs.values())).loss.shape[1]))
                self._canvas.draw()
                self._frame, self._limits = self._canvas.copy_from_bbox(self._figure.bbox), limits
            self._canvas.restore_region(self._frame)
            for ax, field in zip(self._axes.flat, _PANELS, strict=True):
                for line, info in zip(ax.lines, runs.values(), strict=False):
                    line.set_data(*_curve(info, field))
            self._axes[0, 0].lines[-1].set_ydata([threshold, threshold])
            self._caption.set_text(caption)
            for artist in self._moving:
                self._figure.draw_artist(artist)
            image = io.BytesIO()
            imsave(image, self._canvas.buffer_rgba(), format="png", pil_kwargs={"compress_level": 1})
        return image.getvalue()

    @property
    def _moving(self) -> list[Artist]:
        return [*(line for ax in self._axes.flat for line in ax.lines), self._caption]

    def _span(self, field: str, infos: list[Info]) -> tuple[float, float]:
        """Powers of ten, all that is always shown and all that was seen."""
        seen = np.log10(np.concatenate([_curve(info, field)[1] for info in infos]).clip(1e-4, 1e4))
        seen = seen[np.isfinite(seen)]
        low, high = self._SPANS[field]
        return float(min(low, *np.floor(seen))), float(max(high, *np.ceil(seen)))


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
