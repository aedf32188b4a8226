"""The Polyak step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate, per_task


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

    label, open_ended = "Polyak step", True
    number, tried = "c", (0.5, 1.0, 2.0)

    def init(self, params: Tensor) -> Tensor:
        return per_task(self.max_lr, params)

    def __call__(self, state: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        step = observation.loss / (self.c * observation.grad_norm**2)
        return torch.minimum(step, state), state
