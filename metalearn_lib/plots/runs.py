"""Single runs and their data."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, ClassVar

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.learned_lr import Step
from metalearn_lib.plots.style import (
    CLASSES,
    COLOURS,
    INK,
    MARKERS,
    STYLE,
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


class TrainingPicture:
    """What `training` draws, as often as a slider moves, as an SVG: only the curves are written anew. Matplotlib draws
    the axes, once for all the decades that they show.

    They span the same decades from one picture to the next, and more, up to four from 1, where curves ask for it. A run
    that diverges leaves them, and ends where it stops being a number.
    """

    _SPANS: ClassVar = {"loss": (-1, 1), "lr": (-2, 2), "grad_norm": (-2, 2), "weight_norm": (0, 2)}
    """decades that are always shown"""

    def __init__(self) -> None:
        # a figure of its own, unknown to pyplot, so that a long session does not fill with figures
        self._figure = Figure(figsize=(WIDTH, 5.2), facecolor="none")
        with mpl.rc_context(STYLE):
            self._axes = list(self._figure.subplots(2, 2, sharex=True).flat)
        self._figure.subplots_adjust(left=0.12, right=0.97, top=0.9, bottom=0.16, wspace=0.34)
        self._drawn: dict[tuple[Any, ...], str] = {}
        """the parts that do not move, by what decides how they look"""

    def svg(self, runs: Mapping[str, Info], threshold: float, caption: str) -> bytes:
        """The curves of `runs`, the same methods each time, `(1, time)` each."""
        if not self._drawn:
            with mpl.rc_context(STYLE):
                training(runs, threshold, np.array(self._axes))
            for ax in self._axes:
                ax.yaxis.set_major_locator(mpl.ticker.LogLocator())  # type: ignore[attr-defined]
            self._strokes = [[_stroke(line) for line in ax.lines] for ax in self._axes]
            for line in (line for ax in self._axes for line in ax.lines):
                line.set_visible(False)
        width, height = 72 * self._figure.get_size_inches()
        pieces = [self._still(None)]
        for ax, strokes, field in zip(self._axes, self._strokes, _PANELS, strict=True):
            low, high = self._span(field, [*runs.values()])
            num_steps = next(iter(runs.values())).loss.shape[1]
            pieces.append(self._still(ax, low, high, num_steps))
            box = ax.get_position()
            across, up = box.width * width, box.height * height
            curves = [_curve(info, field) for info in runs.values()]
            if len(strokes) > len(curves):
                curves.append((np.array([0, num_steps]), np.array([threshold, threshold])))
            paths = [
                f'<path d="{_path(across * x / num_steps, up * (high - _log10(y)) / (high - low))}" {stroke}/>'
                for (x, y), stroke in zip(curves, strokes, strict=True)
            ]
            place = f'x="{box.x0 * width:.2f}" y="{(1 - box.y1) * height:.2f}"'
            # what lies inside of an svg's own width and height is shown, and no more
            pieces += [f'<svg {place} width="{across:.2f}" height="{up:.2f}">', *paths, "</svg>"]
        pieces.append(
            f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle" font-family="sans-serif" font-size="11" '
            f'fill="{INK}" xml:space="preserve">{escape(caption)}</text>'
        )
        whole = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        return f'{whole}viewBox="0 0 {width} {height}">{"".join(pieces)}</svg>'.encode()

    def _still(self, shown: Axes | None, low: float = 0, high: float = 1, num_steps: int = 1) -> str:
        """One of the axes without its curves, or the legend."""
        key = (shown and self._axes.index(shown), low, high, num_steps)
        if key not in self._drawn:
            for ax in self._axes:
                ax.set_visible(ax is shown)
            self._figure.legends[0].set_visible(shown is None)
            if shown is not None:
                shown.set(ylim=(10.0**low, 10.0**high), xlim=(0, num_steps))
            drawn = io.StringIO()
            with mpl.rc_context(STYLE):
                self._figure.savefig(drawn, format="svg", metadata={"Date": None})
            inner = drawn.getvalue()
            inner = inner[inner.index("<svg") :]
            self._drawn[key] = re.sub(
                r'(<svg.*?) width="\S+pt" height="\S+pt"', r"\1", inner, count=1, flags=re.S
            )
        return self._drawn[key]

    def _span(self, field: str, infos: list[Info]) -> tuple[float, float]:
        """Powers of ten, all that is always shown and all that was seen."""
        seen = np.log10(np.concatenate([_curve(info, field)[1] for info in infos]).clip(1e-4, 1e4))
        seen = seen[np.isfinite(seen)]
        low, high = self._SPANS[field]
        return float(min(low, *np.floor(seen))), float(max(high, *np.ceil(seen)))


def _stroke(line: Line2D) -> str:
    """How a line is drawn, as attributes of an SVG path."""
    width = line.get_linewidth()
    dashes = f' stroke-dasharray="{3.7 * width} {1.6 * width}"' if line.get_linestyle() == "--" else ""
    colour = mpl.colors.to_hex(line.get_color())  # type: ignore[attr-defined]
    return f'fill="none" stroke-linejoin="round" stroke="{colour}" stroke-width="{width}"{dashes}'


def _path(x: NDArray, y: NDArray) -> str:
    """SVG's words for a line through the points, broken where one is no number."""
    there = np.isfinite(y)
    begins = there & ~np.concatenate([[False], there[:-1]])
    steps = zip(np.where(begins, "M", "L")[there].tolist(), x[there].tolist(), y[there].tolist(), strict=True)
    return "".join(f"{letter}{across:.1f} {down:.1f}" for letter, across, down in steps)


def _log10(values: NDArray) -> NDArray:
    with np.errstate(all="ignore"):
        return np.log10(values)


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
