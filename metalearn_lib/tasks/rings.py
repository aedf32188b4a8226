"""Rings around one another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut
from metalearn_lib.types import Task


@dataclass(frozen=True)
class Rings(TaskFamily):
    """A ring for each class, around one centre, with Gaussian noise.

        x = (class + 1) (cos a, sin a) + noise,   a ~ Uniform(0, 2 pi)

    Inputs are standardised: a feature has variance `(k + 1)(2 k + 1) / 12 + noise^2` with `k` classes.

    Args:
        noise: standard deviation of the noise, where the innermost ring's radius is 1.
    """

    noise: float = 0.2
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 2
    num_classes: int = 3

    def sample(self, generator: Generator) -> Task:
        total, k = self.num_points + self.num_test, self.num_classes
        y = torch.randint(k, (total,), generator=generator)
        angle = 2 * math.pi * torch.rand(total, generator=generator)
        x = (y[:, None] + 1) * torch.stack([angle.cos(), angle.sin()], 1)
        x = x + self.noise * torch.randn(total, 2, generator=generator)
        return cut(x / math.sqrt((k + 1) * (2 * k + 1) / 12 + self.noise**2), y, self.num_points)
