"""Points of one's own, as a reader puts them on a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from metalearn_lib.tasks.base import TaskFamily, cut
from metalearn_lib.types import Task


class Place(NamedTuple):
    """Where a point lies, and its class."""

    x: float
    y: float
    label: int


CHECKERED = (Place(-1, -1, 0), Place(1, 1, 0), Place(-1, 1, 1), Place(1, -1, 1))
"""Two classes that no line divides."""


@dataclass(frozen=True)
class Points(TaskFamily):
    """Given points of the plane: each of the task's is one of them at random, moved a little.

        x ~ N(place, spread^2 I),   place ~ Uniform(places)

    Args:
        places: the points given.
        spread: how far they are moved, a standard deviation.

    Raises:
        ValueError: for no places, or a class that is none of `num_classes`.
    """

    places: tuple[Place, ...] = CHECKERED
    spread: float = 0.25
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 2
    num_classes: int = 2

    def __post_init__(self) -> None:
        if not self.places:
            raise ValueError("places=() leaves nothing to draw from; give one place or more.")
        if wrong := {place[2] for place in self.places} - set(range(self.num_classes)):
            raise ValueError(
                f"places have class {min(wrong)}, and there are classes 0 to {self.num_classes - 1}; "
                "raise num_classes, or change the class."
            )

    def table(self) -> tuple[Tensor, int | Tensor]:
        """The places as rows of x, y and class, and how many of the rows there are."""
        return torch.tensor(self.places), len(self.places)

    def sample(self, generator: Generator) -> Task:
        table, count = self.table()
        total = self.num_points + self.num_test
        chosen = table[(count * torch.rand(total, generator=generator)).long()]
        moved = chosen[:, :2] + self.spread * torch.randn(total, 2, generator=generator)
        return cut(moved, chosen[:, 2].long(), self.num_points)
