"""One step of a monitor and a learned rate as one C++ function, for where a compiler is found."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.fused.compile import Compiled
from metalearn_lib.fused.loop import _INPUTS, _floats, _Rule, _rule
from metalearn_lib.monitor import Monitor, MonitorState
from metalearn_lib.rates.learned import LearnedRate, LearnedRateState
from metalearn_lib.trees import leaves

DECIDE = Compiled("watch.cpp", "decide", "pi pl pp")

Decide = Callable[[float, float, float, float], float]
"""Of a step's loss, gradient norm, weight norm and base rate: it moves the states, and says how far the furthest input
lies from its centre, in spreads."""


def decider(rate: LearnedRate, monitor: Monitor, state: LearnedRateState, seen: MonitorState) -> Decide:
    """What moves these states in place, step by step; without a compiler, or for inputs that C++ does not know, in
    PyTorch, with the same answers to rounding.

    Args:
        state, seen: of one run, float32 on the CPU; what is returned holds on to their tensors.
    """
    tensors = [torch.empty(0), *state[:4], *seen]
    known = {type(each) for each in rate.meta_optimizer.inputs} <= set(_INPUTS)
    if not known or DECIDE.function is None or not all(each.is_contiguous() for each in tensors):
        return _in_pytorch(rate, monitor, state, seen)
    function, parts = DECIDE.function, _floats(tensors)
    rule, shown, furthest = _rule(rate, monitor, Gradient()), (ctypes.c_float * 3)(), ctypes.c_float()
    base_lr = (ctypes.c_float * 1).from_address(state.base_lr.data_ptr())

    def decide(loss: float, grad_norm: float, weight_norm: float, lr: float) -> float:
        assert tensors  # they live as long as their addresses are in use
        shown[:], base_lr[0] = (loss, grad_norm, weight_norm), lr
        function(*parts, ctypes.byref(rule), ctypes.sizeof(_Rule), shown, ctypes.byref(furthest))
        return furthest.value

    return decide


def _in_pytorch(rate: LearnedRate, monitor: Monitor, state: LearnedRateState, seen: MonitorState) -> Decide:
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
        return float(told.abs().max())

    return decide
