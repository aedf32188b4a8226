"""Tuning: the rate with which a rule crosses soonest, by the criterion of the evaluation, on seeds of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from metalearn_lib.cores import one_thread
from metalearn_lib.directions.base import Direction
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.threshold import Target, set_target, steps_to_threshold
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates.constant import Constant
from metalearn_lib.types import Seeds

_COARSE, _FINE = 0.5, 0.25  # decades between rates of the tuning grid
GRID = (-6.0, 2.0)
"""The ends of the tuning grid, in decades."""


class Tuned(NamedTuple):
    """The best rate, the best further number, and what it cost to find them."""

    lr: float
    number: float
    mean_log_steps: float
    """the criterion: mean log of restricted steps"""
    num_gradients: int
    """minibatch gradients spent on all that was tried"""


@one_thread()
def search(
    cell: Cell,
    make_loop: Callable[[float, float], InnerLoop],
    seeds: Seeds,
    target: Target,
    numbers: Sequence[float] = (0.0,),
    open_ended: bool = False,
) -> Tuned:
    """The rate, and the further number, with which `make_loop(rate, number)` crosses soonest in `cell`.

    For each number the mean log of restricted steps is minimised over half-decades, then over the quarter-decades
    beside the best.

    Args:
        seeds: instances to tune on; never those that score.
        target: what there is to reach on them.
        numbers: what to try for the further number.
        open_ended: whether the upper end of the grid may be the best, as for a bound that may as well be infinite.

    Raises:
        ValueError: for seeds whose role is not `"tune"`.
        RuntimeError: when the best rate lies at an end of the grid, 10^-6 to 10^2.
    """
    seeds.require("tune")
    instances = cell.draw(seeds, target.cap)
    low, high = GRID
    coarse = sorted(np.arange(low, high + _COARSE / 2, _COARSE), key=lambda decade: abs(decade + 1))
    spent = 0

    def race(number: float, decades: Iterable[float], costs: dict[float, float]) -> float:
        nonlocal spent
        for decade in decades:
            to_beat = min(costs.values(), default=math.inf)

            def is_beaten(least: Tensor, to_beat: float = to_beat) -> bool:
                return float(least.log().mean()) > to_beat

            outcome = steps_to_threshold(make_loop(10**decade, number), instances, target, is_beaten)
            costs[decade] = float(np.log(outcome.steps).mean())
            spent += outcome.num_gradients
        return min(costs, key=costs.__getitem__)

    found = {}
    for number in numbers:
        costs: dict[float, float] = {}
        best = race(number, coarse, costs)
        best = race(number, (each for each in (best - _FINE, best + _FINE) if low <= each <= high), costs)
        found[number] = costs[best], float(best)
    number = min(found, key=lambda each: found[each][0])
    cost, decade = found[number]
    refuse_end(cell, make_loop(10**decade, number), decade, open_ended, len(seeds))
    return Tuned(10**decade, number, cost, spent)


def refuse_end(cell: Cell, loop: InnerLoop, decade: float, open_ended: bool, num_instances: int) -> None:
    """Refuse the best of a grid where a better one may lie beyond it.

    Raises:
        RuntimeError: when it lies at an end.
    """
    low, high = GRID
    if decade == low or (decade == high and not open_ended):
        raise RuntimeError(
            f"cell {cell.name!r}: the best of {loop.direction!r} at {loop.rate!r} lies at an end of the tuning grid, "
            f"10^{low:g} to 10^{high:g}, so it may not be the best; is the threshold reachable on these "
            f"{num_instances} instances?"
        )


def tune(cell: Cell, direction: Direction, seeds: Seeds) -> float:
    """The constant rate with which `direction` crosses soonest in `cell`; see `search`."""
    seeds.require("tune")
    target = set_target(cell, seeds)
    return search(cell, lambda lr, _: InnerLoop(cell.learner, Constant(lr), direction), seeds, target).lr
