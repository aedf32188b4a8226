"""How the loss has moved over hundreds of steps."""

from __future__ import annotations

import torch
from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation

SLOWEST = 0.997
"""Decay of the average."""


class LossTrendSlowest(Input):
    """Log loss above an average of some three hundred steps, ten times as slow as `LossTrendSlow`'s.

    The average starts as the plain mean, as the monitor's do: at the first step the trend is 0.
    """

    spread = 0.5

    def init(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """The average, and the steps taken; each `(tasks,)`."""
        return params.new_zeros(len(params)), params.new_zeros(len(params))

    def __call__(
        self, state: tuple[Tensor, Tensor], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        average, count = state[0], state[1] + 1
        average = torch.lerp(average, observation.log_loss, count.reciprocal().clamp_min(1 - SLOWEST))
        return observation.log_loss - average, (average, count)
