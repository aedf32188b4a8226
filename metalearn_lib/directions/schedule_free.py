"""Schedule-Free optimizers."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import Packaged


class ScheduleFreeSGD(Packaged):
    """Schedule-Free SGD, judged at its averaged weights, as its package has it.

    References: Defazio et al. (2024) [defazio2024road].
    """

    name, label = "schedulefree", "Schedule-Free SGD"
    package, optimizer = "schedulefree", "SGDScheduleFree"

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        optimizer = self.imported(self.optimizer)(params, lr=self.lr)
        optimizer.train()
        return optimizer

    def judge(self, optimizer: Any, weights: Tensor) -> Tensor:
        """What `optimizer.eval()` would turn `weights` into."""
        group = optimizer.param_groups[0]
        momentum = group["momentum"] if "momentum" in group else group["betas"][0]
        state = optimizer.state[group["params"][0]]
        return weights.lerp(state["z"], 1 - 1 / momentum) if "z" in state else weights


class ScheduleFreeAdamW(ScheduleFreeSGD):
    """Schedule-Free AdamW, judged at its averaged weights, as its package has it."""

    name, label = "schedulefree-adamw", "Schedule-Free AdamW"
    optimizer = "AdamWScheduleFree"
