"""What larger runs would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt

from metalearn_lib.plots.style import INK, WIDTH
from metalearn_lib.studies.planning import Plan


def hours(plans: Mapping[str, Sequence[Plan]], axes: Any = None) -> Any:
    """Hours by cores, a panel for each run, beside cores that all work without a pause."""
    if axes is None:
        axes = plt.subplots(1, len(plans), figsize=(WIDTH, 3.2), layout="constrained", squeeze=False)[1][0]
    for ax, (name, each) in zip(axes, plans.items(), strict=True):
        cores = [plan.cores for plan in each]
        ax.plot(
            cores, [plan.hours for plan in each], "o-", color="#0072B2", label="planned from measured costs"
        )
        ideal = [plan.hours * plan.busy for plan in each]
        ax.plot(cores, ideal, color=INK, lw=0.8, ls="--", label="no core ever waits")
        ax.set(xscale="log", yscale="log", xlabel=f"cores\n({name})")
        ax.set_xticks(cores, [str(each) for each in cores], minor=False)
        ax.minorticks_off()
    axes[0].set_ylabel("hours")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return axes
