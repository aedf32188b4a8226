"""Optimizers from packages of their own, as directions: what each would do to the weights, one task at a time."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metalearn_lib.directions.base import Direction
from metalearn_lib.learners import Learner, tensor_sizes

_MOST = 1024
_live: dict[int, tuple[Optimizer, list[nn.Parameter]]] = {}
"""the youngest `_MOST` optimizers by number: a state names its own, and old ones are let go"""
_numbers = itertools.count()


@dataclass(frozen=True)
class Packaged(Direction):
    """The step of a `torch.optim`-like optimizer, turned into a direction, for use with `Constant(1)`.

        direction = params - (params after the optimizer's own step)

    Many of these packages take norms over all the weights that they are given, so that stacked tasks would mix; here
    every task has an optimizer of its own, which the state names by a number.

    Args:
        lr: the package's own `lr`; 1 is the default of those that need no tuning.
    """

    lr: float = 1.0

    carries_rate = True
    package: ClassVar[str]
    """what is imported"""
    distribution: ClassVar[str] = ""
    """what pip installs, where that has another name"""

    @abstractmethod
    def make(self, params: list[nn.Parameter]) -> Optimizer:
        """The optimizer of one task's weights."""

    def judge(self, optimizer: Any, weights: Tensor) -> Tensor:
        """The weights that count: `weights` themselves, but for a method that averages."""
        return weights

    def cut(self, weights: Tensor) -> list[Tensor]:
        """The tensors that the optimizer is given, of a task's `weights`: by default one."""
        return [weights]

    def init(self, params: Tensor) -> Tensor:
        numbers = list(itertools.islice(_numbers, len(params)))
        for number, weights in zip(numbers, params, strict=True):
            own = [nn.Parameter(piece.detach().clone()) for piece in self.cut(weights)]
            _live[number] = self.make(own), own
        for number in list(_live)[: -max(_MOST, len(params))]:
            del _live[number]
        return torch.tensor(numbers)

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        after = torch.empty_like(params)
        for place, number in enumerate(state.tolist()):
            optimizer, own = _live[number]
            for tensor, weights, slope in zip(
                own, self.cut(params[place]), self.cut(grad[place]), strict=True
            ):
                tensor.data.copy_(weights)
                tensor.grad = slope.clone()
            optimizer.step()
            after[place] = torch.cat([tensor.data.flatten() for tensor in own])
        return params - after, state

    def judged(self, state: Tensor, params: Tensor) -> Tensor:
        pairs = zip(state.tolist(), params, strict=True)
        return torch.stack([self.judge(_live[number][0], weights) for number, weights in pairs])

    def imported(self, name: str) -> Any:
        """What the package calls `name`.

        Raises:
            ValueError: when the package is not installed.
        """
        try:
            return getattr(import_module(self.package), name)
        except ModuleNotFoundError as fault:
            distribution = self.distribution or self.package
            raise ValueError(
                f"{name} needs the package {distribution}; pip install {distribution}."
            ) from fault


@dataclass(frozen=True)
class ByTensor(Packaged):
    """The same for an optimizer that must know which weights are a matrix, and of what shape.

    Args:
        tensors: weights and fan-in of each tensor, as `of` takes them from a learner.
    """

    tensors: tuple[tuple[int, int], ...] = ()

    def of(self, learner: Learner) -> ByTensor:
        return replace(self, tensors=tensor_sizes(learner))

    def cut(self, weights: Tensor) -> list[Tensor]:
        pieces = weights.split([size for size, _ in self.tensors])
        return [
            piece.view(-1, fan) if fan else piece
            for piece, (_, fan) in zip(pieces, self.tensors, strict=True)
        ]
