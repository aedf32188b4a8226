"""What every direction is: an update is `params - lr * direction`; a direction knows no rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from metalearn_lib.learners import Learner
from metalearn_lib.registry import Named


class Direction(Named, ABC):
    """Gradient and weights in, direction out, with a state of moments; all tensors `(tasks, weights)`."""

    colour: ClassVar[str] = ""
    """what figures draw it in; none is one that they choose"""
    rival: ClassVar[bool] = True
    """whether it can be put to a task by its name alone"""
    number: ClassVar[str] = ""
    """the field that is tuned beside the rate, if there is one"""
    tried: ClassVar[tuple[float, ...]] = (0.0,)
    """what tuning tries for `number`"""
    carries_rate: ClassVar[bool] = False
    """whether its first field is a rate, which is tuned in the place of one beside it"""
    needs_tuning: ClassVar[bool] = True
    """false for one that claims to need none: by its plain name it runs at its defaults"""

    base_lr: ClassVar[float | None] = None
    """the constant rate tuned on task A, where meta-training centres its base rates; none where it learns none"""

    def of(self, learner: Learner) -> Direction:
        """The direction for this learner; most are the same for all."""
        return self

    def init(self, params: Tensor) -> Any:
        """The state before the first step: a tree of tensors with a leading axis of tasks."""
        return ()

    @abstractmethod
    def __call__(self, state: Any, grad: Tensor, params: Tensor) -> tuple[Tensor, Any]:
        """The direction of this step at weights `params`, and the state for the next."""

    def judged(self, state: Any, params: Tensor) -> Tensor:
        """The weights that count: `params` themselves, but for a method that averages its iterates."""
        return params
