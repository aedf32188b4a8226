"""Features lost to noise."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from metalearn_lib.shifts.base import Shift
from metalearn_lib.types import Task


class Corruption(Shift):
    """Replace each feature of each point, with probability `severity`, by standard normal noise: a flaky sensor."""

    lowest, highest, identity, unit = 0.0, 0.9, 0.0, "probability that a feature is noise"
    stops = tuple(tenth / 10 for tenth in range(10))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 0.4 * u

    def apply(self, task: Task, generator: Generator) -> Task:
        def corrupted(x: Tensor) -> Tensor:
            lost = torch.rand(x.shape, generator=generator) < self.severity
            return torch.where(lost, torch.randn(x.shape, generator=generator), x)

        return task._replace(x=corrupted(task.x), x_test=corrupted(task.x_test))
