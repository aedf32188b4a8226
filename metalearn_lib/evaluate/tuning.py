"""Tuning: the rate with which a rule crosses soonest, by the criterion of the evaluation, on seeds of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from metalearn_lib.cores import one_thread
from metalearn_lib.directions import Direction
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.threshold import set_target, steps_to_threshold
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates import Constant
from metalearn_lib.types import Seeds

_COARSE, _FINE = 0.5, 0.25  # decades between rates of the tuning grid
_GRID = (-6.0, 2.0)  # decades


class Tuned(NamedTuple):
    """The best rate, and what it cost to find."""

    lr: float
    mean_log_steps: float
    """the criterion: mean log of restricted steps"""
    num_gradients: int
    """minibatch gradients spent on all rates"""


@one_thread()
def search(
    cell: Cell, make_loop: Callable[[float], InnerLoop], seeds: Seeds, open_ended: bool = False
) -> Tuned:
    """The rate with which `make_loop(rate)` crosses soonest in `cell`.

    The mean log of restricted steps is minimised over half-decades, then over the quarter-decades beside the best.

    Args:
        seeds: instances to tune on; never those that score.
        open_ended: whether the upper end of the grid may be the best, as for a bound that may as well be infinite.

    Raises:
        ValueError: for seeds whose role is not `"tune"`.
        RuntimeError: when the best rate lies at an end of the grid, 10^-6 to 10^2.
    """
    seeds.require("tune")
    target = set_target(cell, seeds)
    instances = cell.draw(seeds, target.cap)
    costs: dict[float, float] = {}
    spent = 0

    def race(decades: Iterable[float]) -> float:
        nonlocal spent
        for decade in decades:
            to_beat = min(costs.values(), default=math.inf)
            outcome = steps_to_threshold(make_loop(10**decade), instances, target, to_beat)
            costs[decade] = float(np.log(outcome.steps).mean())
            spent += outcome.num_gradients
        return min(costs, key=costs.__getitem__)

    low, high = _GRID
    best = race(sorted(np.arange(low, high + _COARSE / 2, _COARSE), key=lambda decade: abs(decade + 1)))
    if best == low or (best == high and not open_ended):
        raise RuntimeError(
            f"cell {cell.name!r}: the best rate of {make_loop(1.0).direction!r}, 10^{best:g}, lies at the end of the "
            f"tuning grid, 10^{low:g} to 10^{high:g}, so it may not be the best; is the threshold reachable?"
        )
    best = race(decade for decade in (best - _FINE, best + _FINE) if decade <= high)
    return Tuned(10 ** float(best), costs[best], spent)


def tune(cell: Cell, direction: Direction, seeds: Seeds) -> float:
    """The constant rate with which `direction` crosses soonest in `cell`; see `search`."""
    return search(cell, lambda lr: InnerLoop(cell.learner, Constant(lr), direction), seeds).lr
