"""Distance over gradients."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import Packaged


class DoG(Packaged):
    """DoG, distance over gradients, judged at the polynomial average that its package recommends.

    References: Ivgi, Hinder and Carmon (2023) [ivgi2023dog].
    """

    name, label, colour = "dog", "DoG", "#CC79A7"
    package, distribution = "dog", "dog-optimizer"
    needs_tuning = False

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        optimizer = self.imported("DoG")(params, lr=self.lr)
        optimizer.averager = self.imported("PolynomialDecayAverager")(nn.ParameterList(params))
        optimizer.register_step_post_hook(lambda *_: optimizer.averager.step())
        return optimizer

    def judge(self, optimizer: Any, weights: Tensor) -> Tensor:
        (average,) = optimizer.averager.averaged_model.parameters()
        return average.detach()
