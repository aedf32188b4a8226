"""`LearnedLR` on models of one's own."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metalearn_lib.plots.style import CLASSES, COLOURS, INK, MARKERS, STYLE, WIDTH, label_decades
from metalearn_lib.studies.own_loop import Curves

_WITH, _BARE = COLOURS["meta-optimizer"], INK
_MOST = 30.0
"""Ratios above it are drawn at it."""


def rescue(tables: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], axes: Any = None) -> Any:
    """Held-out loss over that of the tuned rate, by how wrong the rate is: a thin line for each problem, and a thick
    one for their geometric mean.

    Args:
        tables: by optimizer, the ratios of the bare one and of `LearnedLR`, `(problems, factors)`.
    """
    if axes is None:
        size = (WIDTH, 3.4)
        axes = plt.subplots(1, len(tables), figsize=size, sharey=True, layout="constrained", squeeze=False)[
            1
        ][0]
    for ax, (name, pair) in zip(axes, tables.items(), strict=True):
        for table, colour, marker, label in zip(
            pair, (_BARE, _WITH), "so", ("the rate as it is set", "with LearnedLR"), strict=True
        ):
            drawn = table.clip(upper=_MOST)
            factors = [float(each) for each in table.columns]
            ax.plot(factors, drawn.T, color=colour, lw=0.6, alpha=0.45)
            mean = np.exp(np.log(drawn).mean())
            ax.plot(factors, mean, color=colour, lw=2.4, marker=marker, ms=5, label=label)
        ax.axhline(1, color=INK, lw=0.8, ls="--")
        ax.set(xscale="log", yscale="log", xlabel=f"rate set, over the tuned one\n({name})")
        label_decades(ax.yaxis)
    axes[0].set_ylabel("held-out loss, over tuned")
    handles = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(*handles, loc="outside upper center", ncols=2)
    return axes


def time_profile(shares: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The share of problems on which each entrant needs at most so many times the steps of the fastest.

    Args:
        shares: `(bounds, entrants)`, of which those of `LearnedLR` are drawn thick.
    """
    ax = ax or plt.subplots(figsize=(WIDTH, 4.2), layout="constrained")[1]
    for place, name in enumerate(shares.columns):
        ours = str(name).startswith("LearnedLR")
        ax.step(
            shares.index,
            shares[name],
            where="post",
            lw=2.4 if ours else 1.2,
            ls="-" if ours else "--",
            color=CLASSES[place % len(CLASSES)],
            marker=MARKERS[place % len(MARKERS)],
            markevery=0.2,
            ms=5,
            label=name,
        )
    ax.set(
        xscale="log",
        ylim=(-0.02, 1.02),
        xlabel="steps, over those of the fastest",
        ylabel="share of problems",
    )
    label_decades(ax.xaxis)
    ax.figure.legend(loc="outside upper center", ncols=3, fontsize=9)  # type: ignore[call-arg]
    return ax


def own_loop(runs: Mapping[str, Curves], axes: Any = None) -> Any:
    """Loss and rate of one training, bare and with `LearnedLR`."""
    if axes is None:
        axes = plt.subplots(2, 1, figsize=(WIDTH, 4.2), sharex=True, layout="constrained")[1]
    above, below = axes
    for (name, run), colour, style in zip(runs.items(), (_BARE, _WITH), ("--", "-"), strict=True):
        steps = range(1, len(run.loss) + 1)
        above.plot(steps, run.loss, color=colour, ls=style, lw=1.4, label=name)
        below.plot(steps, run.lr, color=colour, ls=style, lw=1.8)
    above.set(ylabel="loss", yscale="log")
    below.set(xlabel="step", ylabel="learning rate", yscale="log")
    label_decades(below.yaxis)
    above.figure.legend(loc="outside upper center", ncols=2)
    return axes


def own_loop_svg(runs: Mapping[str, Curves]) -> bytes:
    """The same as an SVG by itself, for controls that draw it again and again; pyplot does not know of it."""
    figure, drawn = Figure(figsize=(WIDTH, 4.2), layout="constrained", facecolor="none"), io.BytesIO()
    with mpl.rc_context(STYLE):
        own_loop(runs, figure.subplots(2, 1, sharex=True))
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()
