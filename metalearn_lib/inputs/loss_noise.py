"""How much the loss jumps about."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class LossNoise(Input):
    """Running average of `|loss_trend_fast|`: how much the minibatch loss jumps about."""

    centre, spread, default = 0.0, 0.25, True

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return observation.loss_noise, state
