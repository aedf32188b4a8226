"""Heavy-ball momentum."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metalearn_lib.directions.base import Direction


@dataclass(frozen=True)
class Momentum(Direction):
    """Heavy-ball momentum as torch.optim.SGD has it.

        velocity = beta velocity + grad

    With `beta` 0 it is the gradient.

    References: Polyak (1964) [polyak1964some].
    """

    beta: float = 0.9

    colour = "#009E73"
    base_lr = 10**-0.75

    def init(self, params: Tensor) -> Tensor:
        return torch.zeros_like(params)

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        velocity = self.beta * state + grad
        return velocity, velocity
