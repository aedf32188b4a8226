"""The rate now in force."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class LogLr(Input):
    """Logarithm of the rate now in force: the base rate times the scaling factor."""

    centre, spread, default = -1.5, 3.0, True

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return log_lr, state
