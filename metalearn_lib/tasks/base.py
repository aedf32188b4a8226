"""What every task family is: a distribution of small classification problems."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor

from metalearn_lib.registry import Named
from metalearn_lib.trees import stack
from metalearn_lib.types import Seeds, Task


class TaskFamily(Named, ABC):
    """A distribution of classification tasks, all of one shape, so that they stack."""

    num_features: int
    num_classes: int
    num_points: int

    @classmethod
    def drawn(cls, family: TaskFamily, u: float) -> TaskFamily:
        """What meta-training over many families draws: this one; for a shift, `family` as `u` in [0, 1) shifts it."""
        return cls()

    @abstractmethod
    def sample(self, generator: Generator) -> Task:
        """Draw one task; every random number comes from `generator`."""

    def stack(self, seeds: Seeds) -> Task:
        """The tasks of `seeds`, stacked along a leading axis. A task depends on its own seed alone."""
        return stack([self.sample(seeds.generator(index, "data")) for index in seeds])


def split(x: Tensor, y: Tensor, num_points: int, generator: Generator, total: int | None = None) -> Task:
    """A task of `total` rows at random, all by default; the first `num_points` train."""
    chosen = torch.randperm(len(y), generator=generator)[:total]
    return cut(x[chosen], y[chosen], num_points)


def cut(x: Tensor, y: Tensor, num_points: int) -> Task:
    return Task(x[:num_points], y[:num_points], x[num_points:], y[num_points:])


def random_turn(generator: Generator) -> Tensor:
    """A turn of the plane by a random angle, half the time with a reflection."""
    axes, triangle = torch.linalg.qr(torch.randn(2, 2, generator=generator))
    return axes * triangle.diagonal().sign()  # without the signs it would be no uniform one
