"""Adam with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metalearn_lib.directions.adam import Adam, AdamState


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weights that decay beside the gradient and not through it, as torch.optim.AdamW has it.

        params <- params - lr (adam + decay params)

    With `decay` 0 it is Adam.

    References: Loshchilov and Hutter (2019) [loshchilov2019decoupled].
    """

    decay: float = 0.01

    name, label = "adamw", "AdamW"
    colour, base_lr = "", None

    def __call__(self, state: AdamState, grad: Tensor, params: Tensor) -> tuple[Tensor, AdamState]:
        direction, state = super().__call__(state, grad, params)
        return direction + self.decay * params, state


@dataclass(frozen=True)
class AdamWDecay(AdamW):
    """AdamW, of which tuning finds the decay beside the rate."""

    name, label = "adamw_decay", "AdamW with its decay"
    number, tried = "decay", (0.0, 0.01, 0.1, 1.0)
