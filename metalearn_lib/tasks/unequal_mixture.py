"""Gaussian blobs of unequal spreads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut
from metalearn_lib.types import Task


@dataclass(frozen=True)
class UnequalMixture(TaskFamily):
    """Gaussian blobs at random places, each as wide as chance has it, so that small ones lie inside large ones.

        mean_b ~ N(0, separation^2 I),   spread_b = widest^u,   u ~ Uniform(-1, 1),   x ~ N(mean_b, spread_b^2 I)

    Inputs are divided by the standard deviation over the family, the root of `separation^2 + E spread^2`.

    Args:
        blobs: blobs of each class.
        separation: standard deviation of the blobs' means, raw units.
        widest: greatest spread of a blob, raw units; the least is its inverse.
    """

    num_classes: int = 4
    num_features: int = 2
    blobs: int = 2
    num_points: int = 1024
    num_test: int = 512
    separation: float = 2.0
    widest: float = 4.0

    def sample(self, generator: Generator) -> Task:
        num_blobs = self.num_classes * self.blobs
        means = self.separation * torch.randn(num_blobs, self.num_features, generator=generator)
        spreads = self.widest ** (2 * torch.rand(num_blobs, 1, generator=generator) - 1)
        total = self.num_points + self.num_test
        blob = torch.randint(num_blobs, (total,), generator=generator)
        x = means[blob] + spreads[blob] * torch.randn(total, self.num_features, generator=generator)
        # E widest^(2u) over u in (-1, 1) is sinh(2 l) / (2 l) with l = log widest
        twice = 2 * math.log(self.widest)
        square = math.sinh(twice) / twice if twice else 1.0
        return cut(x / math.sqrt(self.separation**2 + square), blob % self.num_classes, self.num_points)
