"""Learned directions: what a second meta-optimizer may do with the gradient beside the rate, by layer or over time.

Each is a sibling of `directions.Gradient`, and is the gradient, bit for bit, while its meta-parameters are untrained.
It sees what a direction is given, gradients and weights; the loss is the rate's to watch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from metalearn_lib.directions import DIRECTIONS, Direction
from metalearn_lib.learners import MLP, Learner, ModuleLearner
from metalearn_lib.meta_optimizers import MetaOptimizer, rate_of
from metalearn_lib.monitor import Monitor, bounded_log
from metalearn_lib.rates import Rate


class LearnedDirectionState(NamedTuple):
    """What a learned direction keeps of each part of the weights that it moves by itself."""

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
class LearnedDirection(Direction):
    """A direction with a number for each part of the weights, which a meta-optimizer moves before every update.

        log scale += change,   within `limits`

    Args:
        theta: meta-parameters `(theta,)`.
        layers: weights of each layer, as `layer_sizes` gives them.
        hidden: units of the meta-optimizer.
    """

    theta: Tensor
    layers: tuple[int, ...]
    hidden: int = 16

    inputs: ClassVar[tuple[str, ...]]
    """what the meta-optimizer sees of each part, names of `meta_optimizers.ALL_INPUTS`; `"log_lr"` is the log scale"""
    limits: ClassVar[tuple[float, float]]
    """least and greatest log scale"""
    parts: ClassVar[int | None] = None
    """how many there are; None is one for each layer"""

    @classmethod
    def network(cls, hidden: int = 16) -> MetaOptimizer:
        """The meta-optimizer that `theta` belongs to."""
        return MetaOptimizer(hidden, inputs=cls.inputs)

    def init(self, params: Tensor) -> LearnedDirectionState:
        tasks, parts = len(params), self.parts or len(self.layers)
        network = self.network(self.hidden)
        nothing = params.new_zeros(tasks, parts)
        memory = params.new_zeros(tasks, parts, network.num_outputs - 1)
        theta = self.theta.to(params).expand(tasks, -1)
        return LearnedDirectionState(
            theta, nothing, memory, nothing, params.new_zeros(tasks, 1), params.new_zeros(tasks, 0)
        )

    @abstractmethod
    def __call__(
        self, state: LearnedDirectionState, grad: Tensor, params: Tensor
    ) -> tuple[Tensor, LearnedDirectionState]: ...

    def move(
        self, state: LearnedDirectionState, grad_norm: Tensor, weight_norm: Tensor, **seen: Tensor
    ) -> LearnedDirectionState:
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
        inputs = torch.stack([values[name] for name in network.inputs], 2)
        centre, spread = network.scaling.to(inputs).unbind()
        num_tasks, parts = log_grad.shape
        each = state.theta.unsqueeze(1).expand(-1, parts, -1).flatten(0, 1)
        change, memory = network(each, ((inputs - centre) / spread).flatten(0, 1), state.memory.flatten(0, 1))
        log_scale = (state.log_scale + change.view(num_tasks, parts)).clamp(*self.limits)
        return state._replace(
            log_scale=log_scale, memory=memory.view(num_tasks, parts, -1), trend=trend, num_steps=count
        )


class LayerRates(LearnedDirection):
    """The gradient with a factor for each layer: with the rate, a learned rate per layer.

        direction_l = exp(log scale_l) grad_l

    One meta-optimizer serves all layers, so a network may have any number of them. It sees the layer's factor, the
    norms of its gradient and of its weights, and how the first has been moving.

    References: layer-wise rates in You, Gitman and Ginsburg (2017) [you2017large]; a network for each tensor in Metz et
    al. (2022) [metz2022velo].
    """

    inputs = ("log_lr", "log_grad_norm", "log_weight_norm", "grad_trend")
    limits = (-7.0, 7.0)

    def __call__(
        self, state: LearnedDirectionState, grad: Tensor, params: Tensor
    ) -> tuple[Tensor, LearnedDirectionState]:
        pieces = grad.split(self.layers, 1)
        norms = (
            torch.stack([torch.linalg.vector_norm(piece, dim=1) for piece in each], 1)
            for each in (pieces, params.split(self.layers, 1))
        )
        state = self.move(state, *norms)
        scales = state.log_scale.exp().unsqueeze(2).unbind(1)
        return torch.cat([piece * scale for piece, scale in zip(pieces, scales, strict=True)], 1), state


@dataclass(frozen=True)
class LayerFactors(Direction):
    """The gradient with a factor for each layer that stays as it is; with factors of 1 it is the gradient.

    Args:
        layers: weights of each layer, as `layer_sizes` gives them.
        factors: one for each layer.
    """

    layers: tuple[int, ...]
    factors: tuple[float, ...]

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        pieces = zip(grad.split(self.layers, 1), self.factors, strict=True)
        return torch.cat([piece * factor for piece, factor in pieces], 1), state


class LearnedMomentum(LearnedDirection):
    """A running average of gradients over a learned number of steps.

        span      = exp(log scale),   1 to 100 steps
        average  += max(1 / span, 1 / (t + 1)) (grad - average)
        direction = average

    With a span of 1 it is the gradient; a constant span is `Momentum(1 - 1 / span)` at a `span` times larger rate, once
    it has begun. The meta-optimizer sees the span, the gradient's norm and how it has been moving, the norm of the
    weights, and the cosine between the gradient and the average: below 0 where the average has gone too far.

    References: Polyak (1964) [polyak1964some] for momentum.
    """

    inputs = ("log_lr", "log_grad_norm", "log_weight_norm", "grad_trend", "alignment")
    limits = (0.0, math.log(100.0))
    parts = 1

    def init(self, params: Tensor) -> LearnedDirectionState:
        return super().init(params)._replace(average=torch.zeros_like(params))

    def __call__(
        self, state: LearnedDirectionState, grad: Tensor, params: Tensor
    ) -> tuple[Tensor, LearnedDirectionState]:
        alignment = torch.cosine_similarity(grad, state.average).nan_to_num(nan=0.0)
        norms = (torch.linalg.vector_norm(each, dim=1, keepdim=True) for each in (grad, params))
        state = self.move(state, *norms, alignment=alignment.unsqueeze(1))
        share = torch.maximum(torch.exp(-state.log_scale), state.num_steps.reciprocal())
        average = torch.lerp(state.average, grad, share)
        return average, state._replace(average=average)


LEARNED_DIRECTIONS: dict[str, type[LearnedDirection]] = {
    "layer_rates": LayerRates,
    "momentum": LearnedMomentum,
}
"""The learned directions by name."""


def layer_sizes(learner: Learner) -> tuple[int, ...]:
    """How many weights each layer of a network has, in their order; a module's layers are its innermost modules.

    Raises:
        ValueError: for a learner whose layers are not known.
    """
    mlp = getattr(learner, "mlp", learner)
    if isinstance(mlp, MLP):
        return tuple((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(mlp.sizes))
    if isinstance(mlp, ModuleLearner):
        owners = groupby(mlp.shapes.items(), key=lambda each: each[0].rpartition(".")[0])
        return tuple(sum(shape.numel() for _, shape in tensors) for _, tensors in owners)
    raise ValueError(
        f"{type(learner).__name__} does not say what its layers are; use an MLP or a ModuleLearner."
    )


def rule_of(
    config: dict[str, Any], theta: Tensor, base_lr: float | Tensor, learner: Learner
) -> tuple[Direction, Rate]:
    """The direction and the rate that a card's meta-training trained, for use on `learner`.

    Args:
        config: the card's; its `learned_direction`, where there is one, takes the last part of `theta`.
        theta: meta-parameters `(theta,)`.
        base_lr: the rate to scale; a number, or `(tasks,)`.
    """
    name = config.get("learned_direction")
    if name is None:
        return DIRECTIONS[config["direction"]], rate_of({"config": config}, theta, base_lr)
    kind, hidden = LEARNED_DIRECTIONS[name], config["hidden"]
    of_rate, own = split_theta(theta, kind.network(hidden).num_theta)
    return kind(own, layer_sizes(learner), hidden), rate_of({"config": config}, of_rate, base_lr)


def split_theta(theta: Tensor, num_own: int) -> tuple[Tensor, Tensor]:
    """The rate's part of `theta` `(..., theta)`, and the `num_own` numbers after it, the direction's."""
    return theta[..., : theta.shape[-1] - num_own], theta[..., theta.shape[-1] - num_own :]
