"""A checkerboard."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut, random_turn
from metalearn_lib.types import Task


@dataclass(frozen=True)
class Checkerboard(TaskFamily):
    """The black and the white fields of a board, with points spread evenly over it; each task turned and mirrored at
    random.

        p ~ Uniform(0, fields)^2,   class = (floor(p_1) + floor(p_2)) mod 2

    Inputs are standardised: a side has variance `fields^2 / 12`.

    Args:
        fields: along a side.
    """

    fields: int = 3
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 2
    num_classes: int = 2

    def sample(self, generator: Generator) -> Task:
        place = self.fields * torch.rand(self.num_points + self.num_test, 2, generator=generator)
        y = place.floor().long().sum(1) % 2
        x = (place - self.fields / 2) * 12**0.5 / self.fields
        return cut(x @ random_turn(generator), y, self.num_points)
