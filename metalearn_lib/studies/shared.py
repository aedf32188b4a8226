"""What the tables of all pages are made of: one method against another, over one cell or over several together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.store import results_folder
from metalearn_lib.shifts.base import Wrapped
from metalearn_lib.statistics import Interval, Verdict, restricted_speedup, verdict
from metalearn_lib.statistics.tunings import Runs, of_meta_seeds
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.types import Seeds

Speedups = dict[str, dict[str, Interval]]
"""By cell and method."""


def times(cells: Sequence[CellResult], method: str) -> list[Runs]:
    """Times to the threshold, cell by cell."""
    return [cell.times(method) for cell in cells]


def over(cells: Sequence[CellResult], method: str, baseline: str = "SGD") -> Interval:
    """How many times sooner `method` crosses than `baseline`, over cells together.

    Of one cell it is `CellResult.speedup`.
    """
    return restricted_speedup(times(cells, baseline), times(cells, method))


def log_gains(cells: Sequence[CellResult], method: str, baseline: str = "SGD") -> NDArray:
    """The mean log speed-up over cells, `(meta_seeds,)`; of a method without meta-seeds one."""
    before, after = times(cells, baseline), times(cells, method)
    if cells[0].outcomes[method].steps.ndim == 1:
        return np.log([over(cells, method, baseline).value])
    seeds = range(len(cells[0].outcomes[method].steps))
    gains = [restricted_speedup(before, [of_meta_seeds(each, seed) for each in after], 2) for seed in seeds]
    return np.log([each.value for each in gains])


def regret(cells: Sequence[CellResult], method: str, oracle: str) -> Interval:
    """How many times as long `method` takes as `oracle`, over cells together; the inverse of `over`."""
    return over(cells, oracle, method)


def failing(cells: Sequence[CellResult], method: str) -> float:
    """The share of runs that never cross; every cell weighs the same."""
    return float(np.mean([cell.failing(method) for cell in cells]))


def speedups(results: Mapping[str, CellResult], baselines: Mapping[str, str]) -> Speedups:
    """Cell by cell, each method's speed-up over its own baseline.

    Args:
        baselines: by method; `dict.fromkeys(methods, baseline)` where all have the same.
    """
    return {
        name: {method: result.speedup(method, baseline) for method, baseline in baselines.items()}
        for name, result in results.items()
    }


def count_verdicts(intervals: Iterable[Interval]) -> Counter[Verdict]:
    """How many are better, worse, equivalent and inconclusive."""
    return Counter(verdict(each) for each in intervals)


def tuned_rate(table: pd.DataFrame, cell: str, method: str) -> float:
    """The rate at which a method ran in a cell."""
    return float(table.loc[(table.cell == cell) & (table.method == method), "lr"].iloc[0])


def few(seeds: Seeds, most: int = 32) -> Seeds:
    """The first of them, for what needs no more."""
    return replace(seeds, count=min(len(seeds), most))


def as_text(value: object) -> str:
    """How a table shows a value: a share as per cent, anything else as it is."""
    return f"{value:.1%}" if isinstance(value, float) else str(value)


def layers(family: TaskFamily) -> list[TaskFamily]:
    """A family and what it wraps, from the outermost to the family that is drawn."""
    return [family, *layers(family.family)] if isinstance(family, Wrapped) else [family]


def file_of(name: str) -> str | Path:
    """A shipped name, or the path of a file in results/."""
    folder = results_folder() or Path("results")
    return folder / name if name.endswith(".safetensors") else name
