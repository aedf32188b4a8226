"""A constant factor for each layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from metalearn_lib.directions.base import Direction
from metalearn_lib.learners import Learner, layer_sizes


@dataclass(frozen=True)
class LayerFactors(Direction):
    """The gradient with a constant factor for each layer, each a certain part of the one before.

        direction_l = part^l grad_l,   l = 0, 1, ...

    With a part of 1 it is the gradient.

    Args:
        part: of the factor of the layer before.
        layers: weights of each layer, as `of` takes them from a learner.
    """

    part: float = 1.0
    layers: tuple[int, ...] = ()

    name, label = "sgd-layers", "SGD by layer"
    number, tried = "part", (0.03, 0.1, 0.3, 1.0)

    def of(self, learner: Learner) -> LayerFactors:
        return replace(self, layers=layer_sizes(learner))

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        pieces = enumerate(grad.split(self.layers, 1))
        return torch.cat([piece * self.part**layer for layer, piece in pieces], 1), state
