"""Who reaches the threshold, how soon, and against whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from metalearn_lib.evaluate import CellResult
from metalearn_lib.plots.style import (
    CLASSES,
    COLOURS,
    INK,
    MARKERS,
    WIDTH,
    label_decades,
)
from metalearn_lib.statistics import EQUIVALENCE, Interval, survival_curve


def speedups(
    rows: Mapping[str, Mapping[str, Interval]], ax: Axes | None = None, baseline: str = "SGD tuned on A"
) -> Axes:
    """Speed-ups with their intervals, a line for each cell and a mark for each method, on a logarithmic axis.

    Args:
        rows: by the cell's name, by the method's, the speed-up over `baseline`.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 0.6 + 0.55 * len(rows)), layout="constrained")[1]
    ax.axvspan(1 / EQUIVALENCE, EQUIVALENCE, color=INK, alpha=0.15, lw=0)
    ax.axvline(1, color=INK, lw=0.8)
    methods = list(next(iter(rows.values())))
    for place, (method, marker) in enumerate(zip(methods, MARKERS, strict=False)):
        values = [row[method] for row in rows.values()]
        y = np.arange(len(rows)) + min(0.2, 0.8 / len(methods)) * (place - (len(methods) - 1) / 2)
        middle = np.array([value.value for value in values])
        reach = np.abs(np.array([[value.low, value.high] for value in values]).T - middle)
        ax.errorbar(
            middle, y, xerr=reach, fmt=marker, ms=6, color=COLOURS.get(method), label=method, elinewidth=2
        )
    ax.set(
        xscale="log", xlabel=f"times as fast to the target loss as {baseline}", ylim=(len(rows) - 0.5, -0.5)
    )
    ax.set_yticks(range(len(rows)), list(rows))
    label_decades(ax.xaxis)
    ax.grid(axis="y", visible=False)
    columns = len(methods) if sum(map(len, methods)) < 60 else 2
    ax.figure.legend(loc="outside upper center", ncols=columns, handletextpad=0.3)  # type: ignore[call-arg]
    return ax


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
    ax.set(xlabel="epochs", ylabel="instances that have reached it", ylim=(-0.02, 1.04), xlim=(0, cap))
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
    ax.axvspan(1 / EQUIVALENCE, EQUIVALENCE, color=INK, alpha=0.15, lw=0)
    for (rule, cells), marker in zip(rooms.items(), MARKERS, strict=False):
        values = np.array([cells[name] for name in names])
        y = [places[name] for name in names]
        reach = np.abs(values[:, 1:].T - values[:, 0])
        ax.errorbar(
            values[:, 0], y, xerr=reach, fmt=marker, ms=5, color=COLOURS.get(rule), label=rule, elinewidth=1.5
        )
    ax.set(xscale="log", xlabel="times sooner after re-tuning on the setting", ylim=(place + 0.8, 0.2))
    ax.set_yticks(list(places.values()), names, fontsize=9)
    label_decades(ax.xaxis)
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
    ax.axvline(1, color=INK, lw=0.8)
    ax.set(
        xscale="log",
        xlabel="time allowed, over the oracle's",
        ylabel="runs that have reached it",
        ylim=(-0.02, 1.04),
    )
    label_decades(ax.xaxis)
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
        ax.axvspan(1 / EQUIVALENCE, EQUIVALENCE, color=INK, alpha=0.15, lw=0)
        for place, name in enumerate(names):
            value, low, high = each[name]
            colour = COLOURS["meta-optimizer"] if place >= len(names) - 3 else COLOURS["SGD"]
            ax.plot([1, value], [place, place], color=colour, lw=6, alpha=0.5, solid_capstyle="butt")
            ax.plot([low, high], [place, place], color=colour, lw=1.5)
        ax.axvline(1, color=INK, lw=0.8)
        ax.set(xscale="log", xlabel=cell, ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), names)
        label_decades(ax.xaxis)
        ax.grid(axis="y", visible=False)
    for ax in np.ravel(axes)[len(links) :]:
        ax.set_visible(False)
    np.ravel(axes)[0].figure.supxlabel("factor on the speed-up", fontsize=11)
    return axes


def sensitivity(claims: Sequence[Any], axes: Any = None) -> Any:
    """What each learned rate gains over its rule, by the rate that both have; below, how likely tuning is to give it.

    A column for each claim. The dotted line is the rate that the registered tuning gave.

    Args:
        claims: as `studies.sensitivity.claim` makes them.
    """
    if axes is None:
        size = {"figsize": (WIDTH, 4.6), "height_ratios": (4, 1), "layout": "constrained"}
        axes = plt.subplots(2, len(claims), sharex="col", sharey="row", squeeze=False, **size)[1]
    for (upper, lower), claim in zip(np.transpose(axes), claims, strict=True):
        upper.axhspan(1 / EQUIVALENCE, EQUIVALENCE, color=INK, alpha=0.15, lw=0)
        for (name, intervals), style, colour in zip(claim.cells.items(), _styles(), CLASSES, strict=False):
            values = np.array(intervals)
            upper.plot(claim.decades, values[:, 0], style, color=colour, lw=2, label=name)
            upper.fill_between(claim.decades, values[:, 1], values[:, 2], color=colour, alpha=0.15, lw=0)
        lower.bar(claim.decades, claim.weights, width=0.1, color=INK)
        for ax in (upper, lower):
            ax.axvline(claim.registered, color=INK, ls=":", lw=1.2)
        upper.set(yscale="log")
        upper.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))  # type: ignore[attr-defined]
        lower.set(xlabel=f"rate of {claim.rule}, as a power of ten", ylim=(0, 1))
        lower.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))  # type: ignore[attr-defined]
    axes[0][0].set(ylabel="times as fast as its rule")
    axes[1][0].set(ylabel="weight", yticks=(0, 0.5))
    handles, labels = axes[0][0].get_legend_handles_labels()
    axes[0][0].figure.legend(handles, labels, loc="outside upper center", ncols=3, handletextpad=0.4)
    return axes


def survival(result: CellResult, methods: Sequence[str], ax: Axes | None = None) -> Axes:
    """Kaplan-Meier curves of a cell: the part of all runs, meta-seeds together, that has not crossed, by epoch."""
    ax = ax or plt.subplots(figsize=(WIDTH / 2, 2.6), layout="constrained")[1]
    for method in methods:
        outcome = result.outcomes[method]
        times, part = survival_curve(outcome.steps, outcome.crossed)
        epochs = times / result.steps_per_epoch
        ax.step(epochs, part, where="post", color=COLOURS.get(method), lw=1.8, label=method)
    ax.set(xlabel=f"epochs, {result.name}", ylabel="not there yet", ylim=(-0.03, 1.03), xlim=(0, None))
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))  # type: ignore[attr-defined]
    return ax


def survivals(results: Sequence[CellResult], methods: Sequence[str]) -> NDArray:
    """`survival` of a few cells, a panel for each, two to a row, with one legend."""
    rows = -(-len(results) // 2)
    fig, axes = plt.subplots(rows, 2, figsize=(WIDTH, 4.8), layout="constrained", squeeze=False)
    for result, ax in zip(results, axes.flat, strict=False):
        survival(result, methods, ax)
    for ax in axes.flat[len(results) :]:
        ax.set_visible(False)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return axes
