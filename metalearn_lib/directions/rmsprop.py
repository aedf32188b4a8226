"""RMSProp."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metalearn_lib.directions.base import Direction


@dataclass(frozen=True)
class RMSProp(Direction):
    """The gradient over the root of its running mean square, as torch.optim.RMSprop has it.

        square    = decay square + (1 - decay) grad^2
        direction = grad / (sqrt(square) + eps)

    At the first step each weight moves by `1 / sqrt(1 - decay)`, whatever its gradient.

    References: Tieleman and Hinton (2012) [tieleman2012rmsprop].
    """

    decay: float = 0.99
    eps: float = 1e-8

    name, label = "rmsprop", "RMSProp"

    def init(self, params: Tensor) -> Tensor:
        return torch.zeros_like(params)

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        square = self.decay * state + (1 - self.decay) * grad * grad
        return grad / (square.sqrt() + self.eps), square
