"""Move every point."""

from __future__ import annotations

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift, mapped
from metalearn_lib.types import Task


class Translate(Shift):
    """Move every point by `severity` standard deviations in one random direction: `x + severity u`, `|u| = 1`."""

    lowest, highest, identity, unit = 0.0, 64.0, 0.0, "standard deviations of task A's inputs"
    symbol, stops = "sd", (0.0, *(2.0**power for power in range(-2, 7)))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 4 * u

    def apply(self, task: Task, generator: Generator) -> Task:
        direction = torch.randn(self.num_features, generator=generator)
        return mapped(task, torch.eye(self.num_features), self.severity * direction / direction.norm())
