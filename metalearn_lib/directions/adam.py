"""Adam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metalearn_lib.directions.base import Direction


class AdamState(NamedTuple):
    """First and second moments `(tasks, weights)`, and the steps taken `(tasks, 1)`."""

    mean: Tensor
    square: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class Adam(Direction):
    """Adam without its rate, as torch.optim.Adam has it.

        mean   = beta1 mean   + (1 - beta1) grad
        square = beta2 square + (1 - beta2) grad^2
        direction = mean / (1 - beta1^t) / (sqrt(square / (1 - beta2^t)) + eps)

    At the first step it is `grad / (|grad| + eps)`, the sign of the gradient.

    References: Kingma and Ba (2015) [kingma2015adam].
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    label, colour = "Adam", "#E69F00"
    base_lr = 10**-1.25

    def init(self, params: Tensor) -> AdamState:
        return AdamState(torch.zeros_like(params), torch.zeros_like(params), params.new_zeros(len(params), 1))

    def __call__(self, state: AdamState, grad: Tensor, params: Tensor) -> tuple[Tensor, AdamState]:
        count = state.num_steps + 1
        mean = torch.lerp(state.mean, grad, 1 - self.beta1)
        square = self.beta2 * state.square + (1 - self.beta2) * grad * grad
        correct_mean, correct_square = 1 - self.beta1**count, 1 - self.beta2**count
        direction = mean / correct_mean / ((square / correct_square).sqrt() + self.eps)
        return direction, AdamState(mean, square, count)
