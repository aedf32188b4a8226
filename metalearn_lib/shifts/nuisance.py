"""Append features that say nothing."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from metalearn_lib.shifts.base import Shift
from metalearn_lib.types import Task


class Nuisance(Shift):
    """Append `severity` features of standard normal noise, which say nothing of the class."""

    lowest, highest, identity, unit, whole = 0.0, 1024.0, 0.0, "features added", True
    symbol, reshapes, stops = "features", True, (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 1 + int(16 * u)

    @property
    def num_features(self) -> int:  # type: ignore[override]
        return self.family.num_features + int(self.severity)

    def apply(self, task: Task, generator: Generator) -> Task:
        def widened(x: Tensor) -> Tensor:
            return torch.cat([x, torch.randn(len(x), int(self.severity), generator=generator)], 1)

        return task._replace(x=widened(task.x), x_test=widened(task.x_test))
