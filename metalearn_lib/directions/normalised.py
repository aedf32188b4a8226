"""The gradient's direction alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metalearn_lib.directions.base import Direction


@dataclass(frozen=True)
class Normalised(Direction):
    """The gradient's direction alone: `grad / |grad|`, and 0 where the gradient is 0.

    References: Shor (1985) [shor1985minimization].
    """

    label = "normalised gradient"

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        return grad / norm.clamp_min(torch.finfo(grad.dtype).tiny), state
