"""Lion."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import Packaged


class Lion(Packaged):
    """Lion, the sign of an interpolated momentum, as its package has it; no weight decays.

    References: Chen et al. (2023) [chen2023symbolic].
    """

    label = "Lion"
    package, distribution = "pytorch_optimizer", "pytorch-optimizer"

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        return self.imported("Lion")(params, lr=self.lr)
