"""Wrong labels with a direction."""

from __future__ import annotations

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift
from metalearn_lib.types import Task


class ClassNoise(Shift):
    """Replace each training label, with probability `severity`, by the next class: an error with a direction."""

    lowest, highest, identity, unit = 0.0, 0.45, 0.0, "probability that a training label is the next one"
    stops = tuple(part / 20 for part in range(10))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 0.3 * u

    def apply(self, task: Task, generator: Generator) -> Task:
        wrong = torch.rand(len(task.y), generator=generator) < self.severity
        return task._replace(y=torch.where(wrong, (task.y + 1) % self.num_classes, task.y))
