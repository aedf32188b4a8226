"""A running average over a learned number of steps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metalearn_lib.directions.learned import LearnedParts, PartsState
from metalearn_lib.inputs.alignment import Alignment
from metalearn_lib.inputs.grad_trend import GradTrend
from metalearn_lib.inputs.log_grad_norm import LogGradNorm
from metalearn_lib.inputs.log_lr import LogLr
from metalearn_lib.inputs.log_weight_norm import LogWeightNorm


class LearnedMomentum(LearnedParts):
    """A running average of gradients over a learned number of steps.

        span      = exp(log scale),   1 to 100 steps
        average  += max(1 / span, 1 / (t + 1)) (grad - average)
        direction = average

    With a span of 1 it is the gradient; a constant span is `Momentum(1 - 1 / span)` at a `span` times larger rate, once
    it has begun. The meta-optimizer sees the span, the gradient's norm and how it has been moving, the norm of the
    weights, and the cosine between the gradient and the average: below 0 where the average has gone too far.

    References: Polyak (1964) [polyak1964some] for momentum.
    """

    setting = "momentum"
    inputs = (LogLr(), LogGradNorm(), LogWeightNorm(), GradTrend(), Alignment())
    limits = (0.0, math.log(100.0))
    parts = 1

    def init(self, params: Tensor) -> PartsState:
        return super().init(params)._replace(average=torch.zeros_like(params))

    def __call__(self, state: PartsState, grad: Tensor, params: Tensor) -> tuple[Tensor, PartsState]:
        alignment = torch.cosine_similarity(grad, state.average).nan_to_num(nan=0.0)
        norms = (torch.linalg.vector_norm(each, dim=1, keepdim=True) for each in (grad, params))
        state = self.move(state, *norms, alignment=alignment.unsqueeze(1))
        share = torch.maximum(torch.exp(-state.log_scale), state.num_steps.reciprocal())
        average = torch.lerp(state.average, grad, share)
        return average, state._replace(average=average)
