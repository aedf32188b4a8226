"""How the loss has moved for long."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class LossTrendSlow(Input):
    """Log loss above its slow average."""

    centre, spread, default = 0.0, 0.5, True

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return observation.loss_trend_slow, state
