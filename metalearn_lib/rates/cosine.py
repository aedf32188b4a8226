"""A rate that falls to 0 along half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import ClockState, Rate, per_task


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

    number, tried = "horizon", (64, 128, 256)

    def init(self, params: Tensor) -> ClockState:
        return ClockState(per_task(self.lr, params), params.new_zeros(len(params)))

    def __call__(self, state: ClockState, observation: Observation) -> tuple[Tensor, ClockState]:
        part = (state.num_steps / self.horizon).clamp_max(1)
        return state.lr * (1 + torch.cos(math.pi * part)) / 2, state._replace(num_steps=state.num_steps + 1)
