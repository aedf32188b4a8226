"""The training monitor: loss, gradient norm and weight norm in, an observation out. It is all that a rate may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

LOG_LIMIT = 30.0
"""Logarithms are kept within this of zero, so that a diverged task gives a finite observation."""


class Observation(NamedTuple):
    """What a rate sees of one step; each `(tasks,)` but the last."""

    loss: Tensor
    """minibatch loss, nats"""
    grad_norm: Tensor
    """Euclidean norm of the minibatch gradient"""
    weight_norm: Tensor
    """Euclidean norm of the weights"""
    log_loss: Tensor
    log_grad_norm: Tensor
    log_weight_norm: Tensor
    loss_trend_fast: Tensor
    """log loss above its fast average: positive when the loss has just risen"""
    loss_trend_slow: Tensor
    """log loss above its slow average"""
    grad_trend: Tensor
    """log gradient norm above its fast average"""
    loss_noise: Tensor
    """average of |loss_trend_fast|: how much the minibatch loss jumps about"""
    grad: Tensor
    """the minibatch gradient itself, `(tasks, weights)`; no learned rate reads it, hypergradient descent does"""


class MonitorState(NamedTuple):
    """Steps seen and running averages; each `(tasks,)` but the second."""

    num_steps: Tensor
    fast: Tensor
    """of log loss and log gradient norm, `(tasks, 2)`"""
    slow: Tensor
    """of log loss"""
    noise: Tensor


@dataclass(frozen=True)
class Monitor:
    """Norms, their logarithms, and exponential averages of these.

        average_t = average_{t-1} + max(1 - decay, 1 / (t + 1)) (value_t - average_{t-1})

    so that an average starts as the plain mean: at the first step every trend is 0. A non-finite loss reads as the
    largest loss there is.

    Args:
        fast, slow: decays of the two averages, in [0, 1).
    """

    fast: float = 0.8
    slow: float = 0.97

    def init(self, params: Tensor) -> MonitorState:
        zeros = params.new_zeros(len(params))
        return MonitorState(zeros, params.new_zeros(len(params), 2), zeros, zeros)

    def __call__(
        self, state: MonitorState, loss: Tensor, grad: Tensor, params: Tensor
    ) -> tuple[Observation, MonitorState]:
        grad_norm = torch.linalg.vector_norm(grad, dim=1)
        weight_norm = torch.linalg.vector_norm(params, dim=1)
        # small networks train as fast as these few numbers are handled, so all logarithms are one operation
        logs = bounded_log(torch.stack([loss, grad_norm, weight_norm], 1))
        log_loss, log_grad, log_weight = logs.unbind(1)

        count = state.num_steps + 1
        share = count.reciprocal()
        of_fast, of_slow = share.clamp_min(1 - self.fast), share.clamp_min(1 - self.slow)
        fast = torch.lerp(state.fast, logs[:, :2], of_fast.unsqueeze(1))
        slow = torch.lerp(state.slow, log_loss, of_slow)
        loss_trend, grad_trend = (logs[:, :2] - fast).unbind(1)
        noise = torch.lerp(state.noise, loss_trend.abs(), of_fast)

        observation = Observation(
            loss,
            grad_norm,
            weight_norm,
            log_loss,
            log_grad,
            log_weight,
            loss_trend,
            log_loss - slow,
            grad_trend,
            noise,
            grad,
        )
        return observation, MonitorState(count, fast, slow, noise)


def bounded_log(value: Tensor) -> Tensor:
    """Natural logarithm within `±LOG_LIMIT`; `nan` and infinity read as the upper limit."""
    return (
        value.log()
        .nan_to_num(nan=LOG_LIMIT, posinf=LOG_LIMIT, neginf=-LOG_LIMIT)
        .clamp(-LOG_LIMIT, LOG_LIMIT)
    )
