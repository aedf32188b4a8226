"""How large the weights are."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class LogWeightNorm(Input):
    """Logarithm of the weights' Euclidean norm."""

    centre, spread, default = 2.1, 0.5, True

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return observation.log_weight_norm, state
