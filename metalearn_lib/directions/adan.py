"""Adan."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import Packaged


class Adan(Packaged):
    """Adan, Adam with Nesterov's momentum of gradient differences, as its package has it.

    References: Xie et al. (2024) [xie2024adan].
    """

    label = "Adan"
    package, distribution = "pytorch_optimizer", "pytorch-optimizer"

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        return self.imported("Adan")(params, lr=self.lr)
