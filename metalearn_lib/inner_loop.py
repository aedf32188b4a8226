"""THE loop: trains many base learners at once.

    loss, grad          <- learner(params, batch)
    observation         <- monitor(loss, |grad|, |params|)
    direction           <- direction(grad, params)
    lr                  <- rate(observation)
    params              <- params - lr direction

Every method of the library runs through `InnerLoop.step`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from metalearn_lib.cores import one_thread
from metalearn_lib.directions.base import Direction
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.learners import Batch, Learner
from metalearn_lib.monitor import Monitor, MonitorState
from metalearn_lib.rates.base import Rate
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.trees import put, stack
from metalearn_lib.types import Info, Seeds

CHUNK = 32
"""Tasks trained side by side: activations of 32 fit a core's cache, and more are slower (benchmarks/inner_loop.py)."""


class Instances(NamedTuple):
    """Everything random about a stack of runs, drawn before them, so that rivals meet the same bits.

    Data sets lie end to end in one table of rows; a row is a point's inputs and its class probabilities.
    """

    table: Tensor
    """training points `(rows, features + classes)`"""
    order: Tensor
    """rows of `table` that each step visits `(tasks, time, batch)`, int64"""
    params: Tensor
    """initial weights `(tasks, weights)`"""
    test: Batch
    """held-out points; no rate or direction ever sees them"""

    @property
    def num_steps(self) -> int:
        return self.order.shape[1]

    def take(self, tasks: Tensor | slice) -> Instances:
        """Some of the tasks, or some of them several times; the table is shared, not copied."""
        test = Batch(self.test.x[tasks], self.test.target[tasks])
        return Instances(self.table, self.order[tasks], self.params[tasks], test)

    def replace(self, tasks: Tensor, others: Instances) -> Instances:
        """These instances with `others` in the place of `tasks`, whose rows of the table they take over."""
        rows = len(self.table) // len(self.params)
        moved = (tasks - torch.arange(len(tasks))) * rows
        places = (tasks[:, None] * rows + torch.arange(rows)).flatten()
        return Instances(
            self.table.index_copy(0, places, others.table),
            self.order.index_copy(0, tasks, others.order + moved[:, None, None]),
            *put((self.params, self.test), tasks, (others.params, others.test)),
        )

    def batch(self, step: int, tasks: Tensor | slice = slice(None)) -> Batch:
        """The minibatch of each task, or of some `tasks`, at `step`."""
        rows = self.order[tasks, step]
        points = self.table.index_select(0, rows.flatten()).view(*rows.shape, -1)
        num_classes = self.test.target.shape[-1]
        return Batch(points[..., :-num_classes], points[..., -num_classes:])


def draw_instances(
    family: TaskFamily,
    learner: Learner,
    seeds: Seeds,
    num_steps: int,
    batch_size: int = 128,
    dtype: torch.dtype = torch.float32,
) -> Instances:
    """Draw data, initial weights and minibatch order of each seed, from three generators of the seed's own.

    Points are visited in epochs, each a fresh shuffle; where the batch does not divide the data set, a minibatch runs
    over into the next epoch. A longer `num_steps` only adds steps at the end.

    Raises:
        ValueError: when there are no steps, or the batch is larger than the data set.
    """
    num_points = family.num_points
    if num_steps < 1 or not 1 <= batch_size <= num_points:
        raise ValueError(
            f"num_steps={num_steps}, batch_size={batch_size}: there must be at least 1 step, and a batch must hold "
            f"1 to {num_points} points, the size of a data set."
        )
    task = family.stack(seeds)
    params = torch.stack([learner.init(seeds.generator(index, "params")) for index in seeds])
    epochs = -(-num_steps * batch_size // num_points)
    orders = []
    for task_number, index in enumerate(seeds):
        generator = seeds.generator(index, "order")
        visits = torch.cat([torch.randperm(num_points, generator=generator) for _ in range(epochs)])
        rows = visits[: num_steps * batch_size] + task_number * num_points
        orders.append(rows.view(num_steps, batch_size))
    target, target_test = (one_hot(y, family.num_classes).to(dtype) for y in (task.y, task.y_test))
    table = torch.cat([task.x.to(dtype), target], -1).flatten(0, 1)
    return Instances(table, torch.stack(orders), params.to(dtype), Batch(task.x_test.to(dtype), target_test))


class InnerState(NamedTuple):
    """What the next step needs; every leaf has a leading axis of tasks."""

    params: Tensor
    direction: Any
    rate: Any
    monitor: MonitorState


@dataclass(frozen=True)
class InnerLoop:
    """Training of base learners: a direction times a rate, watched by a monitor.

    Args:
        learner: network and loss.
        direction: where a step points.
        rate: how long it is.
        monitor: what the rate sees.
    """

    learner: Learner
    rate: Rate
    direction: Direction = Gradient()
    monitor: Monitor = Monitor()

    def init(self, params: Tensor) -> InnerState:
        """The state of untrained learners with weights `params` `(tasks, weights)`."""
        return InnerState(
            params, self.direction.init(params), self.rate.init(params), self.monitor.init(params)
        )

    def step(self, state: InnerState, batch: Batch) -> tuple[InnerState, Info]:
        """One update of each task's learner."""
        loss, grad = self.learner.loss_and_grad(state.params, batch)
        observation, monitor = self.monitor(state.monitor, loss, grad, state.params)
        direction, direction_state = self.direction(state.direction, grad, state.params)
        lr, rate_state = self.rate(state.rate, observation)
        params = torch.addcmul(state.params, lr.unsqueeze(1), direction, value=-1)
        info = Info(loss, observation.grad_norm, observation.weight_norm, lr)
        return InnerState(params, direction_state, rate_state, monitor), info

    def iterate(
        self, instances: Instances, state: InnerState | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[InnerState, Info]]:
        """Step through `[start, stop)` of the instances' order, and yield after each step.

        A `state` of twice as many runs as there are instances holds antithetic arms, which share their minibatches.
        """
        state = self.init(instances.params) if state is None else state
        for step in range(start, instances.num_steps if stop is None else stop):
            state, info = self.step(state, instances.batch(step))
            yield state, info

    @one_thread()
    def unroll(
        self, instances: Instances, state: InnerState | None = None, start: int = 0, stop: int | None = None
    ) -> tuple[InnerState, Info]:
        """Step through `[start, stop)` and return the last state, and the info of every step, `(tasks, time)`."""
        infos = []
        for state, info in self.iterate(instances, state, start, stop):  # noqa: B007, B020
            infos.append(info)
        if state is None:
            raise ValueError(f"start={start}, stop={stop} holds no step; stop must lie above start.")
        return state, stack(infos, dim=1)


class CompiledLoop(InnerLoop):
    """The same loop, with its step put through torch.compile where a C++ compiler is found, and as it is where not.

    The first step of every shape takes the compiler tens of seconds; answers agree to rounding.
    """

    def step(self, state: InnerState, batch: Batch) -> tuple[InnerState, Info]:
        return _compiled_step()(self, state, batch)


@cache
def _compiled_step() -> Callable[[InnerLoop, InnerState, Batch], tuple[InnerState, Info]]:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return InnerLoop.step
    return torch.compile(InnerLoop.step, dynamic=False)
