"""What every input of the meta-optimizer is: an observation in, a number of each task out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.registry import Named


@dataclass(frozen=True)
class Input(Named, ABC):
    """One number of each task, which the meta-optimizer sees as `(value - centre) / spread`.

    It can be made without arguments: a card keeps its name alone.
    """

    centre: ClassVar[float] = 0.0
    """about where it lies while plain SGD trains on task A; it only brings the input near unit size"""
    spread: ClassVar[float] = 1.0
    """how far from there it may be expected where base rates and tasks differ: a round number, and no measurement"""
    guarded: ClassVar[bool] = True
    """whether one should be wary where it lies elsewhere than in meta-training; time goes on for everybody"""
    unit: ClassVar[str] = "nats"
    default: ClassVar[bool] = False
    """whether a meta-optimizer sees it that is not told otherwise; old cards name what they see"""

    def init(self, params: Tensor) -> Any:
        """The state before the first step: a tree of tensors with a leading axis of tasks."""
        return ()

    @abstractmethod
    def __call__(self, state: Any, observation: Observation, log_lr: Tensor) -> tuple[Tensor, Any]:
        """The value of this step `(tasks,)`, and the state for the next.

        Args:
            log_lr: logarithm of the rate now in force `(tasks,)`.
        """
