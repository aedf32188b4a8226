"""Optimizers from packages of their own, as directions: what each would do to the weights, one task at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from metalearn_lib.directions import Direction

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
        make: the optimizer of a list of parameters; a function with a name, or a `partial` of one.
        judge: `judge(optimizer, weights)`, the weights that count, for a method that averages; None is `weights`.
    """

    make: Callable[[list[nn.Parameter]], Optimizer]
    judge: Callable[[Any, Tensor], Tensor] | None = None

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
        if self.judge is None:
            return params
        pairs = zip(state.tolist(), params, strict=True)
        return torch.stack([self.judge(_live[number], weights) for number, weights in pairs])


def prodigy(lr: float = 1.0) -> Packaged:
    """Prodigy, which estimates the distance to the solution; 1 is its package's default for `lr`.

    References: Mishchenko and Defazio (2024) [mishchenko2024prodigy].
    """
    return Packaged(partial(_make, "prodigyopt", "Prodigy", lr))


def dadapt_adam(lr: float = 1.0) -> Packaged:
    """Adam with D-Adaptation; 1 is its package's default for `lr`.

    References: Defazio and Mishchenko (2023) [defazio2023learning].
    """
    return Packaged(partial(_make, "dadaptation", "DAdaptAdam", lr))


def schedule_free_sgd(lr: float) -> Packaged:
    """Schedule-Free SGD, judged at its averaged weights, as its package has it.

    References: Defazio et al. (2024) [defazio2024road].
    """
    return Packaged(partial(_make, "schedulefree", "SGDScheduleFree", lr), _schedule_free_average)


def schedule_free_adamw(lr: float) -> Packaged:
    """Schedule-Free AdamW, judged at its averaged weights, as its package has it."""
    return Packaged(partial(_make, "schedulefree", "AdamWScheduleFree", lr), _schedule_free_average)


def dog(lr: float = 1.0) -> Packaged:
    """DoG, distance over gradients, judged at the polynomial average that its package recommends.

    References: Ivgi, Hinder and Carmon (2023) [ivgi2023dog].
    """
    return Packaged(partial(_make_dog, lr), _dog_average)


_DISTRIBUTIONS = {"dog": "dog-optimizer"}


def _optimizer(package: str, name: str) -> Any:
    try:
        return getattr(import_module(package), name)
    except ModuleNotFoundError as fault:
        distribution = _DISTRIBUTIONS.get(package, package)
        raise ValueError(f"{name} needs the package {distribution}; pip install {distribution}.") from fault


def _make(package: str, name: str, lr: float, params: list[nn.Parameter]) -> Optimizer:
    optimizer = _optimizer(package, name)(params, lr=lr)
    if package == "schedulefree":
        optimizer.train()
    return optimizer


def _schedule_free_average(optimizer: Any, weights: Tensor) -> Tensor:
    """What `optimizer.eval()` would turn `weights` into."""
    group = optimizer.param_groups[0]
    momentum = group["momentum"] if "momentum" in group else group["betas"][0]
    state = optimizer.state[group["params"][0]]
    return weights.lerp(state["z"], 1 - 1 / momentum) if "z" in state else weights


def _make_dog(lr: float, params: list[nn.Parameter]) -> Optimizer:
    optimizer = _optimizer("dog", "DoG")(params, lr=lr)
    optimizer.averager = _optimizer("dog", "PolynomialDecayAverager")(nn.ParameterList(params))
    optimizer.register_step_post_hook(lambda *_: optimizer.averager.step())
    return optimizer


def _dog_average(optimizer: Any, weights: Tensor) -> Tensor:
    (average,) = optimizer.averager.averaged_model.parameters()
    return average.detach()
