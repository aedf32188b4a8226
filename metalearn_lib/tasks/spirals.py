"""Two spiral arms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.tasks.base import TaskFamily, cut, random_turn
from metalearn_lib.types import Task


@dataclass(frozen=True)
class Spirals(TaskFamily):
    """Two spiral arms wound into each other, with Gaussian noise; each task turned and mirrored at random.

        x = r (cos b, sin b),   b = 2 pi turns r + pi class,   r ~ sqrt(Uniform(0, 1))

    Inputs are standardised: `r^2` has mean 1/2, so that each feature has variance `1/4 + noise^2`.

    Args:
        turns: of each arm.
        noise: standard deviation of the noise, where an arm is 1 long.
    """

    turns: float = 0.75
    noise: float = 0.05
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 2
    num_classes: int = 2

    def sample(self, generator: Generator) -> Task:
        total = self.num_points + self.num_test
        y = torch.randint(2, (total,), generator=generator)
        radius = torch.rand(total, generator=generator).sqrt()
        angle = 2 * math.pi * self.turns * radius + math.pi * y
        x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        x = x + self.noise * torch.randn(total, 2, generator=generator)
        return cut(x / math.sqrt(1 / 4 + self.noise**2) @ random_turn(generator), y, self.num_points)
