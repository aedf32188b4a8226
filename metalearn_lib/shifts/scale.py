"""Multiply every input."""

from __future__ import annotations

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift, mapped
from metalearn_lib.types import Task


class Scale(Shift):
    """Multiply every input by `severity`: other units, or an un-normalised sensor."""

    lowest, highest, identity, unit = 1 / 64, 64.0, 1.0, "a factor on task A's inputs"
    symbol, stops = "×", tuple(2.0**power for power in range(-6, 7))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 8 ** (2 * u - 1)

    def apply(self, task: Task, generator: Generator) -> Task:
        return mapped(task, self.severity * torch.eye(self.num_features), torch.zeros(self.num_features))
