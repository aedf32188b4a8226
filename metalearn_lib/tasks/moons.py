"""Two half circles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut, random_turn
from metalearn_lib.types import Task


@dataclass(frozen=True)
class Moons(TaskFamily):
    """Two half circles that reach into each other, with Gaussian noise; each task turned and mirrored at random.

        class 0: (cos a, sin a),   class 1: (1 - cos a, 1/2 - sin a),   a ~ Uniform(0, pi)

    Inputs are standardised with the shape's own mean and standard deviation.

    Args:
        noise: standard deviation of the noise, in radii.
    """

    noise: float = 0.2
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 2
    num_classes: int = 2

    def sample(self, generator: Generator) -> Task:
        total = self.num_points + self.num_test
        y = torch.randint(2, (total,), generator=generator)
        angle = math.pi * torch.rand(total, generator=generator)
        sign = 1 - 2 * y
        x = torch.stack([y + sign * angle.cos(), y / 2 + sign * angle.sin()], 1)
        x = x + self.noise * torch.randn(total, 2, generator=generator)
        variance = torch.tensor([3 / 4, 9 / 16 - 1 / math.pi]) + self.noise**2
        x = (x - torch.tensor([0.5, 0.25])) / variance.sqrt()
        return cut(x @ random_turn(generator), y, self.num_points)
