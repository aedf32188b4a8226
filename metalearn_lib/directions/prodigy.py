"""Prodigy."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from metalearn_lib.directions.packaged import Packaged


class Prodigy(Packaged):
    """Prodigy, which estimates the distance to the solution.

    References: Mishchenko and Defazio (2024) [mishchenko2024prodigy].
    """

    label, colour = "Prodigy", "#882255"
    package = "prodigyopt"
    needs_tuning = False

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        return self.imported("Prodigy")(params, lr=self.lr)
