"""Shifts: a family in, a shifted family out, with a severity that is zero-effect at one end of its range.

Inputs are in standard deviations of the family that was shifted, and stay so: preprocessing is frozen from task A, as
in a deployed pipeline. A shift draws after its family has drawn, so one seed gives the same points before every shift.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

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
    """A family whose inputs pass through one transformation per task.

    Raises:
        ValueError: for a severity outside `[lowest, highest]`.
    """

    family: TaskFamily
    severity: float

    lowest: ClassVar[float]
    highest: ClassVar[float]
    identity: ClassVar[float]
    """the severity at which the shift changes nothing"""
    unit: ClassVar[str]

    def __post_init__(self) -> None:
        if not self.lowest <= self.severity <= self.highest:
            name = type(self).__name__.lower()
            raise ValueError(
                f"severity={self.severity!r} is out of range for the shift {name!r}: it must lie in "
                f"[{self.lowest:g}, {self.highest:g}] ({self.unit}); {self.identity:g} changes nothing."
            )

    @abstractmethod
    def draw(self, num_features: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """The matrix `(features, features)` and offset `(features,)` of one task's map `x -> x @ matrix + offset`."""

    def sample(self, generator: Generator) -> Task:
        task = self.family.sample(generator)
        matrix, offset = self.draw(self.num_features, generator)
        return task._replace(x=task.x @ matrix + offset, x_test=task.x_test @ matrix + offset)


class Translate(Shift):
    """Move every point by `severity` standard deviations in one random direction: `x + severity u`, `|u| = 1`."""

    lowest, highest, identity, unit = 0.0, 64.0, 0.0, "standard deviations of task A's inputs"

    def draw(self, num_features: int, generator: Generator) -> tuple[Tensor, Tensor]:
        direction = torch.randn(num_features, generator=generator)
        return torch.eye(num_features), self.severity * direction / direction.norm()


class Scale(Shift):
    """Multiply every input by `severity`: other units, or an un-normalised sensor."""

    lowest, highest, identity, unit = 1 / 64, 64.0, 1.0, "a factor on task A's inputs"

    def draw(self, num_features: int, generator: Generator) -> tuple[Tensor, Tensor]:
        return self.severity * torch.eye(num_features), torch.zeros(num_features)


class Anisotropy(Shift):
    """Stretch along random orthogonal axes, the longest `severity` times the shortest, the volume unchanged.

    x -> x Q diag(s) Q',   s log-spaced from severity^-1/2 to severity^1/2
    """

    lowest, highest, identity, unit = 1.0, 4096.0, 1.0, "longest axis over shortest"

    def draw(self, num_features: int, generator: Generator) -> tuple[Tensor, Tensor]:
        axes, _ = torch.linalg.qr(torch.randn(num_features, num_features, generator=generator))
        half = torch.as_tensor(self.severity, dtype=torch.float64).log() / 2
        stretch = torch.linspace(-half, half, num_features).exp()
        return axes * stretch @ axes.T, torch.zeros(num_features)


SHIFTS: dict[str, type[Shift]] = {"translate": Translate, "scale": Scale, "anisotropy": Anisotropy}


def make_shift(name: str, family: TaskFamily, severity: float) -> Shift:
    """The shift called `name` of `family`.

    Raises:
        ValueError: for a name that is not in `SHIFTS`, or a severity out of the shift's range.
    """
    if name not in SHIFTS:
        raise ValueError(f"shift {name!r} is unknown; use one of {', '.join(SHIFTS)}.")
    return SHIFTS[name](family, severity)


FAMILIES: dict[str, Callable[[TaskFamily, float], TaskFamily]] = {
    "home": lambda family, u: family,
    "translate": lambda family, u: Translate(family, 4 * u),
    "scale": lambda family, u: Scale(family, 8 ** (2 * u - 1)),
    "anisotropy": lambda family, u: Anisotropy(family, 64**u),
}
"""What meta-training may draw: the family as it is, or shifted with a severity that `u` in [0, 1) picks: a
translation of 0 to 4, a scale of 1/8 to 8 and an anisotropy of 1 to 64, the last two log-uniform."""


@dataclass(frozen=True)
class RandomShift(Wrapped):
    """A distribution over shifts: each task has one of its own, with a severity of its own.

    With `names=("home",)` it is the family itself, up to the seeds.

    Args:
        family: what is shifted.
        names: shifts to draw from with equal chances, names in `FAMILIES`; repeat one to make it likelier.

    Raises:
        ValueError: for a name that is not in `FAMILIES`, or no name.
    """

    family: TaskFamily
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in FAMILIES]
        if unknown or not self.names:
            raise ValueError(f"families {list(self.names)} must be one or more of {', '.join(FAMILIES)}.")

    def sample(self, generator: Generator) -> Task:
        name = self.names[int(torch.randint(len(self.names), (), generator=generator))]
        return FAMILIES[name](self.family, float(torch.rand((), generator=generator))).sample(generator)
