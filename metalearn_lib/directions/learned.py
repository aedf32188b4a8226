"""What every learned direction is: a direction with meta-parameters, and a plain one, bit for bit, while they are
untrained. It sees what a direction is given, gradients and weights; the loss is the rate's to watch.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Generator, Tensor

from metalearn_lib.directions.base import Direction
from metalearn_lib.inputs.base import Input
from metalearn_lib.learners import Learner, layer_sizes
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.monitor import Monitor, bounded_log


class Network(Protocol):
    """What a learned direction's meta-parameters belong to."""

    @property
    def num_theta(self) -> int: ...

    def init_theta(self, generator: Generator) -> Tensor: ...


@dataclass(frozen=True)
class LearnedDirection(Direction):
    """A direction with meta-parameters.

    Args:
        theta: meta-parameters `(theta,)`; the state's field of that name has them for each task.
    """

    theta: Tensor

    rival = False
    setting: ClassVar[str]
    """what meta-training calls it"""
    begins_as: ClassVar[str] = "sgd"
    """the direction that it is while untrained, by meta-training's name"""

    @classmethod
    @abstractmethod
    def network(cls, hidden: int) -> Network:
        """What `theta` belongs to, with so many hidden units."""


class PartsState(NamedTuple):
    """What such a direction keeps of each part of the weights that it moves by itself."""

    theta: Tensor
    """meta-parameters `(tasks, theta)`"""
    log_scale: Tensor
    """what its meta-optimizer moves, `(tasks, parts)`"""
    memory: Tensor
    """`(tasks, parts, 4)`"""
    trend: Tensor
    """running average of the log gradient norm `(tasks, parts)`"""
    num_steps: Tensor
    """`(tasks, 1)`"""
    average: Tensor
    """of the gradients `(tasks, weights)`, or `(tasks, 0)` where none is kept"""


@dataclass(frozen=True)
class LearnedParts(LearnedDirection):
    """The gradient with a number for each part of the weights, which a meta-optimizer moves before every update.

        log scale += change,   within `limits`

    Args:
        theta: meta-parameters `(theta,)`.
        layers: weights of each layer, as `of` takes them from a learner.
        hidden: units of the meta-optimizer.
    """

    layers: tuple[int, ...] = ()
    hidden: int = 16

    inputs: ClassVar[tuple[Input, ...]]
    """what the meta-optimizer sees, of each part and not of the whole; `LogLr` is the log scale"""
    limits: ClassVar[tuple[float, float]]
    """least and greatest log scale"""
    parts: ClassVar[int | None] = None
    """how many there are; None is one for each layer"""

    @classmethod
    def network(cls, hidden: int = 16) -> MetaOptimizer:
        return MetaOptimizer(hidden, inputs=cls.inputs)

    def of(self, learner: Learner) -> LearnedParts:
        return replace(self, layers=layer_sizes(learner))

    def init(self, params: Tensor) -> PartsState:
        tasks, parts = len(params), self.parts or len(self.layers)
        network = self.network(self.hidden)
        nothing = params.new_zeros(tasks, parts)
        memory = params.new_zeros(tasks, parts, network.num_outputs - 1)
        theta = self.theta.to(params).expand(tasks, -1)
        return PartsState(
            theta, nothing, memory, nothing, params.new_zeros(tasks, 1), params.new_zeros(tasks, 0)
        )

    @abstractmethod
    def __call__(self, state: PartsState, grad: Tensor, params: Tensor) -> tuple[Tensor, PartsState]: ...

    def move(self, state: PartsState, grad_norm: Tensor, weight_norm: Tensor, **seen: Tensor) -> PartsState:
        """The state with each part's log scale moved, from its norms and what else is `seen`, `(tasks, parts)`."""
        network = self.network(self.hidden)
        log_grad, log_weight = bounded_log(grad_norm), bounded_log(weight_norm)
        count = state.num_steps + 1
        trend = torch.lerp(state.trend, log_grad, count.reciprocal().clamp_min(1 - Monitor.fast))
        values = {
            "log_lr": state.log_scale,
            "log_grad_norm": log_grad,
            "log_weight_norm": log_weight,
            "grad_trend": log_grad - trend,
        } | seen
        inputs = torch.stack([values[each.name] for each in network.inputs], 2)
        centre, spread = network.scaling.to(inputs).unbind()
        num_tasks, parts = log_grad.shape
        each = state.theta.unsqueeze(1).expand(-1, parts, -1).flatten(0, 1)
        change, memory = network(each, ((inputs - centre) / spread).flatten(0, 1), state.memory.flatten(0, 1))
        log_scale = (state.log_scale + change.view(num_tasks, parts)).clamp(*self.limits)
        return state._replace(
            log_scale=log_scale, memory=memory.view(num_tasks, parts, -1), trend=trend, num_steps=count
        )


def split_theta(theta: Tensor, num_own: int) -> tuple[Tensor, Tensor]:
    """The rate's part of `theta` `(..., theta)`, and the `num_own` numbers after it, the direction's."""
    return theta[..., : theta.shape[-1] - num_own], theta[..., theta.shape[-1] - num_own :]
