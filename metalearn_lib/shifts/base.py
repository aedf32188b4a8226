"""What every shift is: a family in, a shifted family out, with a severity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator

from metalearn_lib.tasks import TaskFamily
from metalearn_lib.types import Task


class Wrapped(TaskFamily):
    """A family made from another, and of its shape."""

    family: TaskFamily

    @property
    def num_features(self) -> int:  # type: ignore[override]
        return self.family.num_features

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return self.family.num_classes

    @property
    def num_points(self) -> int:  # type: ignore[override]
        return self.family.num_points


@dataclass(frozen=True)
class Shift(Wrapped):
    """A family whose tasks are changed, each by one draw.

    Raises:
        ValueError: for a severity outside `[lowest, highest]`, or a fraction where only whole numbers mean something.
    """

    family: TaskFamily
    severity: float

    lowest: ClassVar[float]
    highest: ClassVar[float]
    identity: ClassVar[float]
    """the severity at which the shift changes nothing"""
    unit: ClassVar[str]
    whole: ClassVar[bool] = False
    """whether the severity is a count"""

    def __post_init__(self) -> None:
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()
        if not self.lowest <= self.severity <= self.highest:
            raise ValueError(
                f"severity={self.severity!r} is out of range for the shift {name!r}: it must lie in "
                f"[{self.lowest:g}, {self.highest:g}] ({self.unit}); {self.identity:g} changes nothing."
            )
        if self.whole and self.severity != int(self.severity):
            raise ValueError(
                f"severity={self.severity!r} of the shift {name!r} is a count ({self.unit}); use a whole number."
            )

    def sample(self, generator: Generator) -> Task:
        return self.apply(self.family.sample(generator), generator)

    def apply(self, task: Task, generator: Generator) -> Task:
        """The shifted task; every random number comes from `generator`, after those of the task.

        A shift of how its family is drawn overrides `sample` instead.
        """
        return task
