"""Put the points into a space of more dimensions."""

from __future__ import annotations

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift, mapped
from metalearn_lib.types import Task


class Embedding(Shift):
    """Put the points into a random plane of a space of `severity` dimensions, distances unchanged.

    The inputs' total variance stays, so that little changes for SGD; standardising each of the many, strongly
    correlated features then multiplies it.
    """

    lowest, highest, identity, unit, whole = 2.0, 1024.0, 2.0, "features in all, of task A's 2", True
    symbol, reshapes, stops = "features", True, (2.0, 3.0, 4.0, 8.0, 16.0, 32.0, 64.0)

    @classmethod
    def severity_at(cls, u: float) -> float:
        return round(2 * 32**u)

    @property
    def num_features(self) -> int:  # type: ignore[override]
        return int(self.severity)

    def apply(self, task: Task, generator: Generator) -> Task:
        inner = self.family.num_features
        if inner > self.num_features:
            raise ValueError(
                f"severity={self.severity:g} of the embedding is less than the {inner} features there are; use {inner} "
                "or more."
            )
        plane, _ = torch.linalg.qr(torch.randn(self.num_features, inner, generator=generator))
        return mapped(task, plane.T, torch.zeros(self.num_features))
