"""Directions: where a step points. An update is `params - lr * direction`; a direction knows no rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Direction(ABC):
    """Gradient and weights in, direction out, with a state of moments; all tensors `(tasks, weights)`."""

    def init(self, params: Tensor) -> Any:
        """The state before the first step: a tree of tensors with a leading axis of tasks."""
        return ()

    @abstractmethod
    def __call__(self, state: Any, grad: Tensor, params: Tensor) -> tuple[Tensor, Any]:
        """The direction of this step at weights `params`, and the state for the next."""

    def judged(self, state: Any, params: Tensor) -> Tensor:
        """The weights that count: `params` themselves, but for a method that averages its iterates."""
        return params


@dataclass(frozen=True)
class Gradient(Direction):
    """Plain SGD: the direction is the gradient."""

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        return grad, state


@dataclass(frozen=True)
class Momentum(Direction):
    """Heavy-ball momentum as torch.optim.SGD has it.

        velocity = beta velocity + grad

    With `beta` 0 it is the gradient.

    References: Polyak (1964) [polyak1964some].
    """

    beta: float = 0.9

    def init(self, params: Tensor) -> Tensor:
        return torch.zeros_like(params)

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        velocity = self.beta * state + grad
        return velocity, velocity


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Momentum that looks one step ahead, as torch.optim.SGD with nesterov=True has it.

        velocity  = beta velocity + grad
        direction = grad + beta velocity

    With `beta` 0 it is the gradient.

    References: Nesterov (1983) [nesterov1983method], Sutskever et al. (2013) [sutskever2013importance].
    """

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        velocity = self.beta * state + grad
        return grad + self.beta * velocity, velocity


@dataclass(frozen=True)
class Clipped(Direction):
    """The gradient, shortened to `max_norm` where it is longer, as torch.nn.utils.clip_grad_norm_ does.

        direction = grad min(1, max_norm / (|grad| + 1e-6))

    Args:
        max_norm: the greatest length, above 0; at infinity it is the gradient.

    References: Pascanu, Mikolov and Bengio (2013) [pascanu2013difficulty].
    """

    max_norm: float = 1.0

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        return grad * (self.max_norm / (norm + 1e-6)).clamp_max(1), state


@dataclass(frozen=True)
class Normalised(Direction):
    """The gradient's direction alone: `grad / |grad|`, and 0 where the gradient is 0.

    References: Shor (1985) [shor1985minimization].
    """

    def __call__(self, state: tuple[()], grad: Tensor, params: Tensor) -> tuple[Tensor, tuple[()]]:
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        return grad / norm.clamp_min(torch.finfo(grad.dtype).tiny), state


@dataclass(frozen=True)
class RMSProp(Direction):
    """The gradient over the root of its running mean square, as torch.optim.RMSprop has it.

        square    = decay square + (1 - decay) grad^2
        direction = grad / (sqrt(square) + eps)

    At the first step each weight moves by `1 / sqrt(1 - decay)`, whatever its gradient.

    References: Tieleman and Hinton (2012) [tieleman2012rmsprop].
    """

    decay: float = 0.99
    eps: float = 1e-8

    def init(self, params: Tensor) -> Tensor:
        return torch.zeros_like(params)

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        square = self.decay * state + (1 - self.decay) * grad * grad
        return grad / (square.sqrt() + self.eps), square


class AdamState(NamedTuple):
    """First and second moments `(tasks, weights)`, and the steps taken `(tasks, 1)`."""

    mean: Tensor
    square: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class Adam(Direction):
    """Adam without its rate, as torch.optim.Adam has it.

        mean   = beta1 mean   + (1 - beta1) grad
        square = beta2 square + (1 - beta2) grad^2
        direction = mean / (1 - beta1^t) / (sqrt(square / (1 - beta2^t)) + eps)

    At the first step it is `grad / (|grad| + eps)`, the sign of the gradient.

    References: Kingma and Ba (2015) [kingma2015adam].
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def init(self, params: Tensor) -> AdamState:
        return AdamState(torch.zeros_like(params), torch.zeros_like(params), params.new_zeros(len(params), 1))

    def __call__(self, state: AdamState, grad: Tensor, params: Tensor) -> tuple[Tensor, AdamState]:
        count = state.num_steps + 1
        mean = torch.lerp(state.mean, grad, 1 - self.beta1)
        square = self.beta2 * state.square + (1 - self.beta2) * grad * grad
        correct_mean, correct_square = 1 - self.beta1**count, 1 - self.beta2**count
        direction = mean / correct_mean / ((square / correct_square).sqrt() + self.eps)
        return direction, AdamState(mean, square, count)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with weights that decay beside the gradient and not through it, as torch.optim.AdamW has it.

        params <- params - lr (adam + decay params)

    With `decay` 0 it is Adam.

    References: Loshchilov and Hutter (2019) [loshchilov2019decoupled].
    """

    decay: float = 0.01

    def __call__(self, state: AdamState, grad: Tensor, params: Tensor) -> tuple[Tensor, AdamState]:
        direction, state = super().__call__(state, grad, params)
        return direction + self.decay * params, state


DIRECTIONS: dict[str, Direction] = {"sgd": Gradient(), "momentum": Momentum(), "adam": Adam()}
"""The directions that rates are learned on; their order is meta-training's."""
