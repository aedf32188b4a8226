"""Rates: how long a step is, one number per task. The learned rate, in `meta_optimizers`, is a sibling of these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metalearn_lib.monitor import Observation


class Rate(ABC):
    """Observation in, learning rate `(tasks,)` out."""

    @abstractmethod
    def init(self, params: Tensor) -> Any:
        """The state before the first step: a tree of tensors with a leading axis of tasks."""

    @abstractmethod
    def __call__(self, state: Any, observation: Observation) -> tuple[Tensor, Any]:
        """The learning rate of this step, and the state for the next."""


@dataclass(frozen=True)
class Constant(Rate):
    """The same rate at every step.

    Args:
        lr: the rate; a number, or `(tasks,)` for one of each task's own.
    """

    lr: float | Tensor

    def init(self, params: Tensor) -> Tensor:
        return per_task(self.lr, params)

    def __call__(self, state: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        return state, state


def per_task(value: float | Tensor, params: Tensor) -> Tensor:
    """`value` as `(tasks,)` in the type of `params`."""
    return torch.as_tensor(value, dtype=params.dtype, device=params.device).expand(len(params))
