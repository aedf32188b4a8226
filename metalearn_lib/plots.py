"""One function per figure: data in, Axes out. Captions speak, so figures bear no titles.

Grounds are transparent and inks mid-grey, so that one file is legible on a light page and on a dark one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.evaluate import CellResult
from metalearn_lib.statistics import EQUIVALENCE, Interval, survival_curve
from metalearn_lib.types import Info

COLOURS = {
    "SGD": "#0072B2",
    "momentum": "#009E73",
    "Adam": "#E69F00",
    "meta-optimizer": "#D55E00",
    "SGD re-tuned on B": "#7F7F7F",
    "meta-optimizer on Adam": "#AA4499",
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

_CLASSES = (
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
_MARKERS = "osD^vP*X"
_INK = "#767676"
WIDTH = 7.2
"""inches, that of the book's column"""


def use_style() -> None:
    """Set the look of every figure of the book, and draw SVG with the same bytes each time."""
    mpl.rcParams.update(
        {
            "axes.edgecolor": _INK,
            "axes.grid": True,
            "axes.labelcolor": _INK,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.dpi": 100,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "font.size": 11,
            "grid.alpha": 0.25,
            "grid.color": _INK,
            "legend.frameon": False,
            "legend.labelcolor": _INK,
            "svg.hashsalt": "metalearn",
            "text.color": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    )


def speedups(
    rows: Mapping[str, Mapping[str, Interval]], ax: Axes | None = None, baseline: str = "SGD tuned on A"
) -> Axes:
    """Speed-ups with their intervals, a line for each cell and a mark for each method, on a logarithmic axis.

    Args:
        rows: by the cell's name, by the method's, the speed-up over `baseline`.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 0.6 + 0.55 * len(rows)), layout="constrained")[1]
    ax.axvspan(1 / EQUIVALENCE, EQUIVALENCE, color=_INK, alpha=0.15, lw=0)
    ax.axvline(1, color=_INK, lw=0.8)
    methods = list(next(iter(rows.values())))
    for place, (method, marker) in enumerate(zip(methods, _MARKERS, strict=False)):
        values = [row[method] for row in rows.values()]
        y = np.arange(len(rows)) + 0.2 * (place - (len(methods) - 1) / 2)
        middle = np.array([value.value for value in values])
        reach = np.abs(np.array([[value.low, value.high] for value in values]).T - middle)
        ax.errorbar(
            middle, y, xerr=reach, fmt=marker, ms=6, color=COLOURS.get(method), label=method, elinewidth=2
        )
    ax.set(xscale="log", xlabel=f"times as fast to the threshold as {baseline}", ylim=(len(rows) - 0.5, -0.5))
    ax.set_yticks(range(len(rows)), list(rows))
    _label_ones_twos_and_fives(ax.xaxis)
    ax.grid(axis="y", visible=False)
    columns = len(methods) if sum(map(len, methods)) < 60 else 2
    ax.figure.legend(loc="outside upper center", ncols=columns, handletextpad=0.3)  # type: ignore[call-arg]
    return ax


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
    panels = {
        "loss": "minibatch loss (nats)",
        "lr": "learning rate",
        "grad_norm": "gradient norm",
        "weight_norm": "weight norm",
    }
    for ax, (field, label) in zip(np.ravel(axes), panels.items(), strict=True):
        for method, info in runs.items():
            values = getattr(info, field)[0].numpy()
            ax.plot(1 + np.arange(len(values)), values, color=COLOURS.get(method), lw=1.8, label=method)
        ax.set(ylabel=label, yscale="log")
        _label_ones_twos_and_fives(ax.yaxis)
        if field == "loss" and threshold is not None:
            ax.axhline(threshold, color=_INK, ls="--", lw=1)
    for ax in np.ravel(axes)[2:]:
        ax.set_xlabel("gradient evaluations")
    handles, labels = np.ravel(axes)[0].get_legend_handles_labels()
    np.ravel(axes)[0].figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return axes


def _label_ones_twos_and_fives(axis: Any) -> None:
    """Ticks at 1, 2 and 5 of each decade: a logarithmic axis of less than a decade has labels too."""
    axis.set_major_locator(mpl.ticker.LogLocator(base=10, subs=(1, 2, 5)))  # type: ignore[attr-defined]
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(mpl.ticker.NullLocator())  # type: ignore[attr-defined]


def crossings(result: CellResult, methods: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """The part of a cell's instances that have crossed, by epoch; what stays below 1 at the cap has failed."""
    ax = ax or plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")[1]
    cap = result.cap / result.steps_per_epoch
    for method in methods or result.outcomes:
        outcome = result.outcomes[method]
        epochs = np.sort(outcome.steps[outcome.crossed]) / result.steps_per_epoch
        part = np.arange(1, len(epochs) + 1) / outcome.steps.size
        x, y = (
            np.concatenate([[0], epochs, [cap]]),
            np.concatenate([[0], part, part[-1:] if len(part) else [0]]),
        )
        ax.step(x, y, where="post", color=COLOURS.get(method), lw=2, label=method)
    ax.set(xlabel="epochs", ylabel="instances that have crossed", ylim=(-0.02, 1.04), xlim=(0, cap))
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))  # type: ignore[attr-defined]
    ax.figure.legend(loc="outside upper center", ncols=4, handletextpad=0.4)  # type: ignore[call-arg]
    return ax


