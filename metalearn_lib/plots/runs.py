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
from matplotlib.transforms import Bbox
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
    """What `training` draws, as often as a slider moves: only the curves are drawn anew, and the axes when they show
    decades that they never showed before.

    They span the same decades from one picture to the next, and more, up to four from 1, where curves ask for it. A run
    that diverges leaves them, and ends where it stops being a number.
    """

    _SPANS: ClassVar = {"loss": (-1, 1), "lr": (-2, 2), "grad_norm": (-2, 2), "weight_norm": (0, 2)}
    """decades that are always shown"""
    _CORNERS: ClassVar = [(0, 0.53), (0.5, 0.53), (0, 0), (0.5, 0)]
    """lower left corner of what belongs to each of the axes, in figure widths and heights"""
    _SIZES: ClassVar = [(0.5, 0.39), (0.5, 0.39), (0.5, 0.53), (0.5, 0.53)]

    def __init__(self) -> None:
        # a figure of its own, unknown to pyplot, so that a long session does not fill with figures
        self._figure = Figure(figsize=(WIDTH, 5.2), dpi=110, facecolor="none")
        self._canvas = FigureCanvasAgg(self._figure)
        with mpl.rc_context(STYLE):
            self._axes = self._figure.subplots(2, 2, sharex=True)
        self._figure.subplots_adjust(left=0.12, right=0.97, top=0.9, bottom=0.16, wspace=0.42)
        self._frame: Any = None
        self._drawn: dict[tuple[Any, ...], Any] = {}
        """pictures of each of the axes without curves, by place and limits"""

    def png(self, runs: Mapping[str, Info], threshold: float, caption: str) -> bytes:
        """The curves of `runs`, the same methods each time, as a PNG: soon made rather than small."""
        with mpl.rc_context(STYLE):
            if self._frame is None:
                self._start(runs, threshold)
            num_steps = next(iter(runs.values())).loss.shape[1]
            panels = [
                self._panel(place, ax, (*self._span(field, [*runs.values()]), num_steps))
                for place, (ax, field) in enumerate(zip(self._axes.flat, _PANELS, strict=True))
            ]
            for picture in (self._frame, *panels):
                self._canvas.restore_region(picture)
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

    def _start(self, runs: Mapping[str, Info], threshold: float) -> None:
        """Make every artist, and draw what is outside of the axes."""
        training(runs, threshold, self._axes)
        for ax in self._axes.flat:
            ax.yaxis.set_major_locator(mpl.ticker.LogLocator())  # type: ignore[attr-defined]
            ax.set_visible(False)
        self._caption = self._figure.supxlabel("", fontsize=11)
        for artist in self._moving:
            artist.set_animated(True)
        self._canvas.draw()
        self._frame = self._canvas.copy_from_bbox(self._figure.bbox)
        for ax in self._axes.flat:
            ax.set_visible(True)

    def _panel(self, place: int, ax: Axes, limits: tuple[float, float, int]) -> Any:
        low, high, num_steps = limits
        ax.set(ylim=(10.0**low, 10.0**high), xlim=(0, num_steps))
        if (place, limits) not in self._drawn:
            self._canvas.restore_region(self._frame)
            ax.draw(self._canvas.get_renderer())
            box = Bbox.from_bounds(*self._CORNERS[place], *self._SIZES[place])
            self._drawn[place, limits] = self._canvas.copy_from_bbox(
                box.transformed(self._figure.transFigure)
            )
        return self._drawn[place, limits]

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
