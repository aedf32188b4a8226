"""The learned rate: a base rate times a factor that the meta-optimizer moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metalearn_lib.meta_optimizer import MEMORY_DECAYS, MetaOptimizer
from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate, per_task

LOG_SCALE_LIMIT = 20.0


class LearnedRateState(NamedTuple):
    """Meta-parameters `(tasks, theta)`, base rate and log of the scaling factor `(tasks,)`, memory `(tasks, 4)`, and
    what each input keeps.
    """

    theta: Tensor
    base_lr: Tensor
    log_scale: Tensor
    memory: Tensor
    inputs: tuple[Any, ...]


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
        inputs = tuple(each.init(params) for each in self.meta_optimizer.inputs)
        return LearnedRateState(
            theta, per_task(self.base_lr, params), params.new_zeros(num_tasks), memory, inputs
        )

    def __call__(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        change, state = self.propose(state, observation)
        return self.apply(state, change)

    def propose(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        """The change of the log scale `(tasks,)` that the meta-optimizer wants, and the state once it has seen this."""
        return self.answer(*self.told(state, observation))

    def told(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        """The inputs as the meta-optimizer gets them `(tasks, inputs)`, and the state once they have seen this."""
        log_lr = state.base_lr.log() + state.log_scale
        seen = [
            each(own, observation, log_lr)
            for each, own in zip(self.meta_optimizer.inputs, state.inputs, strict=True)
        ]
        inputs = torch.stack([value for value, _ in seen], 1)
        centre, spread = self.meta_optimizer.scaling.to(inputs).unbind()
        return (inputs - centre) / spread, state._replace(inputs=tuple(own for _, own in seen))

    def answer(self, told: Tensor, state: LearnedRateState) -> tuple[Tensor, LearnedRateState]:
        """The change `(tasks,)` that the meta-optimizer wants, once it is told, and the state with its new memory."""
        change, memory = self.meta_optimizer(state.theta, told, state.memory)
        return change, state._replace(memory=memory)

    def apply(self, state: LearnedRateState, change: Tensor) -> tuple[Tensor, LearnedRateState]:
        """The rate after `change`, and the state for the next step."""
        log_scale = (state.log_scale + change).clamp(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT)
        return state.base_lr * log_scale.exp(), state._replace(log_scale=log_scale)
