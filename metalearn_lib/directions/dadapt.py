"""D-Adaptation."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import Packaged


class DAdaptAdam(Packaged):
    """Adam with D-Adaptation.

    References: Defazio and Mishchenko (2023) [defazio2023learning].
    """

    name, label = "dadapt", "D-Adaptation"
    package = "dadaptation"
    needs_tuning = False

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        return self.imported("DAdaptAdam")(params, lr=self.lr)
