"""Optimizers from packages of their own, as directions: what each would do to the weights, one task at a time."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metalearn_lib.directions.base import Direction

_MOST = 1024
_live: dict[int, Optimizer] = {}
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

    def init(self, params: Tensor) -> Tensor:
        numbers = list(itertools.islice(_numbers, len(params)))
        for number, weights in zip(numbers, params, strict=True):
            _live[number] = self.make([nn.Parameter(weights.detach().clone())])
        for number in list(_live)[: -max(_MOST, len(params))]:
            del _live[number]
        return torch.tensor(numbers)

    def __call__(self, state: Tensor, grad: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        after = torch.empty_like(params)
        for place, number in enumerate(state.tolist()):
            optimizer = _live[number]
            (weights,) = optimizer.param_groups[0]["params"]
            weights.data.copy_(params[place])
            weights.grad = grad[place].clone()
            optimizer.step()
            after[place] = weights.data
        return params - after, state

    def judged(self, state: Tensor, params: Tensor) -> Tensor:
        pairs = zip(state.tolist(), params, strict=True)
        return torch.stack([self.judge(_live[number], weights) for number, weights in pairs])

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
