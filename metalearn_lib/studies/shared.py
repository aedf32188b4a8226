"""What the tables of all pages are made of: one method against another, over one cell or over several together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.registration import geometric_mean
from metalearn_lib.statistics import Interval, Verdict, restricted_speedup, verdict

Speedups = dict[str, dict[str, Interval]]
"""By cell and method."""


def times(cells: Sequence[CellResult], method: str) -> NDArray:
    """Times to the threshold over cells: the geometric mean, meta-seed by meta-seed and instance by instance."""
    return geometric_mean([cell.outcomes[method].steps for cell in cells])


def over(cells: Sequence[CellResult], method: str, baseline: str = "SGD") -> Interval:
    """How many times sooner `method` crosses than `baseline`, over cells together.

    Of one cell it is `CellResult.speedup`. With the two exchanged it is the regret of `baseline` to `method`.
    """
    return restricted_speedup(times(cells, baseline), times(cells, method))


def failing(cells: Sequence[CellResult], method: str) -> float:
    """The share of runs that never cross; every cell weighs the same."""
    return float(np.mean([np.mean(~cell.outcomes[method].crossed) for cell in cells]))


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
