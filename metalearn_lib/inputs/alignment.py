"""Whether two gradients in a row agree."""

from __future__ import annotations

import torch
from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class Alignment(Input):
    """Cosine between this minibatch gradient and the last: above 0 where steps could be longer, below 0 where they jump
    across a valley. It is what hypergradient descent follows, and 0 at the first step.

        g_t . g_{t-1} / (|g_t| |g_{t-1}|)
    """

    spread, unit = 0.5, "cosine"

    def init(self, params: Tensor) -> Tensor:
        return torch.zeros_like(params)

    def __call__(self, state: Tensor, observation: Observation, log_lr: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cosine_similarity(observation.grad, state).nan_to_num(nan=0.0), observation.grad
