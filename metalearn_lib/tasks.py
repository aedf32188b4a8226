"""Task families: distributions of small classification problems, synthetic and real."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import torch
from torch import Generator, Tensor

from metalearn_lib.trees import stack
from metalearn_lib.types import Seeds, Task


class TaskFamily(ABC):
    """A distribution of classification tasks, all of one shape, so that they stack."""

    num_features: int
    num_classes: int
    num_points: int

    @abstractmethod
    def sample(self, generator: Generator) -> Task:
        """Draw one task; every random number comes from `generator`."""

    def stack(self, seeds: Seeds) -> Task:
        """The tasks of `seeds`, stacked along a leading axis. A task depends on its own seed alone."""
        return stack([self.sample(seeds.generator(index, "data")) for index in seeds])


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

    def sample(self, generator: Generator) -> Task:
        num_blobs = self.num_classes * self.blobs
        means = self.separation * torch.randn(num_blobs, self.num_features, generator=generator)
        total = self.num_points + self.num_test
        blob = torch.randint(num_blobs, (total,), generator=generator)
        y = blob % self.num_classes
        x = means[blob] + self.spread * torch.randn(total, self.num_features, generator=generator)
        return _split(x / (self.separation**2 + self.spread**2) ** 0.5, y, self.num_points)


@dataclass(frozen=True)
class Digits(TaskFamily):
    """Real data: scikit-learn's 1,797 scanned 8x8 digits; a task is a random split of them.

    Pixels, 0 to 16 in the file, are divided by 16; nothing else is fitted. Instances share images, so an interval
    over them speaks of the split, the initial weights and the minibatch order, not of new scans.

    Raises:
        ValueError: when more points are asked for than there are scans.

    References: Alpaydin and Kaynak (1998) [alpaydin1998optical].
    """

    num_points: int = 1024
    num_test: int = 512
    num_features: int = 64
    num_classes: int = 10

    def __post_init__(self) -> None:
        if self.num_points + self.num_test > 1797:
            raise ValueError(
                f"num_points={self.num_points} and num_test={self.num_test} ask for more than the 1797 scans there "
                "are; make them smaller."
            )

    def sample(self, generator: Generator) -> Task:
        x, y = _load_digits()
        chosen = torch.randperm(len(y), generator=generator)[: self.num_points + self.num_test]
        return _split(x[chosen], y[chosen], self.num_points)


@cache
def _load_digits() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits  # imported late: it takes a second, and only real data needs it

    x, y = load_digits(return_X_y=True)
    return torch.as_tensor(x / 16.0, dtype=torch.float32), torch.as_tensor(y, dtype=torch.int64)


def _split(x: Tensor, y: Tensor, num_points: int) -> Task:
    return Task(x[:num_points], y[:num_points], x[num_points:], y[num_points:])
