"""By how much the loss answers to the weights, both in per cent."""

from __future__ import annotations

from torch import Tensor

from metalearn_lib.inputs.base import Input
from metalearn_lib.monitor import Observation


class Elasticity(Input):
    """Logarithm of the gradient's and the weights' lengths over the loss: by how many per cent the loss changes where
    all weights move by one per cent, along the gradient.

        log(|g| |w| / L)

    Less `RelativeStep` it is the logarithm of Polyak's rate over the one in force, for a least loss of 0; it knows no
    rate and has no units.

    References: the ratio `L / |g|^2` of Polyak (1987) [polyak1987introduction].
    """

    centre, spread = 2.0, 1.5

    def __call__(
        self, state: tuple[()], observation: Observation, log_lr: Tensor
    ) -> tuple[Tensor, tuple[()]]:
        return observation.log_grad_norm + observation.log_weight_norm - observation.log_loss, state
