"""The MLP's loss and gradient as one C++ function, for where a compiler is found."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import torch.library
from torch import Generator, Tensor

from metalearn_lib.fused.compile import compiled
from metalearn_lib.learners import MLP, Batch, Learner

_SOURCE = Path(__file__).with_name("gradient.cpp")


def fuse(mlp: MLP) -> Learner:
    """The same learner with its gradient in one C++ function; or `mlp` itself, for hyperbolic tangents and where there
    is no C++ compiler (`CXX`, or else `g++`) that makes it.
    """
    return Fused(mlp) if mlp.activation == "relu" and _library() is not None else mlp


@dataclass(frozen=True)
class Fused(Learner):
    """An MLP whose loss and gradient are computed a task at a time: what a task needs lies in the nearest cache, and a
    step of many tasks is one call.

    Answers are those of `mlp`, to rounding. Where they are to be differentiated, or are not float32 on the CPU, `mlp`
    computes them. `fuse` makes one.

    Args:
        mlp: the network; its activation is the rectifier.
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
        if torch.compiler.is_compiling() or not fits(params):
            return self.mlp.loss(params, batch)
        return _call(params, batch.x, batch.target, self.mlp.sizes, None)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if not fits(params):
            return self.mlp.loss_and_grad(params, batch)
        # a custom operation costs the dispatcher as much as a small network's gradient
        call = _traced if torch.compiler.is_compiling() else _loss_and_grad
        return call(params, batch.x, batch.target, list(self.mlp.sizes))


def fits(params: Tensor) -> bool:
    return not params.requires_grad and params.dtype == torch.float32 and params.device.type == "cpu"


def _call(params: Tensor, x: Tensor, target: Tensor, sizes: Sequence[int], grad: Tensor | None) -> Tensor:
    """The loss of each task, with its gradient written to `grad`, where there is one."""
    library = _library()
    assert library is not None
    params = params.contiguous()
    x, target = (each if each.stride(2) == 1 else each.contiguous() for each in (x, target))
    loss = params.new_empty(len(params))
    library.loss_and_grad(
        params.data_ptr(),
        None if grad is None else grad.data_ptr(),
        loss.data_ptr(),
        (ctypes.c_int * len(sizes))(*sizes),
        *(len(sizes), len(params), *x.shape[:2]),
        *(x.data_ptr(), *x.stride()[:2]),
        *(target.data_ptr(), *target.stride()[:2]),
    )
    return loss


def _loss_and_grad(params: Tensor, x: Tensor, target: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    grad = params.new_empty(params.shape)
    return _call(params, x, target, sizes, grad), grad


_traced = torch.library.custom_op("metalearn_lib::loss_and_grad", _loss_and_grad, mutates_args=())


@_traced.register_fake
def _(params: Tensor, x: Tensor, target: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    return params.new_empty(len(params)), params.new_empty(params.shape)


@cache
def _library() -> ctypes.CDLL | None:
    library = compiled(_SOURCE)
    if library is not None:
        floats, strides, counts = ctypes.c_void_p, [ctypes.c_int64] * 2, [ctypes.c_int] * 4
        library.loss_and_grad.restype = None
        library.loss_and_grad.argtypes = [
            *[floats] * 3,
            ctypes.POINTER(ctypes.c_int),
            *counts,
            floats,
            *strides,
            floats,
            *strides,
        ]
    return library
