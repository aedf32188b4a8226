"""SOAP."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import ByTensor


class SOAP(ByTensor):
    """SOAP, Adam in the eigenbasis of Shampoo's preconditioner, as its package has it; no weight decays.

    References: Vyas et al. (2025) [vyas2025soap].
    """

    label = "SOAP"
    package, distribution = "pytorch_optimizer", "pytorch-optimizer"

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        return self.imported("SOAP")(params, lr=self.lr, weight_decay=0.0)
