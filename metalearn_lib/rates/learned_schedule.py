"""The open-loop rival of the learned rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate, per_task


class LearnedScheduleState(NamedTuple):
    """Meta-parameters `(tasks, 3)`, base rate and steps taken `(tasks,)`."""

    theta: Tensor
    base_lr: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class LearnedSchedule(Rate):
    """The open-loop rival of the learned rate: warm-up and decay in three meta-parameters, blind to training.

        lr_t = base_lr exp(a) min(1, (t + 1) / exp(b)) (1 + t / 32)^-c,   theta = (a, b, c)

    With `theta` 0 it is `Constant(base_lr)`.

    Args:
        base_lr: the rate to scale; a number, or `(tasks,)`.
        theta: `(3,)`, or `(tasks, 3)`.
    """

    base_lr: float | Tensor
    theta: Tensor

    rival = False

    def init(self, params: Tensor) -> LearnedScheduleState:
        theta = self.theta.to(params).expand(len(params), -1)
        return LearnedScheduleState(theta, per_task(self.base_lr, params), params.new_zeros(len(params)))

    def __call__(
        self, state: LearnedScheduleState, observation: Observation
    ) -> tuple[Tensor, LearnedScheduleState]:
        peak, warm_up, decay = state.theta.unbind(1)
        risen = ((state.num_steps + 1) * torch.exp(-warm_up)).clamp_max(1)
        fallen = (1 + state.num_steps / 32) ** -decay
        lr = state.base_lr * torch.exp(peak) * risen * fallen
        return lr, state._replace(num_steps=state.num_steps + 1)
