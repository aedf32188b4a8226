"""Momentum that looks one step ahead."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metalearn_lib.directions.momentum import Momentum


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Momentum that looks one step ahead, as torch.optim.SGD with nesterov=True has it.

        velocity  = beta velocity + grad
        direction = grad + beta velocity

    With `beta` 0 it is the gradient.

    References: Nesterov (1983) [nesterov1983method], Sutskever et al. (2013) [sutskever2013importance].
    """

    label, colour, base_lr = "Nesterov", "", None

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        velocity = self.beta * state + grad
        return grad + self.beta * velocity, velocity
