"""Rates: how long a step is, one number per task. The learned rate, in `meta_optimizers`, is a sibling of these."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation


class Rate(ABC):
    """Observation in, learning rate `(tasks,)` out."""

    @abstractmethod
    def init(self, params: Tensor) -> Any:
        """The state before the first step: a tree of tensors with a leading axis of tasks."""

    @abstractmethod
    def __call__(self, state: Any, observation: Observation) -> tuple[Tensor, Any]:
        """The learning rate of this step, and the state for the next."""


@dataclass(frozen=True)
class Constant(Rate):
    """The same rate at every step.

    Args:
        lr: the rate; a number, or `(tasks,)` for one of each task's own.
    """

    lr: float | Tensor

    def init(self, params: Tensor) -> Tensor:
        return per_task(self.lr, params)

    def __call__(self, state: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        return state, state


class ClockState(NamedTuple):
    """The rate at the start, and the steps taken; each `(tasks,)`."""

    lr: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class Cosine(Rate):
    """From `lr` down to 0 along half a cosine, as torch's CosineAnnealingLR, and 0 from there on.

        rate_t = lr (1 + cos(pi min(t / horizon, 1))) / 2

    With an infinite horizon it is constant.

    Args:
        lr: the rate at the start; a number, or `(tasks,)`.
        horizon: steps to 0.

    References: Loshchilov and Hutter (2017) [loshchilov2017sgdr].
    """

    lr: float | Tensor
    horizon: int

    def init(self, params: Tensor) -> ClockState:
        return ClockState(per_task(self.lr, params), params.new_zeros(len(params)))

    def __call__(self, state: ClockState, observation: Observation) -> tuple[Tensor, ClockState]:
        part = (state.num_steps / self.horizon).clamp_max(1)
        return state.lr * (1 + torch.cos(math.pi * part)) / 2, state._replace(num_steps=state.num_steps + 1)


@dataclass(frozen=True)
class StepDecay(Rate):
    """Multiplied by `factor` after every so many steps, as torch's StepLR: `rate_t = lr factor^floor(t / every)`.

    With a factor of 1 it is constant.
    """

    lr: float | Tensor
    every: int
    factor: float = 0.5

    def init(self, params: Tensor) -> ClockState:
        return ClockState(per_task(self.lr, params), params.new_zeros(len(params)))

    def __call__(self, state: ClockState, observation: Observation) -> tuple[Tensor, ClockState]:
        drops = torch.floor(state.num_steps / self.every)
        return state.lr * self.factor**drops, state._replace(num_steps=state.num_steps + 1)


@dataclass(frozen=True)
class Polyak(Rate):
    """The stochastic Polyak step with a bound, SPS_max, for losses whose least is 0.

        rate_t = min(loss / (c |grad|^2), max_lr)

    Args:
        max_lr: the bound; a number, or `(tasks,)`.
        c: 1/2 goes to where a line along the gradient meets 0 for a quadratic loss, 1 half as far.

    References: Loizou et al. (2021) [loizou2021stochastic]; Polyak (1987) [polyak1987introduction].
    """

    max_lr: float | Tensor
    c: float = 0.5

    def init(self, params: Tensor) -> Tensor:
        return per_task(self.max_lr, params)

    def __call__(self, state: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        step = observation.loss / (self.c * observation.grad_norm**2)
        return torch.minimum(step, state), state


class HypergradientState(NamedTuple):
    """The rate `(tasks,)` and the last gradient `(tasks, weights)`."""

    lr: Tensor
    grad: Tensor


@dataclass(frozen=True)
class Hypergradient(Rate):
    """SGD whose rate descends the loss too, along the derivative of the last step's outcome by its rate.

        rate_t = rate_{t-1} + beta grad_t . grad_{t-1}

    The rate grows while successive gradients agree; it may become negative, as in the paper. With `beta` 0 it is
    constant.

    References: Baydin et al. (2018) [baydin2018online].
    """

    lr: float | Tensor
    beta: float = 1e-2

    def init(self, params: Tensor) -> HypergradientState:
        return HypergradientState(per_task(self.lr, params), torch.zeros_like(params))

    def __call__(
        self, state: HypergradientState, observation: Observation
    ) -> tuple[Tensor, HypergradientState]:
        lr = state.lr + self.beta * (observation.grad * state.grad).sum(1)
        return lr, HypergradientState(lr, observation.grad)


class ScheduleState(NamedTuple):
    """Rates `(tasks, time)` and the steps taken `(tasks,)`."""

    lrs: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class Schedule(Rate):
    """Rates read from a table, whatever training does; after its end, the last of them.

    Args:
        lrs: `(time,)` for all tasks, or `(tasks, time)` for one of each task's own.
    """

    lrs: Tensor

    def init(self, params: Tensor) -> ScheduleState:
        return ScheduleState(self.lrs.to(params).expand(len(params), -1), params.new_zeros(len(params)))

    def __call__(self, state: ScheduleState, observation: Observation) -> tuple[Tensor, ScheduleState]:
        place = state.num_steps.clamp_max(state.lrs.shape[1] - 1).long()
        lr = state.lrs.gather(1, place.unsqueeze(1)).squeeze(1)
        return lr, state._replace(num_steps=state.num_steps + 1)


def per_task(value: float | Tensor, params: Tensor) -> Tensor:
    """`value` as `(tasks,)` in the type of `params`."""
    return torch.as_tensor(value, dtype=params.dtype, device=params.device).expand(len(params))
