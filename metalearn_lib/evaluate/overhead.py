"""What a step of each method costs beside a step of another, on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from metalearn_lib.cores import one_thread
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.adam_averages import AdamAverages
from metalearn_lib.directions.base import Direction
from metalearn_lib.directions.learned_update import LearnedUpdate
from metalearn_lib.directions.packaged import Packaged
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.jobs import Methods
from metalearn_lib.evaluate.methods import Recipe
from metalearn_lib.fused.loop import FusedLoop
from metalearn_lib.inner_loop import InnerLoop, Instances
from metalearn_lib.types import Seeds


@one_thread()
def relative_cost(loops: Mapping[str, InnerLoop], instances: Instances, rounds: int = 5) -> dict[str, float]:
    """Processor time of a step, over that of the first loop: the overhead that a clock of gradients does not see.

    Each loop in turn trains the instances, `rounds` times over, and the least of its times counts, so that what else
    the machine does disturbs all of them alike. The answer is a measurement: it is never the same twice.

    Args:
        loops: by name; the first is what the others are held against.
        instances: as many steps as they have are timed.
    """
    least = dict.fromkeys(loops, float("inf"))
    for _ in range(rounds):
        for name, loop in loops.items():
            start = time.process_time()
            loop.unroll(instances)
            least[name] = min(least[name], time.process_time() - start)
    first = next(iter(least.values()))
    return {name: seconds / first for name, seconds in least.items()}


def overheads(
    methods: Methods,
    numbers: Mapping[str, Mapping[str, Any]],
    cell: Cell,
    seeds: Seeds,
    num_steps: int,
    compiled: bool = False,
) -> dict[str, float]:
    """`relative_cost` of each method in a cell, of several meta-seeds the first's.

    A direction from a package of its own is left out: it trains one instance at a time, which says nothing of its rule.

    Args:
        methods: by name; the first is what the others are held against.
        numbers: by name, what was prepared.
        compiled: whether to time the loop in C++, and leave out the methods that it does not hold.
    """
    loops: dict[str, InnerLoop] = {}
    for name, recipes in methods.items():
        recipe = recipes if isinstance(recipes, Recipe) else recipes[0]
        method = recipe.method(numbers[name], cell, seeds)
        loop = method.loop(cell)
        if compiled:
            points = loop.direction.adam if isinstance(loop.direction, AdamAverages) else loop.direction
            fast = FusedLoop(loop.learner, loop.rate, points)
            loops |= {name: fast} if fast.holds else {}
        elif not isinstance(method.direction, Packaged):
            loops[name] = loop
    return relative_cost(loops, cell.draw(seeds, num_steps)) if loops else {}


@one_thread()
def step_cost(
    rule: LearnedUpdate, counts: Sequence[int] = (1_000, 100_000, 1_000_000), rounds: int = 7
) -> dict[int, float]:
    """Processor time of a step of an update over one of Adam, without the gradient, by the number of weights.

    Both run in PyTorch on one task whose weights are one square matrix, `rounds` times in turn, and the least counts.
    """
    costs = {}
    for count in counts:
        fan = round(count**0.5)
        params = torch.randn(1, fan * fan, generator=torch.Generator().manual_seed(0))
        kinds: list[Direction] = [Adam(), replace(rule, tensors=((fan * fan, fan),))]
        least = []
        for direction in kinds:
            state: Any = direction.init(params)
            spent = []
            for _ in range(rounds):
                start = time.process_time()
                for _ in range(max(1, 100_000 // count)):
                    _, state = direction(state, params, params)
                spent.append(time.process_time() - start)
            least.append(min(spent))
        costs[count] = least[1] / least[0]
    return costs
