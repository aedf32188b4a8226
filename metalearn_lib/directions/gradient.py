"""Plain SGD."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metalearn_lib.directions.base import Direction


@dataclass(frozen=True)
class Gradient(Direction):
    """Plain SGD: the direction is the gradient."""

    name, label, colour = "sgd", "SGD", "#0072B2"
    base_lr = 1.0

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        return grad, state
