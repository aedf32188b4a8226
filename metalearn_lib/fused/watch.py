"""One step of a monitor and a learned rate as one C++ function, for where a compiler is found."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.fused.compile import Compiled
from metalearn_lib.fused.loop import INPUTS, Rule, floats, made_rule
from metalearn_lib.inputs.base import Input
from metalearn_lib.inputs.elasticity import Elasticity
from metalearn_lib.inputs.log_steps import LogSteps
from metalearn_lib.inputs.loss_trend_slowest import SLOWEST, LossTrendSlowest
from metalearn_lib.inputs.relative_sign_step import RelativeSignStep
from metalearn_lib.inputs.relative_step import RelativeStep
from metalearn_lib.monitor import Monitor, MonitorState
from metalearn_lib.rates.learned import LearnedRate, LearnedRateState
from metalearn_lib.trees import leaves

DECIDE = Compiled("watch.cpp", "decide", "pi pl pl pp")

Decide = Callable[[float, float, float, float], float]
"""Of a step's loss, gradient norm, weight norm and base rate: it moves the states, and says how far the furthest input
lies from the middle of where it has been in meta-training, over how far that reaches."""

_WATCHED: tuple[type[Input], ...] = (
    *INPUTS,
    *(RelativeStep, RelativeSignStep, Elasticity, LogSteps, LossTrendSlowest),
)
"""As `see` and `Beyond` in C++ tell them."""


class _Own(ctypes.Structure):
    """As `Own` in watch.cpp."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("log_root_count", "steps", "slowest", "slowest_steps")),
        ("slowest_decay", ctypes.c_float),
        *((name, ctypes.POINTER(ctypes.c_float)) for name in ("middle", "reach")),
    )


def decider(
    rate: LearnedRate, monitor: Monitor, state: LearnedRateState, seen: MonitorState, been: Tensor
) -> Decide:
    """What moves these states in place, step by step; without a compiler, or for inputs that C++ does not know, in
    PyTorch, with the same answers to rounding.

    Args:
        state, seen: of one run, float32 on the CPU; what is returned holds on to their tensors.
        been: the middle of where each input has been in meta-training, and how far that reaches, in spreads
            `(2, inputs)`.
    """
    tensors = [torch.empty(0), *state[:4], *seen]
    known = {type(each) for each in rate.meta_optimizer.inputs} <= set(_WATCHED)
    if not known or DECIDE.function is None or not all(each.is_contiguous() for each in tensors):
        return _in_pytorch(rate, monitor, state, seen, been)
    function, parts = DECIDE.function, floats(tensors)
    rule, shown = made_rule(rate, monitor, Gradient(), _WATCHED), (ctypes.c_float * 3)()
    own, furthest = _own(rate, state, been), ctypes.c_float()
    base_lr = (ctypes.c_float * 1).from_address(state.base_lr.data_ptr())

    def decide(loss: float, grad_norm: float, weight_norm: float, lr: float) -> float:
        assert tensors  # they live as long as their addresses are in use
        shown[:], base_lr[0] = (loss, grad_norm, weight_norm), lr
        sizes = ctypes.sizeof(Rule), ctypes.sizeof(_Own)
        function(
            *parts, ctypes.byref(rule), sizes[0], ctypes.byref(own), sizes[1], shown, ctypes.byref(furthest)
        )
        return furthest.value

    return decide


def _own(rate: LearnedRate, state: LearnedRateState, been: Tensor) -> _Own:
    kept: dict[type[Input], Any] = {
        type(each): own for each, own in zip(rate.meta_optimizer.inputs, state.inputs, strict=True)
    }
    tensors = [
        kept.get(RelativeSignStep, torch.zeros(1)),
        kept.get(LogSteps, torch.zeros(1)),
        *kept.get(LossTrendSlowest, (torch.zeros(1), torch.zeros(1))),
    ]
    lists = [(ctypes.c_float * len(each))(*each) for each in been.tolist()]
    own = _Own(*(each.data_ptr() for each in tensors), SLOWEST, *lists)
    own.tensors = tensors  # type: ignore[attr-defined]
    return own


def _in_pytorch(
    rate: LearnedRate, monitor: Monitor, state: LearnedRateState, seen: MonitorState, been: Tensor
) -> Decide:
    middle, reach = been

    def decide(loss: float, grad_norm: float, weight_norm: float, lr: float) -> float:
        state.base_lr.fill_(lr)
        norms = (torch.tensor([[norm]]) for norm in (grad_norm, weight_norm))
        observation, after = monitor(seen, torch.tensor([loss]), *norms)
        told, moved = rate.told(state, observation)
        change, moved = rate.answer(told, moved)
        _, moved = rate.apply(moved, change)
        for own, new in zip(leaves((state, seen)), leaves((moved, after)), strict=True):
            if own is not state.theta:
                own.copy_(new)
        return float(((told - middle) / reach).abs().max())

    return decide
