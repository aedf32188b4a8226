"""How the loss has moved of late."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class LossTrendFast(Input):
    """Log loss above its fast average: positive when the loss has just risen."""

    centre, spread, default = 0.0, 0.25, True

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return observation.loss_trend_fast, state
