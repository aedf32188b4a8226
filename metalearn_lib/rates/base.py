"""What every rate is: an observation in, a learning rate out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.registry import Named


class Rate(Named, ABC):
    """Observation in, learning rate `(tasks,)` out.

    The first field of a rule that can be tuned is its rate.
    """

    colour: ClassVar[str] = ""
    """what figures draw it in; none is one that they choose"""
    rival: ClassVar[bool] = True
    """whether it can be put to a task by its name alone"""
    number: ClassVar[str] = ""
    """the field that is tuned beside the rate, if there is one"""
    tried: ClassVar[tuple[float, ...]] = (0.0,)
    """what tuning tries for `number`"""
    open_ended: ClassVar[bool] = False
    """whether the rate is a bound, which may as well be infinite"""

    @abstractmethod
    def init(self, params: Tensor) -> Any:
        """The state before the first step: a tree of tensors with a leading axis of tasks."""

    @abstractmethod
    def __call__(self, state: Any, observation: Observation) -> tuple[Tensor, Any]:
        """The learning rate of this step, and the state for the next."""


class ClockState(NamedTuple):
    """The rate at the start, and the steps taken; each `(tasks,)`."""

    lr: Tensor
    num_steps: Tensor


def per_task(value: float | Tensor, params: Tensor) -> Tensor:
    """`value` as `(tasks,)` in the type of `params`."""
    return torch.as_tensor(value, dtype=params.dtype, device=params.device).expand(len(params))
