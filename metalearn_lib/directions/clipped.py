"""The gradient with a bound on its length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metalearn_lib.directions.base import Direction


@dataclass(frozen=True)
class Clipped(Direction):
    """The gradient, shortened to `max_norm` where it is longer, as torch.nn.utils.clip_grad_norm_ does.

        direction = grad min(1, max_norm / (|grad| + 1e-6))

    Args:
        max_norm: the greatest length, above 0; at infinity it is the gradient.

    References: Pascanu, Mikolov and Bengio (2013) [pascanu2013difficulty].
    """

    max_norm: float = 1.0

    name, label = "clip", "clipping"
    number, tried = "max_norm", (0.1, 0.3, 1.0, 3.0)

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        return grad * (self.max_norm / (norm + 1e-6)).clamp_max(1), state
