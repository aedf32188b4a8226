"""A linear teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut
from metalearn_lib.types import Task


@dataclass(frozen=True)
class LinearTeacher(TaskFamily):
    """Normal inputs in many dimensions, which a linear map drawn for the task puts into classes.

        x ~ N(0, I),   y = argmax W x,   W ~ N(0, 1)

    A network can learn it entirely, whatever its size; `LabelNoise` makes some of the labels wrong.
    """

    num_points: int = 1024
    num_test: int = 512
    num_features: int = 16
    num_classes: int = 4

    def sample(self, generator: Generator) -> Task:
        teacher = torch.randn(self.num_features, self.num_classes, generator=generator)
        total = self.num_points + self.num_test
        x = torch.randn(total, self.num_features, generator=generator)
        return cut(x, (x @ teacher).argmax(1), self.num_points)
