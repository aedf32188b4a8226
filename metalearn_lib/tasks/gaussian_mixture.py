"""Task A: Gaussian blobs at random places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut
from metalearn_lib.types import Task


@dataclass(frozen=True)
class GaussianMixture(TaskFamily):
    """Gaussian blobs at random places, `blobs` of them to a class, so that a class need not be one region.

        mean_b ~ N(0, separation^2 I),   b ~ Uniform(blobs),   x ~ N(mean_b, spread^2 I),   y = class of b

    Every input then has mean 0 and variance `separation^2 + spread^2` over the family, by which it is divided: the
    preprocessing that a pipeline fitted to this family would freeze. A shift of the family acts on these inputs, so
    its severity is in the family's standard deviations. As `spread` goes to 0 the classes
    separate perfectly.

    Args:
        blobs: blobs of each class.
        separation: standard deviation of the blobs' means, raw units.
        spread: standard deviation within a blob, raw units.
        num_points, num_test: training and held-out points of a task.
    """

    num_classes: int = 4
    num_features: int = 2
    blobs: int = 2
    num_points: int = 1024
    num_test: int = 512
    separation: float = 2.0
    spread: float = 1.0

    name = "mixture"

    def sample(self, generator: Generator) -> Task:
        num_blobs = self.num_classes * self.blobs
        means = self.separation * torch.randn(num_blobs, self.num_features, generator=generator)
        total = self.num_points + self.num_test
        blob = torch.randint(num_blobs, (total,), generator=generator)
        y = blob % self.num_classes
        x = means[blob] + self.spread * torch.randn(total, self.num_features, generator=generator)
        return cut(x / (self.separation**2 + self.spread**2) ** 0.5, y, self.num_points)
