"""Wrong labels at random."""

from __future__ import annotations

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift
from metalearn_lib.types import Task


class LabelNoise(Shift):
    """Replace each *training* label, with probability `severity`, by one of the other classes at random.

    Held-out labels stay clean, so that the threshold is on what there is to learn.
    """

    lowest, highest, identity, unit = 0.0, 0.8, 0.0, "probability that a training label is wrong"
    stops = tuple(tenth / 10 for tenth in range(9))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 0.4 * u

    def apply(self, task: Task, generator: Generator) -> Task:
        wrong = torch.rand(len(task.y), generator=generator) < self.severity
        other = 1 + torch.randint(self.num_classes - 1, (len(task.y),), generator=generator)
        return task._replace(y=torch.where(wrong, (task.y + other) % self.num_classes, task.y))
