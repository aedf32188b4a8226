"""What every shift is: a family in, a shifted family out, with a severity.

Inputs are in standard deviations of the family that was shifted, and stay so: preprocessing is frozen from task A, as
in a deployed pipeline. A shift draws after its family has drawn, so one seed gives the same points before every shift
that does not change how they are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
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
    symbol: ClassVar[str] = ""
    """the unit in short; see `told`"""
    stops: ClassVar[tuple[float, ...]] = ()
    """severities at which sliders stop; none for a shift that no slider is made for"""
    reshapes: ClassVar[bool] = False
    """whether its tasks have another number of features or classes"""
    drawable: ClassVar[bool] = True
    """whether meta-training may draw it for task A"""

    def __post_init__(self) -> None:
        if not self.lowest <= self.severity <= self.highest:
            raise ValueError(
                f"severity={self.severity!r} is out of range for the shift {self.name!r}: it must lie in "
                f"[{self.lowest:g}, {self.highest:g}] ({self.unit}); {self.identity:g} changes nothing."
            )
        if self.whole and self.severity != int(self.severity):
            raise ValueError(
                f"severity={self.severity!r} of the shift {self.name!r} is a count ({self.unit}); use a whole number."
            )

    @classmethod
    def told(cls, severity: float) -> str:
        """A severity with its unit in short, as "4 sd" or "× 1/4"."""
        if cls.symbol == "×":
            return f"× 1/{1 / severity:.4g}" if severity < 1 else f"× {severity:.4g}"
        return f"{severity:.4g}{'' if cls.symbol in ('', '°') else ' '}{cls.symbol}"

    @classmethod
    def severity_at(cls, u: float) -> float:
        """The severity that `u` in [0, 1) picks, for meta-training over many: evenly from no effect to the greatest."""
        return cls.identity + (cls.highest - cls.identity) * u

    @classmethod
    def drawn(cls, family: TaskFamily, u: float) -> TaskFamily:
        return cls(family, cls.severity_at(u))

    def sample(self, generator: Generator) -> Task:
        return self.apply(self.family.sample(generator), generator)

    def apply(self, task: Task, generator: Generator) -> Task:
        """The shifted task; every random number comes from `generator`, after those of the task.

        A shift of how its family is drawn overrides `sample` instead.
        """
        return task


def mapped(task: Task, matrix: Tensor, offset: Tensor) -> Task:
    """The task with every input `x` at `x @ matrix + offset`."""
    return task._replace(x=task.x @ matrix + offset, x_test=task.x_test @ matrix + offset)


def stretch(severity: float, num_features: int) -> Tensor:
    half = torch.as_tensor(severity, dtype=torch.float64).log() / 2
    return torch.linspace(-half, half, num_features).exp()


def mixture_of(family: object, name: str) -> GaussianMixture:
    if not isinstance(family, GaussianMixture):
        raise ValueError(
            f"the shift {name!r} changes how a GaussianMixture is drawn, and this is {type(family).__name__}; put it "
            "inside other shifts, next to the mixture."
        )
    return family
