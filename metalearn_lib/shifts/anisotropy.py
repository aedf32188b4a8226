"""Stretch along random axes."""

from __future__ import annotations

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift, mapped, stretch
from metalearn_lib.types import Task


class Anisotropy(Shift):
    """Stretch along random orthogonal axes, the longest `severity` times the shortest, the volume unchanged.

        x -> x Q diag(s) Q',   s log-spaced from severity^-1/2 to severity^1/2

    At 1 nothing is stretched.
    """

    lowest, highest, identity, unit = 1.0, 4096.0, 1.0, "longest axis over shortest"
    symbol, stops = "×", tuple(2.0**power for power in range(13))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 64**u

    def apply(self, task: Task, generator: Generator) -> Task:
        axes, _ = torch.linalg.qr(torch.randn(self.num_features, self.num_features, generator=generator))
        factors = stretch(self.severity, self.num_features)
        return mapped(task, axes * factors @ axes.T, torch.zeros(self.num_features))
