"""Turn every point."""

from __future__ import annotations

import math

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift, mapped
from metalearn_lib.types import Task


class Rotate(Shift):
    """Turn every point in one random plane: a null cell, since task A has no preferred direction."""

    lowest, highest, identity, unit = 0.0, 180.0, 0.0, "degrees"
    symbol, stops = "°", tuple(15.0 * turn for turn in range(13))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 180 * u

    def apply(self, task: Task, generator: Generator) -> Task:
        plane, _ = torch.linalg.qr(torch.randn(self.num_features, 2, generator=generator))
        u, v = plane.T
        angle = math.radians(self.severity)
        turn = (math.cos(angle) - 1) * (torch.outer(u, u) + torch.outer(v, v))
        turn = turn + math.sin(angle) * (torch.outer(u, v) - torch.outer(v, u))
        return mapped(task, torch.eye(self.num_features) + turn, torch.zeros(self.num_features))
