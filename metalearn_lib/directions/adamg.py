"""AdamG."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import Packaged


class AdamG(Packaged):
    """AdamG, which claims to need no rate: its own default is 1.

    References: Pang et al. (2024) [pang2024adamg].
    """

    name, label = "adamg", "AdamG"
    package, distribution = "pytorch_optimizer", "pytorch-optimizer"
    needs_tuning = False

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        return self.imported("AdamG")(params, lr=self.lr)
