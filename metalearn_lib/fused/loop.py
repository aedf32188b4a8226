"""The inner loop at a learned rate, or a constant one, as one C++ function, for where a compiler is found."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import cast

import torch
from torch import Tensor

from metalearn_lib.cores import one_thread
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.adam_layer_rates import AdamLayerRates
from metalearn_lib.directions.base import Direction
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.layer_rates import LayerRates
from metalearn_lib.directions.learned_update import (
    CENTRES,
    EPS,
    GROWN,
    LARGEST,
    MAGNITUDE,
    MEANS,
    SMALLEST,
    SQUARES,
    LearnedUpdate,
)
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.fused.compile import Compiled, integers
from metalearn_lib.fused.learner import Fused, fits, shape_of
from metalearn_lib.inner_loop import InnerLoop, InnerState, Instances
from metalearn_lib.inputs.base import Input
from metalearn_lib.inputs.grad_trend import GradTrend
from metalearn_lib.inputs.log_grad_norm import LogGradNorm
from metalearn_lib.inputs.log_loss import LogLoss
from metalearn_lib.inputs.log_lr import LogLr
from metalearn_lib.inputs.log_weight_norm import LogWeightNorm
from metalearn_lib.inputs.loss_noise import LossNoise
from metalearn_lib.inputs.loss_trend_fast import LossTrendFast
from metalearn_lib.inputs.loss_trend_slow import LossTrendSlow
from metalearn_lib.meta_optimizer import MEMORY_DECAYS, MetaOptimizer
from metalearn_lib.monitor import LOG_LIMIT, Monitor
from metalearn_lib.rates.base import Rate
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LOG_SCALE_LIMIT, LearnedRate
from metalearn_lib.trees import leaves, tree_map
from metalearn_lib.types import Info

_DIRECTIONS: tuple[type[Direction], ...] = (
    Gradient,
    Momentum,
    Adam,
    LayerRates,
    LearnedUpdate,
    AdamLayerRates,
)
"""As `Direction` in loop.cpp."""
INPUTS: tuple[type[Input], ...] = (
    LogLr,
    LogLoss,
    LogGradNorm,
    LogWeightNorm,
    LossTrendFast,
    LossTrendSlow,
    GradTrend,
    LossNoise,
)
"""As `watch` in loop.cpp tells them."""
UNROLL = Compiled("loop.cpp", "unroll", "pi pi pl pii iiii pll p")


class FusedLoop(InnerLoop):
    """The same loop, whose `unroll` is one C++ function where a `Fused` learner is trained at a `LearnedRate` or
    a `Constant`.

    It takes the tasks one after another, each through all the steps, so that a task's points and weights stay in the
    core's nearest caches; a loop over steps brings those of all tasks anew at every step. Answers are those of
    `InnerLoop`, to rounding. It is `InnerLoop` where a compiler is missing, where the direction is none of
    `_DIRECTIONS` or an input none of `INPUTS`, and where answers are to be differentiated or are not float32 on the
    CPU.
    """

    @one_thread()
    def unroll(
        self, instances: Instances, state: InnerState | None = None, start: int = 0, stop: int | None = None
    ) -> tuple[InnerState, Info]:
        order, function = instances.order[:, start:stop].contiguous(), UNROLL.function
        if function is None or not order.numel() or not self.holds:
            return super().unroll(instances, state, start, stop)
        state = self.init(instances.params) if state is None else state
        if not self._fits(state, instances):
            return super().unroll(instances, state, start, stop)
        learner, table = cast("Fused", self.learner), instances.table
        after = tree_map(lambda leaf: leaf.clone(memory_format=torch.contiguous_format), state)
        info = Info(*state.params.new_empty(len(Info._fields), len(state.params), order.shape[1]))
        function(
            *floats([after.params, *_of_rate(after), *leaves((after.monitor, after.direction))]),
            *floats(info),
            ctypes.byref(made_rule(self.rate, self.monitor, self.direction)),
            ctypes.sizeof(Rule),
            *(*shape_of(learner.mlp), len(state.params), *order.shape),
            *(table.data_ptr(), *table.shape, order.data_ptr()),
        )
        return after, info

    @property
    def holds(self) -> bool:
        """Whether the C++ function is of such a learner, rate, direction and monitor."""
        inputs = self.rate.meta_optimizer.inputs if isinstance(self.rate, LearnedRate) else ()
        return (
            (type(self.learner), type(self.monitor)) == (Fused, Monitor)
            and type(self.rate) in (LearnedRate, Constant)
            and type(self.direction) in _DIRECTIONS
            and {type(each) for each in inputs} <= set(INPUTS)
        )

    def _fits(self, state: InnerState, instances: Instances) -> bool:
        """Whether it can read these numbers; what has another shape is left to PyTorch to refuse."""
        learner = cast("Fused", self.learner)
        sizes = [(state.params, learner.num_params)]
        if isinstance(self.rate, LearnedRate):
            sizes.append((state.rate.theta, self.rate.meta_optimizer.num_theta))
        sizes.append((instances.table, learner.mlp.sizes[0] + learner.mlp.sizes[-1]))
        if isinstance(self.direction, LayerRates | LearnedUpdate):
            network = self.direction.network(self.direction.hidden)
            sizes.append((state.direction.theta, network.num_theta))
        return (
            all(each.shape[1] == width for each, width in sizes)
            and instances.table.is_contiguous()
            and instances.order.dtype == torch.int64
            and fits(instances.table, *leaves(state))
        )


def _of_rate(state: InnerState) -> list[Tensor]:
    """What loop.cpp has of a rate; of a constant one there is neither theta nor memory, and a log scale of 0."""
    if isinstance(state.rate, Tensor):
        nothing = state.rate.new_zeros(len(state.rate), 0)
        return [nothing, state.rate, torch.zeros_like(state.rate), nothing]
    return leaves(state.rate)


class _Network(ctypes.Structure):
    """As `Network` in loop.cpp."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("hidden", "num_inputs", "num_memories", "num_theta")),
        ("inputs", ctypes.POINTER(ctypes.c_int)),
        *((name, ctypes.POINTER(ctypes.c_float)) for name in ("centre", "spread", "memory_decay")),
        ("bound", ctypes.c_float),
    )


