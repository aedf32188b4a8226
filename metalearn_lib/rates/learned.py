"""The learned rate: a base rate times a factor that the meta-optimizer moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metalearn_lib.meta_optimizer import MEMORY_DECAYS, MetaOptimizer
from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate, per_task

LOG_SCALE_LIMIT = 20.0


class LearnedRateState(NamedTuple):
    """Meta-parameters `(tasks, theta)`, base rate and log of the scaling factor `(tasks,)`, memory `(tasks, 4)`, and
    the last gradient `(tasks, weights)` where its alignment is an input, or else nothing.
    """

    theta: Tensor
    base_lr: Tensor
    log_scale: Tensor
    memory: Tensor
    last_grad: Tensor | tuple[()]


@dataclass(frozen=True)
class LearnedRate(Rate):
    """A base rate times a scaling factor that the meta-optimizer moves before every update.

        lr = base_lr exp(log_scale)

    With an untrained `theta` the factor is 1 and the rate is `Constant(base_lr)`, bit for bit.

    Args:
        base_lr: the rate to scale; a number, or `(tasks,)`.
        theta: meta-parameters `(theta,)`, or `(tasks, theta)`.
        meta_optimizer: the network they belong to.
    """

    base_lr: float | Tensor
    theta: Tensor
    meta_optimizer: MetaOptimizer = MetaOptimizer()

    rival = False

    def init(self, params: Tensor) -> LearnedRateState:
        num_tasks = len(params)
        theta = self.theta.to(params).expand(num_tasks, -1)
        memory = params.new_zeros(num_tasks, len(MEMORY_DECAYS))
        last_grad = torch.zeros_like(params) if "alignment" in self.meta_optimizer.inputs else ()
        return LearnedRateState(
            theta, per_task(self.base_lr, params), params.new_zeros(num_tasks), memory, last_grad
        )

    def __call__(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        change, state = self.propose(state, observation)
        return self.apply(state, change)

    def propose(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        """The change of the log scale `(tasks,)` that the meta-optimizer wants, and the state once it has seen this."""
        values = {"log_lr": state.base_lr.log() + state.log_scale, **observation._asdict()}
        last_grad = state.last_grad
        if isinstance(last_grad, Tensor):
            values["alignment"] = torch.cosine_similarity(observation.grad, last_grad).nan_to_num(nan=0.0)
            last_grad = observation.grad
        inputs = torch.stack([values[name] for name in self.meta_optimizer.inputs], 1)
        centre, spread = self.meta_optimizer.scaling.to(inputs).unbind()
        change, memory = self.meta_optimizer(state.theta, (inputs - centre) / spread, state.memory)
        return change, state._replace(memory=memory, last_grad=last_grad)

    def apply(self, state: LearnedRateState, change: Tensor) -> tuple[Tensor, LearnedRateState]:
        """The rate after `change`, and the state for the next step."""
        log_scale = (state.log_scale + change).clamp(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT)
        return state.base_lr * log_scale.exp(), state._replace(log_scale=log_scale)
