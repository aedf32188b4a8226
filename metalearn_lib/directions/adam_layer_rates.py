"""A learned rate for each layer, on Adam's direction."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metalearn_lib.directions.adam import Adam, AdamState
from metalearn_lib.directions.layer_rates import LayerRates
from metalearn_lib.directions.learned import PartsState


class AdamPartsState(NamedTuple):
    """As `PartsState`, with `average` Adam's mean of gradients, and beside it that of their squares."""

    theta: Tensor
    log_scale: Tensor
    memory: Tensor
    trend: Tensor
    num_steps: Tensor
    average: Tensor
    square: Tensor


class AdamLayerRates(LayerRates):
    """Adam's direction with a factor for each layer: with the rate, a learned rate per layer on Adam.

        direction_l = exp(log scale_l) adam_l

    The factors move as those of `LayerRates` do, by the norms of the layer's gradient and weights; with factors of 1 it
    is `Adam()`.

    References: as of `LayerRates`; Kingma and Ba (2015) [kingma2015adam].
    """

    name, label = "adam_layer_rates", "adam layer rates"
    setting, begins_as = "adam_layer_rates", "adam"

    def init(self, params: Tensor) -> AdamPartsState:  # type: ignore[override]
        parts = super().init(params)._replace(average=torch.zeros_like(params))
        return AdamPartsState(*parts, torch.zeros_like(params))

    def __call__(self, state: AdamPartsState, grad: Tensor, params: Tensor) -> tuple[Tensor, AdamPartsState]:  # type: ignore[override]
        adam, moments = Adam()(AdamState(state.average, state.square, state.num_steps), grad, params)
        parts = self.moved(PartsState(*state[:-1]), grad, params)._replace(average=moments.mean)
        return self.scaled(parts.log_scale, adam), AdamPartsState(*parts, moments.square)
