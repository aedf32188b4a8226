"""How long a step along the gradient would be beside the weights."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class RelativeStep(Input):
    """Logarithm of the length of a step along the gradient at the rate now in force, over that of the weights.

        log(lr |g| / |w|)

    It stays as it is where the loss is multiplied by c and the rate divided by c, where weights and inputs are
    expressed in other units, and where everything is there twice: it has no units.

    References: the ratio that You et al. (2017) [you2017large] hold for each layer.
    """

    centre, spread = -4.0, 3.0

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return log_lr + observation.log_grad_norm - observation.log_weight_norm, state
