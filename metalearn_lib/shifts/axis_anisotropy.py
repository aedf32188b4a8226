"""Stretch along the features themselves."""

from __future__ import annotations

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift, mapped, stretch
from metalearn_lib.types import Task


class AxisAnisotropy(Shift):
    """Stretch along the features themselves, in random order: what standardising each feature takes back."""

    lowest, highest, identity, unit = 1.0, 4096.0, 1.0, "widest feature over narrowest"
    symbol, stops = "×", tuple(2.0**power for power in range(13))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 64**u

    def apply(self, task: Task, generator: Generator) -> Task:
        order = torch.randperm(self.num_features, generator=generator)
        factors = stretch(self.severity, self.num_features)[order]
        return mapped(task, torch.diag(factors), torch.zeros(self.num_features))