def headroom_map(
    rooms: Mapping[str, Mapping[str, Interval]], groups: Mapping[str, str], ax: Axes | None = None
) -> Axes:
    """What re-tuning on the cell itself gains, cell by cell, a mark for each rule; groups stand apart.

    Args:
        rooms: by the rule's name, by the cell's, the gain of re-tuning.
        groups: by the cell's name, the group it belongs to; cells of a group are neighbours.
    """
    names = list(groups)
    places, place = {}, 0.0
    for before, name in zip([names[0], *names], names, strict=False):
        place += 1.0 if groups[name] == groups[before] else 1.8
        places[name] = place
    ax = ax or plt.subplots(figsize=(WIDTH, 0.6 + 0.2 * place), layout="constrained")[1]
    ax.axvspan(1 / EQUIVALENCE, EQUIVALENCE, color=_INK, alpha=0.15, lw=0)
    for (rule, cells), marker in zip(rooms.items(), _MARKERS, strict=False):
        values = np.array([cells[name] for name in names])
        y = [places[name] for name in names]
        reach = np.abs(values[:, 1:].T - values[:, 0])
        ax.errorbar(
            values[:, 0], y, xerr=reach, fmt=marker, ms=5, color=COLOURS.get(rule), label=rule, elinewidth=1.5
        )
    ax.set(xscale="log", xlabel="times sooner after re-tuning on the cell", ylim=(place + 0.8, 0.2))
    ax.set_yticks(list(places.values()), names, fontsize=9)
    _label_ones_twos_and_fives(ax.xaxis)
    ax.grid(axis="y", visible=False)
    ax.figure.legend(loc="outside upper center", ncols=len(rooms), handletextpad=0.3)  # type: ignore[call-arg]
    return ax


def profiles(curves: Mapping[str, NDArray], factors: NDArray, ax: Axes | None = None) -> Axes:
    """Performance profiles: the part of all runs that cross within a factor of the oracle's time.

    Args:
        curves: by the method's name, parts `(factors,)`.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")[1]
    for (method, curve), style in zip(curves.items(), _styles(), strict=False):
        ax.plot(factors, curve, style, color=COLOURS.get(method), lw=2, label=method)
    ax.axvline(1, color=_INK, lw=0.8)
    ax.set(
        xscale="log",
        xlabel="time allowed, over the oracle's",
        ylabel="runs that have crossed",
        ylim=(-0.02, 1.04),
    )
    _label_ones_twos_and_fives(ax.xaxis)
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))  # type: ignore[attr-defined]
    ax.figure.legend(loc="outside upper center", ncols=3, handletextpad=0.4)  # type: ignore[call-arg]
    return ax


def _styles() -> list[str]:
    """Line styles for many curves: those without a colour of their own are told apart by these."""
    return ["-", "-", "-", "-", "--", "--", "--", ":", ":", ":", "-.", "-.", "-."]


def chain(links: Mapping[str, Mapping[str, Interval]], axes: Any = None) -> Any:
    """How a speed-up comes about, link by link: one panel for each cell, a bar for each link's own factor.

    Args:
        links: by the cell's name, by the link's, its factor on the speed-up.
    """
    names = list(next(iter(links.values())))
    if axes is None:
        rows = -(-len(links) // 2)
        size = (WIDTH, 0.7 + rows * (0.5 + 0.26 * len(names)))
        axes = plt.subplots(rows, 2, figsize=size, sharey=True, sharex=True, layout="constrained")[1]
    for ax, (cell, each) in zip(np.ravel(axes), links.items(), strict=False):
        ax.axvspan(1 / EQUIVALENCE, EQUIVALENCE, color=_INK, alpha=0.15, lw=0)
        for place, name in enumerate(names):
            value, low, high = each[name]
            colour = COLOURS["meta-optimizer"] if place >= len(names) - 3 else COLOURS["SGD"]
            ax.plot([1, value], [place, place], color=colour, lw=6, alpha=0.5, solid_capstyle="butt")
            ax.plot([low, high], [place, place], color=colour, lw=1.5)
        ax.axvline(1, color=_INK, lw=0.8)
        ax.set(xscale="log", xlabel=f"factor on the speed-up, {cell}", ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), names)
        _label_ones_twos_and_fives(ax.xaxis)
        ax.grid(axis="y", visible=False)
    for ax in np.ravel(axes)[len(links) :]:
        ax.set_visible(False)
    return axes


def survival(result: CellResult, methods: Sequence[str], ax: Axes | None = None) -> Axes:
    """Kaplan-Meier curves of a cell: the part of all runs, meta-seeds together, that has not crossed, by epoch."""
    ax = ax or plt.subplots(figsize=(WIDTH / 2, 2.6), layout="constrained")[1]
    for method in methods:
        outcome = result.outcomes[method]
        times, part = survival_curve(outcome.steps, outcome.crossed)
        epochs = times / result.steps_per_epoch
        ax.step(epochs, part, where="post", color=COLOURS.get(method), lw=1.8, label=method)
    ax.set(xlabel=f"epochs, {result.name}", ylabel="not yet crossed", ylim=(-0.03, 1.03), xlim=(0, None))
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))  # type: ignore[attr-defined]
    return ax


def points(x: Tensor, y: Tensor, ax: Axes | None = None, label: str = "") -> Axes:
    """The first two features of a data set, a colour for each class.

    Args:
        x: inputs `(points, features)`.
        y: labels `(points,)`.
    """
    ax = ax or plt.subplots(figsize=(WIDTH / 2, WIDTH / 2), layout="constrained")[1]
    for each in y.unique().tolist():
        ax.plot(*x[y == each, :2].T.numpy(), ".", ms=3, alpha=0.7, color=_CLASSES[each % len(_CLASSES)])
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
    _label_ones_twos_and_fives(ax.yaxis)
    ax.legend()
    return ax


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
