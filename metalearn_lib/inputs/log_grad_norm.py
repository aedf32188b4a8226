"""How steep the loss is."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class LogGradNorm(Input):
    """Logarithm of the gradient's Euclidean norm."""

    centre, spread, default = -0.5, 1.5, True

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return observation.log_grad_norm, state
