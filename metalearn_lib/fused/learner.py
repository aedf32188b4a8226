"""The MLP's loss and gradient as one C++ function, for where a compiler is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.library
from torch import Generator, Tensor

from metalearn_lib.fused.compile import Compiled, integers
from metalearn_lib.learners import MLP, Batch, Learner

LOSS_AND_GRAD = Compiled("gradient.cpp", "loss_and_grad", "pl pp pii iiiii pll pll")


def fuse(mlp: MLP) -> Learner:
    """The same learner with its gradient in one C++ function; or `mlp` itself where there is no C++ compiler (`CXX`, or
    else `g++`) that makes it.
    """
    return Fused(mlp) if LOSS_AND_GRAD.function is not None else mlp


_ACTIVATIONS = ("", "relu", "tanh")
"""As `Activation` in gradient.cpp."""


def shape_of(mlp: MLP) -> tuple[Any, int, int]:
    """Widths, how many, and the activation, as both C++ functions are told them."""
    return integers(mlp.sizes), len(mlp.sizes), _ACTIVATIONS.index(mlp.activation)


@dataclass(frozen=True)
class Fused(Learner):
    """An MLP whose loss and gradient are computed a task at a time: what a task needs lies in the nearest cache, and a
    step of many tasks is one call.

    Answers are those of `mlp`, to rounding. Where they are to be differentiated, or are not float32 on the CPU, `mlp`
    computes them. `fuse` makes one.

    Args:
        mlp: the network.
    """

    mlp: MLP

    @property
    def num_params(self) -> int:  # type: ignore[override]
        return self.mlp.num_params

    def init(self, generator: Generator) -> Tensor:
        return self.mlp.init(generator)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        return self.mlp.logits(params, x)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        if torch.compiler.is_compiling() or not fits(params, *batch):
            return self.mlp.loss(params, batch)
        return _call(params, batch.x, batch.target, self.mlp, None)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if not fits(params, *batch):
            return self.mlp.loss_and_grad(params, batch)
        # a custom operation costs the dispatcher as much as a small network's gradient
        call = _traced if torch.compiler.is_compiling() else _loss_and_grad
        return call(params, batch.x, batch.target, list(self.mlp.sizes), self.mlp.activation)


def fits(*tensors: Tensor) -> bool:
    return all(
        not each.requires_grad and each.dtype == torch.float32 and each.device.type == "cpu"
        for each in tensors
    )


def _call(params: Tensor, x: Tensor, target: Tensor, mlp: MLP, grad: Tensor | None) -> Tensor:
    """The loss of each task, with its gradient written to `grad`, where there is one."""
    assert LOSS_AND_GRAD.function is not None
    params = params.contiguous()
    x, target = (each if each.stride(2) == 1 else each.contiguous() for each in (x, target))
    if x.shape[:2] != target.shape[:2]:
        raise ValueError(
            f"inputs {tuple(x.shape)} and targets {tuple(target.shape)} must be of the same tasks and points."
        )
    loss = params.new_empty(len(params))
    LOSS_AND_GRAD.function(
        *(params.data_ptr(), params.shape[1]),
        None if grad is None else grad.data_ptr(),
        loss.data_ptr(),
        *(*shape_of(mlp), len(params), *x.shape[:2], x.shape[2], target.shape[2]),
        *(x.data_ptr(), *x.stride()[:2]),
        *(target.data_ptr(), *target.stride()[:2]),
    )
    return loss


def _loss_and_grad(
    params: Tensor, x: Tensor, target: Tensor, sizes: list[int], activation: str
) -> tuple[Tensor, Tensor]:
    grad = params.new_empty(params.shape)
    return _call(params, x, target, MLP(tuple(sizes), activation), grad), grad


_traced = torch.library.custom_op("metalearn_lib::loss_and_grad", _loss_and_grad, mutates_args=())


@_traced.register_fake
def _(params: Tensor, x: Tensor, target: Tensor, sizes: list[int], activation: str) -> tuple[Tensor, Tensor]:
    return params.new_empty(len(params)), params.new_empty(params.shape)
