"""A rate that falls in steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import ClockState, Rate, per_task


@dataclass(frozen=True)
class StepDecay(Rate):
    """Multiplied by `factor` after every so many steps, as torch's StepLR: `rate_t = lr factor^floor(t / every)`.

    With a factor of 1 it is constant.
    """

    lr: float | Tensor
    every: int
    factor: float = 0.5

    name, label = "step", "step decay"
    number, tried = "every", (64, 128, 256)

    def init(self, params: Tensor) -> ClockState:
        return ClockState(per_task(self.lr, params), params.new_zeros(len(params)))

    def __call__(self, state: ClockState, observation: Observation) -> tuple[Tensor, ClockState]:
        drops = torch.floor(state.num_steps / self.every)
        return state.lr * self.factor**drops, state._replace(num_steps=state.num_steps + 1)
