"""A rate that descends the loss itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate, per_task


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

    number, tried = "beta", (1e-3, 1e-2, 1e-1)

    def init(self, params: Tensor) -> HypergradientState:
        return HypergradientState(per_task(self.lr, params), torch.zeros_like(params))

    def __call__(
        self, state: HypergradientState, observation: Observation
    ) -> tuple[Tensor, HypergradientState]:
        lr = state.lr + self.beta * (observation.grad * state.grad).sum(1)
        return lr, HypergradientState(lr, observation.grad)
