"""A learned rate for each layer."""

from __future__ import annotations

import torch
from torch import Tensor

from metalearn_lib.directions.learned import LearnedParts, PartsState
from metalearn_lib.inputs.grad_trend import GradTrend
from metalearn_lib.inputs.log_grad_norm import LogGradNorm
from metalearn_lib.inputs.log_lr import LogLr
from metalearn_lib.inputs.log_weight_norm import LogWeightNorm


class LayerRates(LearnedParts):
    """The gradient with a factor for each layer: with the rate, a learned rate per layer.

        direction_l = exp(log scale_l) grad_l

    One meta-optimizer serves all layers, so a network may have any number of them. It sees the layer's factor, the
    norms of its gradient and of its weights, and how the first has been moving.

    References: layer-wise rates in You, Gitman and Ginsburg (2017) [you2017large]; a network for each tensor in Metz et
    al. (2022) [metz2022velo].
    """

    setting = "layer_rates"
    inputs = (LogLr(), LogGradNorm(), LogWeightNorm(), GradTrend())
    limits = (-7.0, 7.0)

    def __call__(self, state: PartsState, grad: Tensor, params: Tensor) -> tuple[Tensor, PartsState]:
        state = self.moved(state, grad, params)
        return self.scaled(state.log_scale, grad), state

    def moved(self, state: PartsState, grad: Tensor, params: Tensor) -> PartsState:
        """The state with the factors moved."""
        norms = (
            torch.stack([torch.linalg.vector_norm(piece, dim=1) for piece in each.split(self.layers, 1)], 1)
            for each in (grad, params)
        )
        return self.move(state, *norms)

    def scaled(self, log_scale: Tensor, direction: Tensor) -> Tensor:
        """Each layer's part of a direction times its factor."""
        pieces = zip(direction.split(self.layers, 1), log_scale.exp().unsqueeze(2).unbind(1), strict=True)
        return torch.cat([piece * scale for piece, scale in pieces], 1)
