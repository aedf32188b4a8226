"""Motifs in noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut
from metalearn_lib.types import Task


@dataclass(frozen=True)
class Motifs(TaskFamily):
    """A short pattern for each class, drawn for the task, hidden anywhere in a noisy sequence.

        x = noise + pattern_y at a place,   place ~ Uniform

    Inputs are standardised, all features alike. They are a sequence, so that networks that share weights along it have
    something to share.

    Args:
        noise: standard deviation of the noise, where a pattern's is 1.
        length: of a pattern.
    """

    noise: float = 0.3
    length: int = 6
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 24
    num_classes: int = 4

    def sample(self, generator: Generator) -> Task:
        total = self.num_points + self.num_test
        patterns = torch.randn(self.num_classes, self.length, generator=generator)
        y = torch.randint(self.num_classes, (total,), generator=generator)
        place = torch.randint(self.num_features - self.length + 1, (total,), generator=generator)
        x = self.noise * torch.randn(total, self.num_features, generator=generator)
        x.scatter_add_(1, place[:, None] + torch.arange(self.length), patterns[y])
        spread = math.sqrt(self.noise**2 + self.length / self.num_features)
        return cut(x / spread, y, self.num_points)