class _Update(ctypes.Structure):
    """As `Update` in loop.cpp."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("hidden", "num_theta", "num_tensors")),
        *((name, ctypes.POINTER(ctypes.c_int)) for name in ("sizes", "fans")),
        *(("mean_decay", ctypes.c_float * len(MEANS)), ("square_decay", ctypes.c_float * len(SQUARES))),
        *((name, ctypes.c_float) for name in ("eps", "largest", "magnitude", "smallest", "grown")),
        ("centre", ctypes.c_float * len(CENTRES)),
    )


class Rule(ctypes.Structure):
    """As `Rule` in loop.cpp."""

    _fields_ = (
        *((name, _Network) for name in ("of_rate", "of_layer")),
        *((name, ctypes.c_float) for name in ("fast_decay", "slow_decay", "layer_decay")),
        *((name, ctypes.c_float) for name in ("log_limit", "log_scale_limit")),
        ("direction", ctypes.c_int),
        *((name, ctypes.c_float) for name in ("decay", "square_decay", "eps")),
        ("layers", ctypes.POINTER(ctypes.c_int)),
        ("num_layers", ctypes.c_int),
        ("scale_limit", ctypes.c_float),
        ("update", _Update),
    )


def made_rule(
    rate: Rate, monitor: Monitor, direction: Direction, told: tuple[type[Input], ...] = INPUTS
) -> Rule:
    """As C++ has it.

    Args:
        told: what its meta-optimizer could be, in C++'s order.
    """
    rule = Rule(fast_decay=monitor.fast, slow_decay=monitor.slow)
    if isinstance(rate, LearnedRate):
        rule.of_rate = _network(rate.meta_optimizer, told)
    rule.log_limit, rule.log_scale_limit = LOG_LIMIT, LOG_SCALE_LIMIT
    rule.direction = _DIRECTIONS.index(type(direction))
    match direction:
        case LayerRates():
            rule.of_layer = _network(direction.network(direction.hidden))
            rule.layers = integers(direction.layers)
            rule.num_layers, rule.scale_limit, rule.layer_decay = (
                len(direction.layers),
                direction.limits[1],
                Monitor.fast,
            )
        case LearnedUpdate():
            sizes, fans = zip(*direction.tensors, strict=True)
            rule.update = _Update(
                *(direction.hidden, direction.network(direction.hidden).num_theta, len(sizes)),
                *(integers(sizes), integers(fans)),
                *((ctypes.c_float * len(each))(*each) for each in (MEANS, SQUARES)),
                *(EPS, LARGEST, MAGNITUDE, SMALLEST, GROWN, (ctypes.c_float * len(CENTRES))(*CENTRES)),
            )
        case Momentum():
            rule.decay = direction.beta
    adam = Adam() if isinstance(direction, AdamLayerRates) else direction
    if isinstance(adam, Adam):
        rule.decay, rule.square_decay, rule.eps = adam.beta1, adam.beta2, adam.eps
    return rule


@cache
def _network(meta_optimizer: MetaOptimizer, told: tuple[type[Input], ...] = INPUTS) -> _Network:
    """As C++ has it; its inputs are places in what it is `told`."""
    places = [told.index(type(each)) for each in meta_optimizer.inputs]
    lists = *meta_optimizer.scaling.tolist(), MEMORY_DECAYS
    return _Network(
        *(meta_optimizer.hidden, len(places), len(MEMORY_DECAYS), meta_optimizer.num_theta),
        integers(places),
        *((ctypes.c_float * len(each))(*each) for each in lists),
        meta_optimizer.bound,
    )


class _Floats(ctypes.Structure):
    """As `Floats` in loop.cpp."""

    _fields_ = (("at", ctypes.c_void_p), ("count", ctypes.c_int64))


def floats(tensors: Sequence[Tensor]) -> tuple[ctypes.Array[_Floats], int]:
    each = [(tensor.data_ptr(), tensor.numel()) for tensor in tensors]
    return (_Floats * len(each))(*each), len(each)
