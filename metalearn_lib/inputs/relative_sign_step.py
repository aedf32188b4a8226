"""How long a step of Adam's would be beside the weights."""

from __future__ import annotations

import math

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class RelativeSignStep(Input):
    """Logarithm of the rate now in force over the root mean square of the weights: what `RelativeStep` is where each
    weight moves by about the rate, as along Adam's direction, whatever the gradient's length.

        log(lr / RMS(w))

    It stays as it is where the loss is multiplied by c, where weights and inputs are expressed in other units and the
    rate with them, and where everything is there twice.

    References: the relative step size of Shazeer and Stern (2018) [shazeer2018adafactor].
    """

    spread = 3.0

    def init(self, params: Tensor) -> Tensor:
        """Half the logarithm of the number of weights `(tasks,)`."""
        return params.new_full((len(params),), 0.5 * math.log(params.shape[1]))

    def __call__(self, state: Tensor, observation: Observation, log_lr: Tensor) -> tuple[Tensor, Tensor]:
        return log_lr + state - observation.log_weight_norm, state
